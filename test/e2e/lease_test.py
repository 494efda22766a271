#!/usr/bin/env python3
"""Leases from outside: grants, keys that end with their lease, keepalives on a stream, restarts, storms, bad input, and the
two routes of the peer port. Runs against real etcd too (ETCD_SERVER)."""

import struct
import time
import unittest

import harness
from raw_grpc import (DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, WINDOW_UPDATE, Connection, call_headers, field, frame,
                      grpc)
from watch_client import fields

GRANT, REVOKE = "/etcdserverpb.Lease/LeaseGrant", "/etcdserverpb.Lease/LeaseRevoke"
TTL, LIST = "/etcdserverpb.Lease/LeaseTimeToLive", "/etcdserverpb.Lease/LeaseLeases"
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"
LATE_SECONDS_MAX = 1.5  # etcd looks every half second; the machine may be busy
LEAST = 1  # seconds: one and a half election timeouts, rounded up
ELECTION = ["--heartbeat-interval=20", "--election-timeout=200"]
AT_A_TIME = 4  # the tests mostly wait


def number(value):
    return value & (1 << 64) - 1


class KeepAlive:
    """A LeaseKeepAlive stream on a connection of its own."""

    def __init__(self, url):
        self.connection = Connection(url, window=1 << 20)
        self.connection.send(frame(HEADERS, END_HEADERS, 1, call_headers(KEEP_ALIVE)))
        self.data = b""

    def send(self, *ids, end=False):
        body = b"".join(grpc(field(1, number(one))) for one in ids)
        self.connection.send(frame(DATA, END_STREAM if end else 0, 1, body))

    def read(self):
        """(id, ttl, revision) of the next answer; None at the end of the stream."""
        while len(self.data) < 5 or len(self.data) < 5 + struct.unpack(">I", self.data[1:5])[0]:
            got = self.connection.read_frame()
            if got is None or got[0] == RST_STREAM or got[2] == 1 and got[0] == HEADERS and got[1] & END_STREAM:
                return None
            if got[0] == DATA:
                self.data += got[3]
                self.connection.send(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", len(got[3]))))
        size = struct.unpack(">I", self.data[1:5])[0]
        message, self.data = fields(self.data[5:5 + size]), self.data[5 + size:]
        return message.get(2, [0])[0], message.get(3, [0])[0], fields(message[1][0]).get(3, [0])[0]

    def close(self):
        self.connection.close()


class Leases(unittest.TestCase):
    def setUp(self):
        self.member = harness.Member(*self.flags()).start()
        self.addCleanup(self.member.remove)
        self.connect()

    def flags(self):
        return ELECTION

    def connect(self):
        self.connection = Connection(self.member.client_url, window=1 << 28)
        self.addCleanup(self.connection.close)

    def call(self, path, message):
        data = self.connection.call(path, message)
        return fields(data[5:]) if data else None  # None: an error, in the trailers

    def grant(self, ttl, lease=0):
        return self.call(GRANT, field(1, number(ttl)) + field(2, number(lease)))

    def put(self, key, lease=0):
        return self.call(PUT, field(1, key) + field(2, b"v") + field(3, lease))

    def exists(self, key):
        return 2 in self.call(RANGE, field(1, key))

    def ttl(self, lease, keys=False):
        return self.call(TTL, field(1, number(lease)) + (field(2, 1) if keys else b""))

    def wait_gone(self, key, seconds):
        deadline = time.monotonic() + seconds
        while self.exists(key):
            if time.monotonic() > deadline:
                return False
        return True

    def test_grant_revoke_list(self):
        first = self.grant(100)
        lease = first[2][0]
        self.assertGreater(lease, 0)
        self.assertEqual(first[3], [100])
        self.assertEqual(self.grant(-7, 5)[3], [LEAST])
        self.assertEqual(self.grant(0, -9)[2], [-9])
        self.assertIsNone(self.grant(10, 5), "the id is in use")
        self.assertIsNone(self.grant(9_000_000_001))
        self.assertEqual(self.grant(9_000_000_000, 6)[3], [9_000_000_000])
        for key in (b"b", b"a", b"c"):
            self.put(key, lease)
        self.put(b"c")  # leaves the lease
        answer = self.ttl(lease, keys=True)
        self.assertEqual((answer[4], sorted(answer[5])), ([100], [b"a", b"b"]))
        self.assertIn(answer[3][0], (98, 99))
        self.assertNotIn(5, self.ttl(lease))
        listed = [fields(one).get(1, [0])[0] for one in self.call(LIST, b"")[2]]
        self.assertEqual(listed[-2:], [lease, 6], "in the order of their ends")
        self.assertTrue(b"\netcd_mvcc_db_open_read_transactions 1\n" in self.member.get("/metrics")[2], "none left open")
        before = fields(self.put(b"d")[1][0])[3][0]
        after = fields(self.call(REVOKE, field(1, lease))[1][0])[3][0]
        self.assertEqual(after, before + 1, "one revision for all its keys")
        self.assertFalse(self.exists(b"a") or self.exists(b"b"))
        self.assertTrue(self.exists(b"c"))
        self.assertIsNone(self.call(REVOKE, field(1, lease)))
        gone = self.ttl(lease, keys=True)
        self.assertEqual((gone[2], gone[3], gone.get(4)), ([lease], [-1], None))
        self.assertIsNone(self.put(b"x", 12345), "a lease nobody granted")

    def test_a_list_is_in_the_order_of_ends(self):
        for i in range(20):
            self.grant(1000 + i * 7 % 20 * 100, 1 + i)
        listed = [fields(one)[1][0] for one in self.call(LIST, b"")[2]]
        self.assertEqual(listed, sorted(range(1, 21), key=lambda lease: (lease - 1) * 7 % 20))

    def test_keys_end_with_their_lease_never_early(self):
        begin = time.monotonic()
        lease = self.grant(LEAST)[2][0]
        granted = time.monotonic()
        self.put(b"k", lease)
        self.assertTrue(self.wait_gone(b"k", LEAST + LATE_SECONDS_MAX))
        self.assertGreaterEqual(time.monotonic() - begin, LEAST)
        self.assertLess(time.monotonic() - granted, LEAST + LATE_SECONDS_MAX)
        status, _, page = self.member.get("/metrics")
        self.assertEqual(status, 200)
        self.assertIn(b"\netcd_debugging_server_lease_expired_total 1\n", page)

    def test_keepalive_stream(self):
        lease = self.grant(LEAST, 77)[2][0]
        self.put(b"k", lease)
        stream = KeepAlive(self.member.client_url)
        self.addCleanup(stream.close)
        begin = time.monotonic()
        while time.monotonic() < begin + LEAST + 0.5:
            stream.send(lease)
            self.assertEqual(stream.read()[:2], (77, LEAST))
            self.member.log.wait_for("no such line", LEAST / 4)
        self.assertTrue(self.exists(b"k"), "renewed beyond its time")
        stream.send(lease, 404, lease, -1, 0)  # in one frame: each is answered, in order
        self.assertEqual([stream.read()[:2] for _ in range(5)], [(77, LEAST), (404, 0), (77, LEAST), (-1, 0), (0, 0)])
        self.assertTrue(self.wait_gone(b"k", LEAST + LATE_SECONDS_MAX))
        stream.send(lease, end=True)
        self.assertEqual(stream.read()[:2], (77, 0))
        self.assertIsNone(stream.read(), "half-closed: the stream ends")

    def test_restart_gives_the_whole_time_again(self):
        lease = self.grant(2)[2][0]
        self.put(b"k", lease)
        self.assertEqual(self.grant(200, 9)[3], [200])
        self.member.log.wait_for("no such line", 1)
        begin = time.monotonic()
        self.member.restart()
        self.connect()
        answer = self.ttl(lease, keys=True)
        self.assertEqual((answer[4], answer[5]), ([2], [b"k"]))
        self.assertIn(self.ttl(9)[3][0], (199, 200))  # its time and an election timeout
        self.assertTrue(self.wait_gone(b"k", 3 + 2 * LATE_SECONDS_MAX))
        self.assertGreaterEqual(time.monotonic() - begin, 2)

    def test_storm_of_ends_and_of_keepalives(self):
        count = 3000
        streams = [self.connection.start(GRANT, field(1, 2) + field(2, 1000 + i)) for i in range(count)]
        self.connection.finish(streams[-1])
        deadline = time.monotonic() + 2
        while len(self.call(LIST, b"")[2]) < count:  # real etcd may answer the last grant first
            self.assertLess(time.monotonic(), deadline)
        stream = KeepAlive(self.member.client_url)
        self.addCleanup(stream.close)
        for start in range(0, count, 500):
            stream.send(*range(1000 + start, 1500 + start))
        self.assertEqual([stream.read()[:2] for _ in range(count)], [(1000 + i, 2) for i in range(count)])
        deadline = time.monotonic() + 2 + 5 * LATE_SECONDS_MAX
        while 2 in self.call(LIST, b""):
            self.put(b"meanwhile")
            self.assertLess(time.monotonic(), deadline)

    def test_bad_input(self):
        for path in (GRANT, REVOKE, TTL, LIST):
            self.assertEqual(self.connection.call(path, b"\x08"), b"")
        stream = KeepAlive(self.member.client_url)
        self.addCleanup(stream.close)
        stream.connection.send(frame(DATA, 0, 1, grpc(b"\x08")))
        self.assertIsNone(stream.read())
        lease = self.grant(50)[2][0]
        self.assertEqual(self.ttl(lease)[4], [50])

    def test_peer_port(self):
        lease = self.grant(60)[2][0]
        self.put(b"k", lease)

        def post(path, body, method="POST"):
            status, headers, answer = harness.http_request(self.member.peer_url, path, method, body)
            return status, headers["Content-Type"], answer

        status, kind, answer = post("/leases", field(1, lease))
        self.assertEqual((status, kind, fields(answer)), (200, "application/protobuf", {2: [lease], 3: [60]}))
        status, kind, answer = post("/leases/internal", field(1, field(1, lease) + field(2, 1)))
        told = fields(fields(answer)[1][0])
        self.assertEqual((status, told[1], told[2], told[4], told[5]), (200, [b""], [lease], [60], [b"k"]))
        self.assertIn(told[3][0], (58, 59))
        text = "text/plain; charset=utf-8"
        self.assertEqual(post("/leases", field(1, 4)), (404, text, b"lease not found\n"))
        self.assertEqual(post("/leases/internal", field(1, field(1, 4))), (404, text, b"lease not found\n"))
        self.assertEqual(post("/leases", b"\x08"), (400, text, b"error unmarshalling request\n"))
        self.assertEqual(post("/leases", b"\0" * 65537), (413, text, b"request body too large\n"))
        self.assertEqual(post("/leases/internal", b"", "GET"), (405, text, b"Method Not Allowed\n"))


class Gates(unittest.TestCase):
    """Every gate of leases the other way round: nothing a client sees changes."""

    setUp, connect, call, grant = Leases.setUp, Leases.connect, Leases.call, Leases.grant
    put, exists, ttl, wait_gone = Leases.put, Leases.exists, Leases.ttl, Leases.wait_gone
    test_grant_revoke_list, test_keepalive_stream = Leases.test_grant_revoke_list, Leases.test_keepalive_stream

    def flags(self):
        gates = "LeaseCheckpoint=true,LeaseCheckpointPersist=true,FastLeaseKeepAlive=false,PriorityRequest=true"
        return [f"--feature-gates={gates}", *ELECTION]


if __name__ == "__main__":
    harness.main(AT_A_TIME)
