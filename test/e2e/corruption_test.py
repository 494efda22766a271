#!/usr/bin/env python3
"""Members whose data differ: who finds it, who is blamed, and what the cluster refuses from then on."""

import json
import subprocess
import unittest

import harness
from harness import Cluster, wait_until


def alter(member, key):
    """Another value for `key` in the store of a stopped member."""
    done = subprocess.run([harness.PROGRAMS / "alter_store_client", member.data_dir / "member" / "store", key, "altered"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)


def member_id(member):
    return f"{int(member.status()['header']['member_id']):x}"


def flags(member, *extra):
    member.flags = [flag for flag in member.flags if not flag.startswith("--feature-gates")] + list(extra)


class CorruptionTest(unittest.TestCase):
    def follower_with_other_data(self, cluster):
        """Altered while stopped; not started again."""
        cluster.ctl("put", "key", "value")
        follower = next(member for member in cluster.members if member is not cluster.leader())
        self.assertEqual(follower.ctl("get", "key", "--print-value-only").stdout.strip(), "value")
        follower.stop()
        alter(follower, "key")
        return follower

    def check_refusals(self, cluster, blamed):
        listed = set(cluster.ctl("alarm", "list").stdout.split("\n")) - {""}
        self.assertEqual(listed, {f"memberID:{int(blamed, 16)} alarm:CORRUPT"})
        text = "etcdserver: corrupt cluster"
        for arguments in (["put", "a", "b"], ["del", "a"], ["lease", "grant", "10"], ["compact", "2"]):
            self.assertIn(text, cluster.ctl(*arguments, check=False).stderr)
        self.assertIn("value", cluster.leader().ctl("get", "key").stdout)
        for member in cluster.alive():
            status, _, body = member.get("/health")
            self.assertEqual((status, body), (503, b'{"health":"false","reason":"ALARM CORRUPT"}\n'))
            self.assertEqual(member.get("/readyz")[0], 503)
            self.assertIn(f'etcd_debugging_server_alarms{{alarm_type="CORRUPT",server_id="{blamed}"}} 1',
                          member.get("/metrics")[2].decode())

    def test_a_member_with_other_data_does_not_start_where_it_is_asked_to_look(self):
        with Cluster() as cluster:
            away = self.follower_with_other_data(cluster)
            flags(away, "--feature-gates=InitialCorruptCheck=true")
            away.launch()
            self.assertEqual(away.wait(), 1)
            self.assertIn("found data inconsistency with peers", away.log.lines[-1])
            self.assertIn('"level":"fatal"', away.log.lines[-1])
            self.assertIn("found different hash values from remote peer", away.log.text())
            cluster.ctl("put", "still", "here")  # Nobody else takes harm.

    def test_the_periodic_check_blames_who_differs_from_the_leader(self):
        with Cluster("--corrupt-check-time=500ms") as cluster:
            away = self.follower_with_other_data(cluster)
            away.start()
            blamed = member_id(away)
            wait_until("an alarm", lambda: "CORRUPT" in cluster.ctl("alarm", "list").stdout)
            self.check_refusals(cluster, blamed)
            self.assertTrue(any("same compact revision then hashes must match" in member.log.text()
                                for member in cluster.members))
            # The alarm is in the log: a restart does not forget it.
            away.restart()
            self.assertIn("CORRUPT", away.ctl("alarm", "list").stdout)
            self.assertIn("etcdserver: corrupt cluster", away.ctl("put", "a", "b", check=False).stderr)

    def test_compaction_hashes_tell_the_minority(self):
        with Cluster("--feature-gates=CompactHashCheck=true", "--compact-hash-check-time=500ms") as cluster:
            away = self.follower_with_other_data(cluster)
            away.start()
            blamed = member_id(away)
            for i in range(5):
                cluster.ctl("put", "other", str(i))
            # A check that comes before a follower has compacted cannot tell who is wrong and blames member 0, as etcd's.
            for compacted in range(4, 9):
                cluster.ctl("put", "other", "more")
                cluster.ctl("compact", str(compacted))
                wait_until("an alarm", lambda: "CORRUPT" in cluster.ctl("alarm", "list").stdout)
                if "memberID" in cluster.ctl("alarm", "list").stdout:
                    break
                cluster.ctl("alarm", "disarm")
            self.check_refusals(cluster, blamed)
            self.assertTrue(any("Detected compaction hash mismatch" in member.log.text() for member in cluster.members))

    def test_equal_members_are_left_alone(self):
        with Cluster("--feature-gates=CompactHashCheck=true,InitialCorruptCheck=true", "--compact-hash-check-time=200ms",
                     "--corrupt-check-time=200ms") as cluster:
            for i in range(5):
                cluster.ctl("put", "key", str(i))
            leader = cluster.leader()
            leader.ctl("compact", "4")
            self.assertTrue(leader.log.wait_for("successfully checked hash on whole cluster", 20), leader.log.text())
            self.assertTrue(leader.log.wait_for('"number-of-peers-checked":2', 20))
            follower = next(member for member in cluster.members if member is not leader)
            follower.restart()
            self.assertIn("initial corruption checking passed; no corruption", follower.log.text())
            self.assertEqual(cluster.ctl("alarm", "list").stdout.strip(), "")


class HashPageTest(unittest.TestCase):
    def test_members_ask_for_a_hash_with_a_body(self):
        with harness.Member() as member:
            for i in range(6):
                member.ctl("put", "key", str(i))
            member.ctl("compact", "3")
            good = json.loads(harness.http_request(member.peer_url, "/members/hashkv", "GET", b"{}")[2])
            self.assertEqual((good["header"]["revision"], good["compact_revision"], good["hash_revision"]), (7, 3, 7))
            rows = [
                ("POST", b"{}", {}, 405, b"Method Not Allowed\n"),
                ("GET", b"{}", {"X-Etcd-Cluster-ID": "1"}, 412, b"cluster ID mismatch\n"),
                ("GET", b"", {}, 400, b"error unmarshalling request\n"),
                ("GET", b"[]", {}, 400, b"error unmarshalling request\n"),
                ("GET", b'{"revision":"x"}', {}, 400, b"error unmarshalling request\n"),
                ("GET", b'{"revision":2}', {}, 400, b"mvcc: required revision has been compacted\n"),
                ("GET", b'{"revision":99}', {}, 400, b"mvcc: required revision is a future revision\n"),
            ]
            for method, body, headers, status, text in rows:
                with self.subTest(body=body, method=method):
                    got = harness.http_request(member.peer_url, "/members/hashkv", method, body, headers)
                    self.assertEqual((got[0], got[2]), (status, text))


if __name__ == "__main__":
    harness.main(at_a_time=2)
