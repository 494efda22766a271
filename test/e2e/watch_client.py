"""Watch streams over raw_grpc: requests by hand, responses as plain tuples."""

import select
import struct
import time

import raw_grpc
from raw_grpc import (ACK, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, Connection, call_headers, field,
                      frame, grpc)

WATCH, PUT, DELETE, TXN, COMPACT = ("/etcdserverpb.Watch/Watch", "/etcdserverpb.KV/Put", "/etcdserverpb.KV/DeleteRange",
                                    "/etcdserverpb.KV/Txn", "/etcdserverpb.KV/Compact")
NOPUT, NODELETE = 0, 1
WINDOW = 2 ** 30


def signed(number):
    return number - 2 ** 64 if number >= 2 ** 63 else number


def fields(message):
    """{number: [values]} of a message; integers are signed, the rest is bytes."""
    out = {}
    for number, value in raw_grpc.fields(message):
        out.setdefault(number, []).append(signed(value) if isinstance(value, int) else value)
    return out


def one(message, number, default=0):
    return message.get(number, [default])[-1]


def pair_of(message):
    """(key, value, create_revision, mod_revision, version, lease)"""
    pair = fields(message)
    return (one(pair, 1, b""), one(pair, 5, b""), one(pair, 2), one(pair, 3), one(pair, 4), one(pair, 6))


class Response:
    def __init__(self, message):
        parsed = fields(message)
        self.bytes = len(message)
        self.revision = one(fields(one(parsed, 1, b"")), 3)
        self.id, self.created, self.canceled = one(parsed, 2), bool(one(parsed, 3)), bool(one(parsed, 4))
        self.compact_revision, self.reason, self.fragment = one(parsed, 5), one(parsed, 6, b"").decode(), bool(one(parsed, 7))
        self.events = []
        for event in parsed.get(11, ()):
            event = fields(event)
            prev = pair_of(event[3][0]) if 3 in event else None
            self.events.append(("DELETE" if one(event, 1) else "PUT", pair_of(one(event, 2, b"")), prev))

    def told(self):
        """Everything a client sees but for who answered."""
        return (self.id, self.revision, self.created, self.canceled, self.compact_revision, self.reason, self.fragment,
                tuple(self.events))

    def __repr__(self):
        return repr(self.told())


def create(key, range_end=b"", revision=0, progress=False, filters=(), prev=False, watch_id=0, fragment=False):
    body = field(1, key) + field(2, range_end) + field(3, revision & (2 ** 64 - 1)) + field(4, int(progress))
    body += b"".join(field(5, one_filter) for one_filter in filters)
    return field(1, body + field(6, int(prev)) + field(7, watch_id & (2 ** 64 - 1)) + field(8, int(fragment)))


def cancel(watch_id):
    return field(2, field(1, watch_id & (2 ** 64 - 1)))


PROGRESS = field(3, b"")


class Watch:
    """One stream on a connection of its own."""

    def __init__(self, url, *requests, window=WINDOW, extra=()):
        self.connection = Connection(url, window=window)
        self.stream = 1
        self.data = b""
        self.trailers = None  # the header block of the end
        self.closed = False
        self.connection.send(frame(HEADERS, END_HEADERS, self.stream, call_headers(WATCH, extra)))
        self.send(*requests)

    def send(self, *requests):
        for request in requests:
            self.connection.send(frame(DATA, 0, self.stream, grpc(request)))

    def send_many(self, requests):
        """Many small requests in few frames."""
        body = b"".join(grpc(request) for request in requests)
        for at in range(0, len(body), 16000):
            self.connection.send(frame(DATA, 0, self.stream, body[at:at + 16000]))

    def half_close(self):
        self.connection.send(frame(DATA, END_STREAM, self.stream))

    def pump(self, seconds):
        """Reads one frame; False if none comes in time or the connection ends."""
        sock = self.connection.socket
        if len(self.connection.buffer) < 9 and not select.select([sock], [], [], max(0, seconds))[0]:
            return False
        got = self.connection.read_frame()
        if got is None:
            self.closed = True
            return False
        kind, flags, stream, payload = got
        if kind == SETTINGS and not flags & ACK:
            self.connection.send(frame(SETTINGS, ACK, 0))  # from here on the server's window holds, not the default one
        if stream == self.stream:
            if kind == DATA:
                self.data += payload
            elif kind == HEADERS and flags & END_STREAM:
                self.trailers = payload
            elif kind == RST_STREAM:
                self.closed = True
        return True

    def take(self):
        """The next response that is complete; None."""
        if len(self.data) < 5:
            return None
        size = struct.unpack(">I", self.data[1:5])[0]
        if len(self.data) < 5 + size:
            return None
        message, self.data = self.data[5:5 + size], self.data[5 + size:]
        return Response(message)

    def next(self, seconds=10):
        deadline = time.monotonic() + seconds
        while True:
            response = self.take()
            if response is not None:
                return response
            if self.closed or self.trailers is not None or time.monotonic() >= deadline:
                return None
            self.pump(deadline - time.monotonic())

    def until_quiet(self, seconds):
        """All responses until none comes for so long."""
        out = []
        while (response := self.next(seconds)) is not None:
            out.append(response)
        return out

    def end(self, seconds=10):
        """Reads to the end; the header block of the trailers as bytes, None if the connection was cut."""
        deadline = time.monotonic() + seconds
        while self.trailers is None and not self.closed and time.monotonic() < deadline:
            self.pump(deadline - time.monotonic())
        return self.trailers

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def put_op(key, value=b"v", prev=False):
    return field(1, key) + field(2, value) + field(4, int(prev))


def txn_of(puts=(), deletes=()):
    """A transaction that does all of it."""
    ops = b"".join(field(2, field(2, put_op(key, value))) for key, value in puts)
    return ops + b"".join(field(2, field(3, field(1, key) + field(2, end))) for key, end in deletes)
