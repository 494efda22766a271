#!/usr/bin/env python3
"""Whatever bytes come to any port, the member goes on: noise, requests and frames that are nearly right, streams of other
members that turn into something else. The bytes are drawn from SEED (default 1); GARBAGE_ROUNDS (default 150) says how many
connections each kind gets."""

import json
import os
import random
import socket
import struct
import threading
import unittest

import harness
from raw_grpc import (CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
                      WINDOW_UPDATE, Connection, call_headers, field, frame, grpc, http_headers, literal, varint)

SEED = int(os.environ.get("SEED", 1))
ROUNDS = int(os.environ.get("GARBAGE_ROUNDS", 150))
READ_SECONDS = 0.2  # what comes back is only looked at so that nothing blocks
METHODS = ["/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put", "/etcdserverpb.KV/DeleteRange", "/etcdserverpb.KV/Txn",
           "/etcdserverpb.KV/Compact", "/etcdserverpb.KV/RangeStream", "/etcdserverpb.Watch/Watch",
           "/etcdserverpb.Lease/LeaseGrant", "/etcdserverpb.Lease/LeaseRevoke", "/etcdserverpb.Lease/LeaseKeepAlive",
           "/etcdserverpb.Lease/LeaseTimeToLive", "/etcdserverpb.Lease/LeaseLeases", "/etcdserverpb.Cluster/MemberList",
           "/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Hash", "/etcdserverpb.Maintenance/HashKV",
           "/etcdserverpb.Maintenance/Snapshot", "/etcdserverpb.Maintenance/MoveLeader", "/etcdserverpb.Maintenance/Downgrade",
           "/etcdserverpb.Auth/Authenticate", "/v3lockpb.Lock/Lock", "/v3electionpb.Election/Observe",
           "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch", "/nothing/Here", "*", ""]
PAGES = ["/", "/version", "/health", "/livez", "/readyz?verbose", "/metrics", "/debug/vars", "/members", "/raft",
         "/raft/probing", "/raft/snapshot", "/raft/stream/message/1", "/raft/stream/msgapp/1", "/leases", "/leases/internal",
         "/members/hashkv", "/downgrade/enabled", "/members/promote/1", "/v3/kv/range", "/v3/kv/put", "/v3/watch",
         "/v3/lease/grant", "/v3/maintenance/snapshot", "/v3/kv/txn", "/v3/%ff", "/" + "a" * 3000]

EXTRA_FIELDS = ["Connection: close", "Expect: 100-continue", "Cookie: " + "x" * 4000, "Origin: http://x", "Upgrade: h2c",
                "Content-Type: application/json", "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
BODIES = ['{"key":"YQ==","value":"Yg=="}', '{"key":1}', '{"key":"a', "[" * 2000, '{"ID":"-1","TTL":1e99}', "null", '"', "{}",
          '{"create_request":{"key":"YQ=="}}', '{"compare":[{"result":99}]}', '{"k":"' + "\\ud800" * 3 + '"}']


class Noise:
    """Bytes of one seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def some(self, choices):
        return self.random.choice(choices)

    def bytes(self, size_max):
        return self.random.randbytes(self.random.randrange(size_max + 1))

    def number(self):
        return self.random.choice([0, 1, 2, 5, 127, 255, 65535, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 63 - 1, 2 ** 63,
                                   2 ** 64 - 1, self.random.randrange(2 ** 16)])

    def mutated(self, data):
        data = bytearray(data)
        for _ in range(self.random.randrange(4)):
            at = self.random.randrange(len(data) + 1)
            how = self.random.randrange(4)
            if how == 0 and at < len(data):
                data[at] ^= 1 << self.random.randrange(8)
            elif how == 1:
                data[at:at] = self.bytes(8)
            elif how == 2:
                del data[at:at + self.random.randrange(8)]
            else:
                del data[at:]
        return bytes(data)

    def message(self, depth=3):
        """Protobuf that is nearly one."""
        out = b""
        for _ in range(self.random.randrange(5)):
            number = self.random.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 1000, 536870911])
            how = self.random.randrange(5)
            if how == 0:
                out += field(number, self.number())
            elif how == 1:
                out += field(number, self.bytes(20))
            elif how == 2 and depth:
                out += field(number, self.message(depth - 1))
            elif how == 3:
                out += varint(number << 3 | self.random.randrange(8)) + self.bytes(8)
            else:
                out += field(number, b"key")
        return out if self.random.randrange(4) else self.mutated(out)

    def frames(self):
        """A connection's worth of HTTP/2."""
        out = [PREFACE if self.random.randrange(10) else self.mutated(PREFACE), frame(SETTINGS, 0, 0)]
        stream = 1
        for _ in range(self.random.randrange(1, 12)):
            how = self.random.randrange(12)
            path = self.some(METHODS)
            extra = [self.some([(b"grpc-timeout", self.some([b"1n", b"99999999H", b"-1S", b"", b"x"])),
                                (b"grpc-encoding", b"gzip"), (b"x" * 300, b"y" * 5000), (b"token", self.bytes(30)),
                                (b"content-length", b"3"), (b"te", b"x"), (b":path", b"/again"), (b"Upper", b"case"),
                                (b"bin-bin", b"%%%"), (b"", b"")])
                     for _ in range(self.random.randrange(3))]
            if how < 5:
                body = grpc(self.message())
                if self.random.randrange(3) == 0:
                    body = self.mutated(body)
                out.append(frame(HEADERS, END_HEADERS, stream, call_headers(path, extra)))
                for at in range(0, len(body) or 1, 7):
                    out.append(frame(DATA, END_STREAM if at + 7 >= len(body) else 0, stream, body[at:at + 7]))
                stream += 2
            elif how == 5:
                out.append(frame(HEADERS, self.random.randrange(256), stream, self.mutated(http_headers(b"GET", path, extra))))
                stream += 2
            elif how == 6:
                kind, flags = self.random.randrange(256), self.random.randrange(256)
                out.append(frame(kind, flags, self.random.randrange(2 ** 32), self.bytes(64)))
            elif how == 7:
                out.append(frame(self.some([PING, SETTINGS, WINDOW_UPDATE, RST_STREAM, GOAWAY]), self.random.randrange(2),
                                 self.random.randrange(4), self.bytes(16)))
            elif how == 8:
                out.append(frame(HEADERS, 0, stream, call_headers(path)))
                out.append(frame(CONTINUATION, self.some([0, END_HEADERS]), stream, literal(b"a", self.bytes(100))))
            elif how == 9:
                out.append(frame(SETTINGS, 0, 0, struct.pack(">HI", self.random.randrange(8), self.random.randrange(2 ** 32))))
            elif how == 10:
                out.append(frame(RST_STREAM, 0, max(stream - 2, 1), struct.pack(">I", 8)))
            else:
                out.append(struct.pack(">I", self.random.randrange(2 ** 24))[1:] + self.bytes(30))
        return b"".join(out)

    def http1(self, bodies):
        """A request of HTTP/1.1, or several, with one of the bodies."""
        out = b""
        for _ in range(self.random.randrange(1, 4)):
            body = self.some(bodies)()
            method = self.some(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "BREW"])
            head = [f"{method} {self.some(PAGES)} HTTP/1.1", "Host: etcd"]
            how = self.random.randrange(6)
            if how == 0:
                head.append("Transfer-Encoding: chunked")
                body = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
            elif how == 1:
                head.append(f"Content-Length: {self.number()}")
            else:
                head.append(f"Content-Length: {len(body)}")
            head += self.random.sample(EXTRA_FIELDS, self.random.randrange(3))
            out += "\r\n".join(head).encode() + b"\r\n\r\n" + body
        return self.mutated(out) if self.random.randrange(2) else out

    def json(self):
        return self.mutated(self.some(BODIES).encode())

    def raft_message(self, us, them):
        """Of another member. What a leader says of its log is for others: one that lies about it stops a member, as in etcd."""
        of_leader = self.random.randrange(4) == 0
        kind = self.some([3, 7, 8]) if of_leader else self.some([2, 4, 5, 6, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 22, 23, 99])
        message = field(1, kind) + field(2, us + 1 if of_leader else us) + field(3, self.some([us, them, 0, 2 ** 64 - 1]))
        for number in (4, 5, 6, 8, 10, 11):
            if self.random.randrange(2):
                message += field(number, self.number())
        for _ in range(self.random.randrange(3)):
            entry = field(1, self.random.randrange(4)) + field(3, self.number()) + field(4, self.some([self.message(), b""]))
            message += field(7, entry)
        if self.random.randrange(4) == 0:
            message += field(9, self.message()) + field(12, self.bytes(20))
        return message

    def peer_stream(self, us, them):
        """What a member hears on a stream of another: frames of either kind of stream."""
        out = b""
        for _ in range(self.random.randrange(1, 20)):
            message = self.raft_message(us, them)
            how = self.random.randrange(5)
            if how < 3:
                out += struct.pack(">Q", len(message)) + message
            elif how == 3:
                out += bytes([self.random.randrange(4)]) + struct.pack(">Q", self.number()) + self.bytes(40)
            else:
                out += struct.pack(">Q", self.number()) + self.bytes(40)
        return out if self.random.randrange(2) else self.mutated(out)


class OtherMember:
    """Takes the place of the second member: answers whatever it is asked with what make(noise, cluster id, ids) gives."""

    def __init__(self, make):
        self.make = make
        self.noise = Noise(f"{SEED}-other")
        self.listener = socket.create_server(("127.0.0.1", harness.free_port()))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.answered = 0
        self.cluster = None
        self.changed = threading.Condition()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection):
        with connection:
            try:
                connection.settimeout(harness.COMMAND_SECONDS_MAX)
                asked = b""
                while b"\r\n\r\n" not in asked:
                    piece = connection.recv(1 << 16)
                    if not piece:
                        return
                    asked += piece
                lines = asked.decode(errors="replace").split("\r\n")
                fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
                with self.changed:
                    self.cluster = fields.get("x-etcd-cluster-id", self.cluster)
                    us, them = int(fields.get("x-server-from", "1"), 16), int(fields.get("x-raft-to", "2"), 16)
                    data = self.make(self.noise, lines[0], self.cluster, us, them)
                connection.sendall(data)
            except OSError:
                pass
            finally:
                with self.changed:
                    self.answered += 1
                    self.changed.notify_all()

    def wait_answered(self, count):
        with self.changed:
            return self.changed.wait_for(lambda: self.answered >= count, harness.START_SECONDS_MAX * 3)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def exchange(url, data):
    """Sends it, cut somewhere, and reads for a moment what comes back."""
    host, port = url.split("//")[1].rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=harness.COMMAND_SECONDS_MAX) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(READ_SECONDS)
            while connection.recv(1 << 16):
                pass
    except OSError:
        pass  # closed or reset before all was sent, or silent


class Garbage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.member = harness.Member().start()
        cls.addClassCleanup(cls.member.remove)

    def assault(self, url, make):
        """Two at a time: one that waits does not hold up the others."""
        def run(seed):
            noise = Noise(seed)
            for _ in range(ROUNDS // 2):
                exchange(url, make(noise))
        workers = [threading.Thread(target=run, args=(f"{SEED}-{self.id()}-{i}",)) for i in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.assertTrue(self.member.runs(), f"exit {self.member.process.poll()}\n" + self.member.log.text()[-5000:])
        with Connection(self.member.client_url) as connection:
            answer = connection.call("/etcdserverpb.KV/Range", field(1, b"nobody's") + field(7, 1))
            self.assertEqual(answer[:1], b"\0")  # an answer, whatever was written meanwhile
        self.assertEqual(self.member.get("/version")[0], 200)

    def both_ports(self, make):
        for url in (self.member.client_url, self.member.peer_url):
            with self.subTest(url):
                self.assault(url, make)

    def test_noise(self):
        self.both_ports(lambda noise: noise.bytes(300))

    def test_almost_http2(self):
        self.both_ports(Noise.frames)

    def test_almost_http1(self):
        self.both_ports(lambda noise: noise.http1([lambda: b"", noise.json, noise.message, lambda: noise.bytes(100)]))

    def test_frames_that_are_alone(self):
        """Many more, on one connection each, as fast as they go."""
        def many(noise):
            return PREFACE + frame(SETTINGS, 0, 0) + b"".join(
                frame(HEADERS, END_HEADERS, stream, call_headers(noise.some(METHODS)))
                + frame(DATA, END_STREAM, stream, grpc(noise.message()))
                for stream in range(1, 101, 2))
        self.assault(self.member.client_url, many)


class PeerGarbage(unittest.TestCase):
    """A member whose only fellow talks nonsense: on the streams that it is asked for, and to the port of members."""

    def answer(self, noise, line, cluster, us, them):
        if "/raft/stream/" not in line or noise.random.randrange(10) == 0:
            return noise.http1([lambda: noise.peer_stream(us, them)])
        head = f"HTTP/1.1 200 OK\r\nX-Etcd-Cluster-ID: {cluster}\r\nX-Server-From: {them:x}\r\nX-Server-Version: 3.7.0\r\n"
        how = noise.random.randrange(3)
        body = noise.peer_stream(us, them)
        if how == 0:
            head += "Transfer-Encoding: chunked\r\n"
            pieces = [body[at:at + 50] for at in range(0, len(body), 50)]
            body = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
        data = head.encode() + b"\r\n" + body
        return data if noise.random.randrange(4) else noise.mutated(data)

    def test_streams_and_posts(self):
        other = OtherMember(self.answer)
        self.addCleanup(other.close)
        member = harness.Member()
        self.addCleanup(member.remove)
        member.flags += [f"--initial-cluster=default={member.peer_url},other={other.url}"]
        member.launch()
        self.assertTrue(other.wait_answered(10), member.log.text()[-5000:])
        noise = Noise(f"{SEED}-posts")
        status, headers, body = harness.http_request(member.peer_url, "/members")
        self.assertEqual(status, 200)
        cluster = headers["X-Etcd-Cluster-ID"]
        members = {item["name"]: item for item in json.loads(body)}
        us, them = members["default"]["id"], next(item["id"] for item in members.values() if item["peerURLs"] == [other.url])
        for _ in range(ROUNDS):
            path = noise.some(["/raft", "/raft", "/raft/snapshot", "/raft/stream/message/1", f"/raft/stream/msgapp/{them:x}"])
            message = noise.raft_message(us, them)
            if path == "/raft/snapshot":
                told = field(9, field(2, field(2, 50) + field(3, 9)))
                snapshot = field(1, 7) + field(2, us) + field(3, them) + field(4, 9) + told
                head = noise.some([struct.pack(">Q", len(snapshot)) + snapshot, struct.pack(">Q", noise.number())])
                message = head + noise.bytes(9000)
            body = message if noise.random.randrange(2) else noise.mutated(message)
            method = noise.some(["POST", "POST", "POST", "GET"])
            head = (f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-Etcd-Cluster-ID: {cluster}\r\nX-Server-From: {them:x}\r\n"
                    f"X-Server-Version: 3.7.0\r\nX-Min-Cluster-Version: 3.0.0\r\nX-Raft-To: {us:x}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n")
            exchange(member.peer_url, head.encode() + body)
        self.assertTrue(other.wait_answered(20), member.log.text()[-5000:])
        self.assertTrue(member.runs(), member.log.text()[-5000:])
        self.assertEqual(harness.http_request(member.peer_url, "/version")[0], 200)


if __name__ == "__main__":
    harness.main()
