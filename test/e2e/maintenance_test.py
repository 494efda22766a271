#!/usr/bin/env python3
"""Snapshot, defragmentation, hashes, health and alarms of one member, called by hand over gRPC: what the wire carries."""

import hashlib
import json
import struct
import time
import unittest

import harness
import raw_grpc

MAINTENANCE = "/etcdserverpb.Maintenance/"
HEALTH = "/grpc.health.v1.Health/"
PAGE_BYTES = 4096
CHUNK_BYTES = 32 * 1024


def messages(data):
    """The gRPC messages in the bytes of a stream."""
    at = 0
    while at < len(data):
        size = struct.unpack(">I", data[at + 1:at + 5])[0]
        yield data[at + 5:at + 5 + size]
        at += 5 + size


class Maintenance(unittest.TestCase):
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.member = harness.Member(*cls.flags).start()
        cls.addClassCleanup(cls.member.remove)

    def call(self, path, message=b""):
        """The fields of the one answer."""
        with raw_grpc.Connection(self.member.client_url, window=1 << 30) as connection:
            (answer,) = messages(connection.call(path, message))
            return dict(raw_grpc.fields(answer))

    def status(self):
        return json.loads(self.member.ctl("endpoint", "status", "-w", "json").stdout)[0]["Status"]

    def snapshot(self):
        """(chunks, digest): the chunks are (remaining, blob, version)."""
        with raw_grpc.Connection(self.member.client_url, window=1 << 30) as connection:
            parts = [dict(raw_grpc.fields(part)) for part in messages(connection.call(MAINTENANCE + "Snapshot", b""))]
        chunks = [(part.get(2, 0), part.get(3, b""), part[4].decode()) for part in parts]
        return chunks[:-1], chunks[-1]

    def put_many(self, prefix, count, size):
        with raw_grpc.Connection(self.member.client_url, window=1 << 20) as connection:
            for i in range(count):
                message = raw_grpc.field(1, f"{prefix}{i:06}".encode()) + raw_grpc.field(2, b"v" * size)
                connection.call("/etcdserverpb.KV/Put", message)


class Snapshots(Maintenance):
    def test_chunks_count_down_and_end_with_the_digest(self):
        self.put_many("chunks/", 100, 3000)
        chunks, digest = self.snapshot()
        database = b"".join(blob for _, blob, _ in chunks)
        self.assertEqual(len(database) % PAGE_BYTES, 0)
        left = len(database)
        for remaining, blob, version in chunks:
            self.assertLessEqual(len(blob), CHUNK_BYTES)
            left -= len(blob)
            self.assertEqual(remaining, left)
            self.assertEqual(version, "3.7.0")
        self.assertEqual(left, 0)
        self.assertEqual(digest, (0, hashlib.sha256(database).digest(), "3.7.0"))
        self.assertIn(b"chunks/000099", database)

    def test_two_snapshots_of_the_same_state_are_the_same(self):
        self.put_many("same/", 10, 10)
        self.assertEqual(self.snapshot(), self.snapshot())

    def test_a_client_that_goes_away_in_the_middle_harms_nobody(self):
        self.put_many("away/", 200, 10_000)
        for _ in range(20):  # more than may run at once: each must have ended with its client
            with raw_grpc.Connection(self.member.client_url, window=1000) as connection:
                connection.start(MAINTENANCE + "Snapshot", b"")
                while connection.read_frame()[0] != raw_grpc.DATA:
                    pass
        self.member.ctl("put", "away", "still here")
        deadline = time.monotonic() + 10
        while True:  # The server hears of the last of them a little later.
            try:
                chunks, _ = self.snapshot()
                break
            except (AssertionError, ValueError, IndexError):
                self.assertLess(time.monotonic(), deadline)
        self.assertGreater(len(chunks), 50)

    @unittest.skipUnless(harness.is_ours(), "real etcd has no bound")
    def test_snapshots_at_once_are_bounded(self):
        self.put_many("bound/", 200, 10_000)
        with raw_grpc.Connection(self.member.client_url, window=1000) as connection:
            streams = [connection.start(MAINTENANCE + "Snapshot", b"") for _ in range(12)]
            refused = set()
            while len(refused) < 4:
                kind, flags, stream, _ = connection.read_frame()
                if kind == raw_grpc.HEADERS and flags & raw_grpc.END_STREAM:
                    refused.add(stream)
            self.assertTrue(refused <= set(streams))
        self.member.ctl("put", "bound", "still here")


class Defragmentation(Maintenance):
    def test_gives_back_what_a_compaction_erased(self):
        self.put_many("old/", 2000, 2000)
        self.put_many("old/", 2000, 10)
        revision = self.status()["header"]["revision"]
        self.member.ctl("compaction", "--physical", str(revision))
        self.assertIn("etcd_debugging_mvcc_db_compaction_keys_total 2000\n", self.member.get("/metrics")[2].decode())
        before = self.status()
        hash_before = self.call(MAINTENANCE + "HashKV")
        self.assertEqual(self.call(MAINTENANCE + "Defragment"), {})
        after = self.status()
        self.assertLess(after["dbSize"], before["dbSize"] / 2)
        self.assertLessEqual(after["dbSizeInUse"], after["dbSize"])
        self.assertEqual(self.call(MAINTENANCE + "HashKV"), hash_before)
        lines = [line["msg"] for line in self.member.log_objects()]
        wanted = ["starting defragment", "defragmenting", "finished defragmenting directory", "finished defragment"]
        self.assertEqual([line for line in lines if "defragment" in line], wanted)
        page = self.member.get("/metrics")[2].decode()
        self.assertIn("etcd_disk_backend_defrag_duration_seconds_count 1\n", page)
        self.assertIn("etcd_disk_defrag_inflight 0\n", page)
        self.assertIn(f"etcd_mvcc_db_total_size_in_bytes {after['dbSize']}\n", page)
        self.member.restart()
        self.assertEqual(self.call(MAINTENANCE + "HashKV")[2], hash_before[2])


class Hashes(Maintenance):
    def test_the_hash_covers_the_keys_and_stays_when_nothing_changes(self):
        first = self.call(MAINTENANCE + "Hash")
        self.assertEqual(self.call(MAINTENANCE + "Hash")[2], first[2])
        self.member.ctl("put", "hashed", "1")
        second = self.call(MAINTENANCE + "Hash")
        self.assertNotEqual(second[2], first[2])
        self.assertEqual(dict(raw_grpc.fields(second[1]))[3], dict(raw_grpc.fields(first[1]))[3] + 1)

    def test_every_alarm_is_told(self):
        member = self.status()["header"]["member_id"]
        for action in (1, 2):  # raised, taken away
            for alarm in (1, 2):
                request = raw_grpc.field(1, action) + raw_grpc.field(2, member) + raw_grpc.field(3, alarm)
                self.call(MAINTENANCE + "Alarm", request)
            told = [f"memberID:{member} alarm:{name}" for name in ("NOSPACE", "CORRUPT")] if action == 1 else []
            self.assertEqual(sorted(self.status().get("errors", []), reverse=True), told)

    def test_the_leader_keeps_what_it_has(self):
        me = self.status()["leader"]
        self.assertEqual(self.call(MAINTENANCE + "MoveLeader", raw_grpc.field(1, me)), {})
        done = self.member.ctl("move-leader", "1234", check=False)
        self.assertNotEqual(done.returncode, 0)


class GrpcHealth(Maintenance):
    flags = ("--feature-gates=StopGRPCServiceOnDefrag=true",)

    def test_check_and_list(self):
        self.assertEqual(self.call(HEALTH + "Check"), {1: 1})
        self.assertEqual(self.call(HEALTH + "List"), {1: raw_grpc.field(1, b"") + raw_grpc.field(2, b"\x08\x01")})

    def test_watch_tells_of_a_defragmentation(self):
        with raw_grpc.Connection(self.member.client_url, window=1 << 20) as connection:
            stream = connection.start(HEALTH + "Watch", b"")
            self.assertEqual(self.next_message(connection, stream), b"\x08\x01")
            self.call(MAINTENANCE + "Defragment")
            self.assertEqual(self.next_message(connection, stream), b"\x08\x02")
            self.assertEqual(self.next_message(connection, stream), b"\x08\x01")

    def test_watch_of_an_unknown_service(self):
        with raw_grpc.Connection(self.member.client_url, window=1 << 20) as connection:
            stream = connection.start(HEALTH + "Watch", raw_grpc.field(1, b"nobody"))
            self.assertEqual(self.next_message(connection, stream), b"\x08\x03")

    def next_message(self, connection, stream):
        while True:
            kind, _, number, payload = connection.read_frame()
            if kind == raw_grpc.DATA and number == stream:
                (message,) = messages(payload)
                return message


class Quota(Maintenance):
    flags = ("--quota-backend-bytes=400000",)

    def test_no_space_is_an_alarm_until_space_is_made_and_the_alarm_disarmed(self):
        for i in range(100):
            done = self.member.ctl("put", "big", "v" * 20_000, check=False)
            if done.returncode != 0:
                break
        self.assertIn("mvcc: database space exceeded", done.stderr)
        self.assertEqual(self.status()["dbSizeQuota"], 400000)
        self.assertIn("alarm:NOSPACE", self.status()["errors"][0])
        self.assertIn("etcd_server_quota_backend_bytes 400000", self.member.get("/metrics")[2].decode())
        revision = self.status()["header"]["revision"]
        self.member.ctl("compaction", "--physical", str(revision))
        self.call(MAINTENANCE + "Defragment")
        self.assertLess(self.status()["dbSize"], 400000)
        self.assertIn("space exceeded", self.member.ctl("put", "big", "v", check=False).stderr)
        alarm = raw_grpc.field(1, 2) + raw_grpc.field(3, 1)  # DEACTIVATE NOSPACE
        member = self.status()["header"]["member_id"]
        self.call(MAINTENANCE + "Alarm", alarm + raw_grpc.field(2, member))
        self.member.ctl("put", "big", "v")
        self.assertEqual(self.status().get("errors", []), [])


class SmallQuota(Maintenance):
    flags = ("--quota-backend-bytes=53248",)

    def test_the_first_put_fits(self):
        self.member.ctl("put", "first", "v" * 64)
        self.assertEqual(self.status().get("errors", []), [])


if __name__ == "__main__":
    harness.main()
