#!/usr/bin/env python3
"""Three members of ours: they elect, replicate, forward, survive their leader's death, catch up by log and by snapshot."""

import base64
import json
import threading
import unittest
from pathlib import Path

import harness
from harness import Cluster
from retrying_client import RetryingClient


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
            cluster.followers()[0].ctl("put", "big", stdin=big)
            self.assertEqual(self.value_at(cluster.leader(), "big"), big)
            cluster.wait_for_equal_hashes()
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
            cluster.put("before", "1")
            leader = cluster.leader()
            leader.kill()
            cluster.put("during", "2")
            leader.start()
            for key, value in (("before", "1"), ("during", "2")):
                self.assertEqual(self.value_at(leader, key), value)
            cluster.wait_for_equal_hashes()

    def test_the_leader_is_asked_to_stop_and_no_request_fails(self):
        with Cluster() as cluster:
            leader = cluster.leader()
            urls = [member.client_url for member in [leader] + cluster.followers()]
            over, clients = threading.Event(), [RetryingClient(lambda: urls, first=i) for i in range(6)]
            written = [0] * len(clients)

            def work(number):
                while not over.is_set():
                    put = {"key": base64.b64encode(f"{number}/{written[number]}".encode()).decode(), "value": "MQ=="}
                    if clients[number].ask("/v3/kv/put", put) is not None:
                        written[number] += 1

            threads = [threading.Thread(target=work, args=(i,)) for i in range(len(clients))]
            for thread in threads:
                thread.start()
            try:
                harness.wait_until("writes", lambda: min(written) > 5)
                leader.stop()
                self.assertIn("leadership transfer", leader.log.text())
                after = list(written)
                harness.wait_until("more writes", lambda: all(now > then + 5 for now, then in zip(written, after)))
            finally:
                over.set()
                for thread in threads:
                    thread.join()
            self.assertEqual([client.failed for client in clients], [0] * len(clients))
            for number, count in enumerate(written):
                got = cluster.ctl("get", f"{number}/", "--prefix", "--count-only", "-w", "fields").stdout
                self.assertIn(f'"Count" : {count}', got)
            cluster.wait_for_equal_hashes()

    def test_without_a_quorum_only_what_may_be_old_is_answered(self):
        with Cluster() as cluster:
            cluster.put("key", "1")
            alone, *others = cluster.members
            harness.wait_until("the last member has it", lambda: alone.ctl("get", "key", "--consistency=s").stdout)
            for member in others:
                member.kill()
            key = base64.b64encode(b"key").decode()

            def ask(path, body, timeout="30S"):
                return harness.http_request(alone.client_url, path, "POST", json.dumps(body), {"Grpc-Timeout": timeout})[0]

            rows = [
                ("/v3/kv/range", {"key": key}, {"serializable": True}),
                ("/v3/kv/txn", {"success": [{"requestRange": {"key": key}}]},
                 {"success": [{"requestRange": {"key": key, "serializable": True}}]}),
                ("/v3/cluster/member/list", {"linearizable": True}, {"linearizable": False}),
            ]
            for path, new, old in rows:
                with self.subTest(path=path):
                    self.assertEqual(ask(path, {**new, **old}), 200)
                    self.assertNotEqual(ask(path, new, "300m"), 200)
            update = {"ID": "1", "peerURLs": ["nonsense"]}  # Refused before anybody is asked.
            self.assertEqual(ask("/v3/cluster/member/update", update), 400)

    def test_a_member_that_was_away_gets_a_snapshot_and_its_watchers_miss_nothing(self):
        with Cluster("--snapshot-count=50", "--snapshot-catchup-entries=10") as cluster:
            leader, away = cluster.leader(), cluster.followers()[0]
            cluster.put("gone", "soon")
            away.kill()
            cluster.ctl("del", "gone")
            for i in range(130):
                leader.ctl("put", f"key{i % 7}", f"value{i}")
            away.start()
            self.assertTrue(away.log.wait_for("applied snapshot", 20), away.log.text())
            self.assertEqual(self.value_at(away, "key4"), leader.ctl("get", "key4", "--print-value-only").stdout.strip())
            self.assertEqual(away.ctl("get", "gone").stdout, "")
            cluster.wait_for_equal_hashes()
            history = away.ctl("get", "key1", "-w", "json").stdout
            self.assertEqual(json.loads(history)["kvs"], json.loads(leader.ctl("get", "key1", "-w", "json").stdout)["kvs"])
            # The log begins with the snapshot now: a restart needs nothing from the others.
            away.restart()
            self.assertEqual(self.value_at(away, "key4"), leader.ctl("get", "key4", "--print-value-only").stdout.strip())
            cluster.wait_for_equal_hashes()
            self.assertEqual([p.name for p in Path(away.data_dir, "member", "snap").glob("*.snap.db")], [])


class LogTest(unittest.TestCase):
    def test_the_log_that_is_kept_is_bounded_by_bytes_too(self):
        """Long before --snapshot-count entries: for a member that lags so much the others send the database."""
        with harness.Member() as member:
            big = "x" * 1_400_000
            for i in range(26):
                member.ctl("put", f"big{i % 4}", stdin=big)
            self.assertTrue(member.log.wait_for("triggering snapshot", 30), member.log.text())
            self.assertTrue(member.log.wait_for("compacted Raft logs", 30), member.log.text())
            member.restart()
            self.assertEqual(len(member.ctl("get", "big1", "--print-value-only").stdout), len(big) + 1)


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
                ("POST", "/raft/snapshot", good, b"", 400, b"failed to decode raft message (EOF)\n"),
                ("POST", "/raft/snapshot", good, b"\0\0\0\0", 400, b"failed to decode raft message (unexpected EOF)\n"),
                ("POST", "/raft/snapshot", good, b"\0\0\0\0\x7f\0\0\0", 400,
                 b"failed to decode raft message (rafthttp: error limit exceeded)\n"),
            ]
            for method, path, given, body, status, text in rows:
                with self.subTest(method=method, path=path, body=body):
                    got = harness.http_request(member.peer_url, path, method, body, given)
                    self.assertEqual((got[0], got[2]), (status, text))
                    self.assertEqual(got[1].get("X-Etcd-Cluster-ID"), None if status == 405 else cluster)
                    self.assertEqual(got[1].get("X-Server-Version"), "3.7.1" if "/stream/" in path else None)
            for path, clean in (("/raft/stream", "/raft/stream/"), ("/members/promote", "/members/promote/"),
                                ("//members", "/members"), ("/raft/./probing", "/raft/probing")):
                with self.subTest(path=path):
                    got = harness.http_request(member.peer_url, path)
                    self.assertEqual((got[0], got[1].get("Location")), (307, clean))
            got = harness.http_request(member.peer_url, "/raft/probing")
            self.assertTrue(json.loads(got[2])["OK"])
            member.ctl("put", "still", "here")

    def test_hashes_of_revisions_that_cannot_be(self):
        with harness.Member() as member:
            member.ctl("put", "a", "1")
            for revision, status in ((2, 200), (0, 200), ("null", 200), (-1, 200), (-2, 200), (-2**63, 200), (3, 400),
                                     (2**63 - 1, 400), (2**63, 400), ("true", 400)):
                with self.subTest(revision=revision):
                    body = f'{{"revision":{revision}}}'
                    self.assertEqual(harness.http_request(member.peer_url, "/members/hashkv", "GET", body)[0], status)
            for revision in (-1, -2, -2**63):
                hashed = member.hash(revision)
                self.assertEqual(hashed, ("1084519789" if isinstance(hashed[0], str) else 1084519789, str(revision)))
            member.ctl("put", "still", "here")


if __name__ == "__main__":
    harness.main(at_a_time=3)
