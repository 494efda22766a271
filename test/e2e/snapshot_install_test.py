#!/usr/bin/env python3
"""A member that gets a database from another: its watchers hear each event once and in order, and a crash in it is harmless."""

import base64
import json
import signal
import struct
import unittest
from pathlib import Path

import harness
from harness import Cluster, wait_until
from raw_grpc import WINDOW_UPDATE, frame
from watch_client import Watch, create

FLAGS = ["--snapshot-count=50", "--snapshot-catchup-entries=10"]
BULK_BYTES, BULK_PUTS = 700_000, 80
# What the leader sends ahead to a member that does not answer: it may be in the kernel's buffers and be read later.
SENT_AHEAD_BYTES_MAX = 32 << 20
SLOW_WINDOW = 8_000
# Small enough that the kernel keeps all events of a watcher that is not read: for one that takes nothing, a server ends the
# connection after --grpc-keepalive-timeout.
VALUE_BYTES = 400
# Of the log, for a member that is away: so many bytes behind its newest snapshot in memory; on disk, of files of 64 MB, those
# with what is behind the snapshot go.
LOG_BYTES_KEPT_MAX = 64 << 20
HEAVY_BYTES, HEAVY_PUTS = 1 << 20, 130


class Writer:
    """Writes through one member and remembers the events under the prefix "k" as watchers see them."""

    def __init__(self, member):
        self.member = member
        self.events = []

    def post(self, path, body):
        status, _, answer = self.member.get(path, "POST", json.dumps(body))
        if status != 200:
            raise AssertionError(f"{path}: {status} {answer}")
        return int(json.loads(answer)["header"]["revision"])

    @staticmethod
    def text(data):
        return base64.b64encode(data).decode()

    def put(self, key, value):
        revision = self.post("/v3/kv/put", {"key": self.text(key), "value": self.text(value)})
        if key.startswith(b"k"):
            self.events.append(("PUT", key, value, revision))

    def replace(self, deleted, key, value):
        """One transaction of two events."""
        ops = [{"requestDeleteRange": {"key": self.text(deleted)}},
               {"requestPut": {"key": self.text(key), "value": self.text(value)}}]
        revision = self.post("/v3/kv/txn", {"success": ops})
        self.events += [("DELETE", deleted, b"", revision), ("PUT", key, value, revision)]

    def bulk(self):
        for i in range(BULK_PUTS):
            self.put(b"bulk%d" % (i % 3), b"x" * BULK_BYTES)


def heard(watch, count):
    """So many events, flat, and what else there is of them."""
    out = []
    while len(out) < count and (response := watch.next(30)) is not None:
        out += [(kind, pair[0], pair[1], pair[3]) for kind, pair, _ in response.events]
    return out


def compacted_to(member):
    return max((line["compact-index"] for line in member.log_objects() if line["msg"] == "compacted Raft logs"), default=0)


def left_behind(cluster, writer, put_bytes, *while_away):
    """Stops a follower while entries of put_bytes each are written, until the leader's log does not reach back to the last one
    that may be on its way to it; it goes on with a database that the leader sends."""
    leader = cluster.leader()
    away = next(member for member in cluster.members if member is not leader)
    away.process.send_signal(signal.SIGSTOP)
    try:
        lost = int(leader.status()["raftIndex"]) + SENT_AHEAD_BYTES_MAX // put_bytes + 2
        for write in while_away:
            write()

        def compacted():  # By a snapshot of what is in the store already: a disk that is busy may let it wait.
            writer.put(b"more", b"")
            return compacted_to(leader) > lost
        wait_until(f"a log that begins behind {lost}", compacted)
    finally:
        away.process.send_signal(signal.SIGCONT)
    return away


class SnapshotInstallTest(unittest.TestCase):
    def test_watchers_of_a_member_that_was_left_behind(self):
        with Cluster(*FLAGS) as cluster:
            leader = cluster.leader()
            away = next(member for member in cluster.members if member is not leader)
            writer = Writer(leader)
            writer.put(b"k0", b"first")
            wait_until("the first key", lambda: away.ctl("get", "k0", "--consistency=s").stdout)
            watches = [Watch(away.client_url, create(b"k", b"l")),
                       Watch(away.client_url, create(b"k", b"l", revision=2)),
                       Watch(away.client_url, create(b"k", b"l"), window=SLOW_WINDOW),
                       Watch(away.client_url, create(b"k1")),
                       Watch(away.client_url, create(b"k", b"l", revision=60))]
            for watch in watches:
                self.assertTrue(watch.next().created)

            def change():
                for i in range(40):
                    writer.put(b"k%d" % (i % 4), b"%d" % i + b"v" * VALUE_BYTES)
                writer.replace(b"k1", b"k2", b"replaced")
            change()  # The slow one has more than it takes.
            self.assertIs(left_behind(cluster, writer, BULK_BYTES, writer.bulk, change), away)
            self.assertTrue(away.log.wait_for("applied snapshot", 60), away.log.text())
            for text in ("receiving database snapshot", "received and saved database snapshot", "applying snapshot"):
                self.assertIn(text, away.log.text())
            senders = [member for member in cluster.members if member is not away]
            for text in ("sending database snapshot", "sent database snapshot"):
                wait_until(text, lambda said=text: any(said in member.log.text() for member in senders))
            change()
            for number, watch in enumerate(watches):
                with self.subTest(watch=number), watch:
                    wanted = writer.events if number == 1 else writer.events[1:]
                    if number == 3:
                        wanted = [event for event in wanted if event[1] == b"k1"]
                    if number == 4:
                        wanted = [event for event in wanted if event[3] >= 60]
                    if number == 2:
                        more = struct.pack(">I", 1 << 28)
                        watch.connection.send(frame(WINDOW_UPDATE, 0, 0, more), frame(WINDOW_UPDATE, 0, 1, more))
                    self.assertEqual([event[1:] for event in heard(watch, len(wanted))], [event[1:] for event in wanted])
            cluster.wait_for_equal_hashes()

    def test_a_crash_while_the_database_is_taken_over(self):
        with Cluster(*FLAGS) as cluster:
            leader = cluster.leader()
            away = next(member for member in cluster.members if member is not leader)
            away.kill()
            writer = Writer(leader)
            last = int(leader.status()["raftIndex"])
            writer.bulk()
            wait_until("a log that begins behind what the member has", lambda: compacted_to(leader) > last)
            away.launch()
            self.assertTrue(away.log.wait_for("applying snapshot", 60), away.log.text())
            away.restart()
            cluster.wait_for_equal_hashes()
            left = [path.name for path in Path(away.data_dir, "member", "snap").iterdir() if path.suffix != ".snap"]
            self.assertEqual(left, [])

    def test_a_log_that_waits_for_nobody(self):
        """One member is away: the others keep a bounded part of the log for it, however few and large its entries, in memory
        and on disk. Back, it gets a database."""
        with Cluster("--max-wals=1") as cluster:
            leader = cluster.leader()
            writer = Writer(leader)
            heavy = b"x" * HEAVY_BYTES

            def write():
                for _ in range(HEAVY_PUTS):
                    writer.put(b"heavy", heavy)
                leader.ctl("compact", leader.status()["header"]["revision"], "--physical")
            away = left_behind(cluster, writer, HEAVY_BYTES, write)
            self.assertTrue(away.log.wait_for("applied snapshot", 60), away.log.text())
            cluster.wait_for_equal_hashes()
            for member in cluster.members:
                if member is away:
                    continue
                said = member.log_objects()
                snapshots = [line["snapshot-index"] for line in said if line["msg"] == "saved snapshot to disk"]
                kept = [snapshot - line["compact-index"] for snapshot, line in
                        zip(snapshots, [line for line in said if line["msg"] == "compacted Raft logs"])]
                self.assertGreater(len(kept), 1)
                self.assertLessEqual(max(kept) * HEAVY_BYTES, LOG_BYTES_KEPT_MAX)
                files = [path.name for path in Path(member.data_dir, "member", "wal").glob("*.wal")]
                self.assertLess(len(files), HEAVY_PUTS * HEAVY_BYTES // (64 << 20) + 1, files)


if __name__ == "__main__":
    harness.main(at_a_time=2)
