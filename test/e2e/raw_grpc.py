"""gRPC by hand over a plain socket, standard library only: for tests that misbehave and for the bench.

Header fields are sent as literals without an index, so no HPACK table is needed; answers are read as frames.
"""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4


def varint(number):
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    """A protobuf field: an integer, or bytes (a message is its bytes)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(message):
    """(number, value) of each field of a protobuf message: an integer as it stands, or bytes."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
        else:
            assert tag & 7 == 2, tag
            size = number()
            yield tag >> 3, message[at:at + size]
            at += size


def grpc(message):
    return b"\0" + struct.pack(">I", len(message)) + message


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A header field without indexing; lengths below 127 only need one byte, longer ones continue."""
    def length(number):
        return bytes([number]) if number < 127 else b"\x7f" + varint(number - 127)
    return b"\0" + length(len(name)) + name + length(len(value)) + value


def http_headers(method, path, extra=()):
    fields = ((b":method", method), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"etcd"), *extra)
    return b"".join(literal(name, value) for name, value in fields)


def call_headers(path, extra=()):
    return http_headers(b"POST", path, ((b"content-type", b"application/grpc"), (b"te", b"trailers"), *extra))


class Connection:
    """One HTTP/2 connection; `window` is how much of each answer the server may send before we read; `wrap`: adds TLS."""

    def __init__(self, url, window=65535, seconds=30, wrap=None):
        host, port = url.split("//")[1].rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=seconds)
        if wrap:
            self.socket = wrap(self.socket)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, window)))
        if window > 65535:
            self.socket.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", window - 65535)))
        self.next_stream = 1
        self.buffer = b""

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def start(self, path, message, extra=()):
        """Sends a whole unary request and returns its stream. REQUIRES: it fits one frame, 16 KB."""
        stream = self.next_stream
        self.next_stream += 2
        self.send(frame(HEADERS, END_HEADERS, stream, call_headers(path, extra)),
                  frame(DATA, END_STREAM, stream, grpc(message)))
        return stream

    def read_frame(self):
        """(kind, flags, stream, payload); None when the server has closed."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            piece = self.socket.recv(1 << 20)
            if not piece:
                return None
            self.buffer += piece
        size = int.from_bytes(self.buffer[:3], "big")
        kind, flags, stream = self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big")
        payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
        return kind, flags, stream, payload

    def finish(self, stream):
        """Reads to the end of that stream; returns the bytes of its DATA frames. Windows are not given back."""
        data = bytearray()
        while True:
            got = self.read_frame()
            if got is None or got[0] == GOAWAY or got[0] == RST_STREAM and got[2] == stream:
                raise AssertionError(f"no answer: {got}")
            kind, flags, number, payload = got
            if number == stream and kind == DATA:
                data += payload
            if number == stream and flags & END_STREAM:
                return bytes(data)

    def call(self, path, message):
        return self.finish(self.start(path, message))

    def closed_by_server(self):
        """Reads until the server closes. Whether it did, within the time of the socket."""
        try:
            while self.read_frame() is not None:
                pass
            return True
        except TimeoutError:
            return False
        except OSError:
            return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
