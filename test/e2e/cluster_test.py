#!/usr/bin/env python3
"""Three members of ours: they elect, replicate, forward, survive their leader's death, catch up by log and by snapshot."""

import json
import time
import unittest
from pathlib import Path

import harness


def status_of(member):
    done = member.ctl("endpoint", "status", "-w", "json", check=False, seconds=10)
    return json.loads(done.stdout)[0]["Status"] if done.returncode == 0 and done.stdout.strip() else None


def wait_until(what, condition, seconds=20):
    """Polls with the client: each look is a process of its own, so this does not spin."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")


class Cluster:
    def __init__(self, *flags, size=3):
        self.members = [harness.Member(name=f"m{i}") for i in range(size)]
        initial = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in self.members:
            member.flags = [f"--initial-cluster={initial}", *flags]

    def __enter__(self):
        try:
            for member in self.members:
                member.launch()
            for member in self.members:
                if not member.log.wait_for(harness.READY, harness.START_SECONDS_MAX):
                    raise AssertionError(f"{member.name} did not become ready; its log:\n{member.log.text()}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for member in self.members:
            member.remove()

    def alive(self):
        return [member for member in self.members if member.process.poll() is None]

    def endpoints(self):
        return ",".join(member.client_url for member in self.alive())

    def ctl(self, *arguments, **options):
        return harness.ctl(*arguments, endpoint=self.endpoints(), **options)

    def leader(self):
        found = []

        def look():
            for member in self.alive():
                status = status_of(member)
                if status and status["header"]["member_id"] == status.get("leader"):
                    found.append(member)
                    return True
            return False
        wait_until("a leader", look)
        return found[0]

    def hashes(self):
        hashes = set()
        for member in self.alive():
            done = json.loads(member.ctl("endpoint", "hashkv", "-w", "json").stdout)
            hashes.add((done[0]["HashKV"]["hash"], done[0]["HashKV"].get("hash_revision"),
                        done[0]["HashKV"]["header"]["revision"]))
        return hashes


class ClusterTest(unittest.TestCase):
    def value_at(self, member, key):
        return member.ctl("get", key, "--print-value-only").stdout.strip()

    def test_every_member_takes_writes_and_reads_what_was_written(self):
        with Cluster() as cluster:
            for i, member in enumerate(cluster.members):
                member.ctl("put", f"key{i}", f"value{i}")
                for other in cluster.members:  # Linearizable: at once.
                    self.assertEqual(self.value_at(other, f"key{i}"), f"value{i}")
            big = "x" * 1_000_000
            follower = next(member for member in cluster.members if member is not cluster.leader())
            follower.ctl("put", "big", stdin=big)
            self.assertEqual(self.value_at(cluster.leader(), "big"), big)
            self.assertEqual(len(cluster.hashes()), 1)
            page = harness.http_request(cluster.members[0].client_url, "/metrics")[2].decode()
            self.assertRegex(page, r'etcd_network_active_peers\{Local="[0-9a-f]+",Remote="[0-9a-f]+"\} 1')
            self.assertRegex(page, r'etcd_network_peer_sent_bytes_total\{To="[0-9a-f]+"\} [1-9]')

    def test_leases_are_renewed_and_looked_at_at_any_member(self):
        with Cluster() as cluster:
            lease = cluster.members[0].ctl("lease", "grant", "300").stdout.split()[1]
            cluster.members[1].ctl("put", "leased", "1", f"--lease={lease}")
            for member in cluster.members:
                self.assertIn("keepalived with TTL(300)", member.ctl("lease", "keep-alive", "--once", lease).stdout)
                self.assertIn("attached keys([leased])", member.ctl("lease", "timetolive", "--keys", lease).stdout)
            cluster.members[2].ctl("lease", "revoke", lease)
            for member in cluster.members:
                self.assertEqual(self.value_at(member, "leased"), "")

    def test_the_leader_dies_and_comes_back(self):
        with Cluster() as cluster:
            cluster.ctl("put", "before", "1")
            leader = cluster.leader()
            leader.kill()
            began = time.monotonic()
            wait_until("a write without the leader", lambda: cluster.ctl("put", "during", "2", check=False).returncode == 0)
            self.assertLess(time.monotonic() - began, 5)
            leader.start()
            for key, value in (("before", "1"), ("during", "2")):
                self.assertEqual(self.value_at(leader, key), value)
            self.assertEqual(len(cluster.hashes()), 1)

    def test_a_member_that_was_away_gets_a_snapshot_and_its_watchers_miss_nothing(self):
        with Cluster("--snapshot-count=50", "--snapshot-catchup-entries=10") as cluster:
            leader = cluster.leader()
            away = next(member for member in cluster.members if member is not leader)
            cluster.ctl("put", "gone", "soon")
            away.kill()
            cluster.ctl("del", "gone")
            for i in range(130):
                leader.ctl("put", f"key{i % 7}", f"value{i}")
            away.start()
            self.assertTrue(away.log.wait_for("applied snapshot", 20), away.log.text())
            self.assertEqual(self.value_at(away, "key4"), leader.ctl("get", "key4", "--print-value-only").stdout.strip())
            self.assertEqual(away.ctl("get", "gone").stdout, "")
            self.assertEqual(len(cluster.hashes()), 1)
            history = away.ctl("get", "key1", "-w", "json").stdout
            self.assertEqual(json.loads(history)["kvs"], json.loads(leader.ctl("get", "key1", "-w", "json").stdout)["kvs"])
            # The log begins with the snapshot now: a restart needs nothing from the others.
            away.restart()
            self.assertEqual(self.value_at(away, "key4"), leader.ctl("get", "key4", "--print-value-only").stdout.strip())
            self.assertEqual(len(cluster.hashes()), 1)
            self.assertEqual([p.name for p in Path(away.data_dir, "member", "snap").glob("*.snap.db")], [])


class PeerPortTest(unittest.TestCase):
    def test_requests_that_do_not_fit_hear_why(self):
        with harness.Member() as member:
            status, headers, _ = harness.http_request(member.peer_url, "/members")
            cluster = headers["X-Etcd-Cluster-ID"]
            good = {"X-Server-From": "a", "X-Server-Version": "3.7.1", "X-Min-Cluster-Version": "3.0.0",
                    "X-Etcd-Cluster-ID": cluster}
            rows = [
                ("GET", "/raft", good, b"", 405, b"Method Not Allowed\n"),
                ("POST", "/raft", {**good, "X-Etcd-Cluster-ID": "1"}, b"", 412, b"cluster ID mismatch\n"),
                ("POST", "/raft", {**good, "X-Server-Version": "2.3.0"}, b"", 412, b"incompatible version\n"),
                ("POST", "/raft", good, b"\x08", 400, b"error unmarshalling raft message\n"),
                ("POST", "/raft", good, b"\x08\x08\x10\x01\x18\x02", 500, b"error processing raft message\n"),
                ("GET", "/raft/stream/message/abc", good, b"", 404, b"error sender not found\n"),
                ("GET", "/raft/stream/other/abc", good, b"", 404, b"invalid path\n"),
                ("GET", "/raft/stream/message/xyz", good, b"", 404, b"invalid from\n"),
                ("POST", "/raft/snapshot", good, b"\0\0\0\0\0\0\0\2\x08\x08", 400, b"wrong raft message type\n"),
                ("POST", "/raft/snapshot", good, b"\0\0\0\0", 400, b"failed to decode raft message (unexpected EOF)\n"),
                ("POST", "/raft/snapshot", good, b"\0\0\0\0\x7f\0\0\0", 400,
                 b"failed to decode raft message (rafthttp: error limit exceeded)\n"),
            ]
            for method, path, given, body, status, text in rows:
                with self.subTest(method=method, path=path, body=body):
                    got = harness.http_request(member.peer_url, path, method, body, given)
                    self.assertEqual((got[0], got[2]), (status, text))
                    self.assertEqual(got[1]["X-Etcd-Cluster-ID"], cluster)
            got = harness.http_request(member.peer_url, "/raft/probing")
            self.assertTrue(json.loads(got[2])["OK"])
            member.ctl("put", "still", "here")


if __name__ == "__main__":
    harness.main()
