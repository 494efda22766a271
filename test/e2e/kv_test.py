#!/usr/bin/env python3
"""Keys and values through the command line client: what is put is got, in order, at every revision, also after a restart."""

import base64
import json
import unittest

import harness


def revision_of(done):
    return json.loads(done.stdout)["header"]["revision"]


class OneMember(unittest.TestCase):
    """All tests of a class share one member; each uses a prefix of its own, so their order does not matter."""

    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.member = harness.Member(*cls.flags).start()
        cls.addClassCleanup(cls.member.remove)

    def ctl(self, *arguments, **options):
        return self.member.ctl(*arguments, **options)

    def json(self, *arguments, **options):
        return json.loads(self.ctl(*arguments, "-w", "json", **options).stdout)

    def refused(self, text, *arguments, **options):
        done = self.ctl(*arguments, check=False, **options)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(text, done.stderr)

    def fill(self, prefix, count):
        for i in range(count):
            self.ctl("put", f"{prefix}{i}", f"value {i}")


class KeyValue(OneMember):
    def test_put_then_get(self):
        self.assertEqual(self.ctl("put", "a/1", "one").stdout, "OK\n")
        self.assertEqual(self.ctl("get", "a/1").stdout, "a/1\none\n")
        self.assertEqual(self.ctl("get", "a/1", "--print-value-only").stdout, "one\n")
        self.assertEqual(self.ctl("get", "a/2").stdout, "")

    def test_versions_and_revisions_count(self):
        first = self.json("put", "b", "1")["header"]["revision"]
        self.ctl("put", "b", "2")
        pair = self.json("get", "b")["kvs"][0]
        self.assertEqual((pair["create_revision"], pair["mod_revision"], pair["version"]), (first, first + 1, 2))
        self.assertEqual(base64.b64decode(pair["key"]), b"b")
        self.ctl("del", "b")
        self.ctl("put", "b", "3")
        self.assertEqual(self.json("get", "b")["kvs"][0]["version"], 1)

    def test_old_revisions_stay(self):
        first = self.json("put", "c", "old")["header"]["revision"]
        self.ctl("put", "c", "new")
        self.assertEqual(self.ctl("get", "c", f"--rev={first}").stdout, "c\nold\n")
        self.refused("required revision is a future revision", "get", "c", "--rev=1000000")

    def test_ranges(self):
        self.fill("d/", 5)
        self.assertEqual(self.ctl("get", "d/", "--prefix", "--keys-only").stdout.split(), [f"d/{i}" for i in range(5)])
        self.assertEqual(self.ctl("get", "d/1", "d/3", "--print-value-only").stdout, "value 1\nvalue 2\n")
        self.assertEqual(self.json("get", "d/", "--prefix", "--limit=2")["count"], 5)
        self.assertTrue(self.json("get", "d/", "--prefix", "--limit=2")["more"])
        self.assertIn('"Count" : 5\n', self.ctl("get", "d/", "--prefix", "--count-only", "-w", "fields").stdout)
        self.assertEqual(self.ctl("get", "d/3", "d/9", "--keys-only").stdout.split(), ["d/3", "d/4"])
        down = self.ctl("get", "d/", "--prefix", "--keys-only", "--order=DESCEND", "--sort-by=KEY").stdout.split()
        self.assertEqual(down, [f"d/{i}" for i in reversed(range(5))])

    def test_a_stream_gives_what_one_answer_gives(self):
        for i in range(3):
            self.ctl("put", f"s/{i}", stdin="s" * 700_000)
        whole = self.ctl("get", "s/", "--prefix").stdout
        self.assertGreater(len(whole), 2_000_000)
        self.assertEqual(self.ctl("get", "s/", "--prefix", "--stream").stdout, whole)

    def test_delete_tells_what_it_deleted(self):
        self.fill("e/", 4)
        self.assertEqual(self.ctl("del", "e/1", "e/3").stdout, "2\n")
        self.assertEqual(self.ctl("del", "e/", "--prefix", "--prev-kv").stdout.split("\n")[0], "2")
        self.assertEqual(self.ctl("del", "e/", "--prefix").stdout, "0\n")

    def test_previous_pair(self):
        self.ctl("put", "f", "before")
        self.assertEqual(self.ctl("put", "f", "after", "--prev-kv").stdout, "OK\nf\nbefore\n")
        self.refused("key not found", "put", "f/none", "--ignore-value")

    def test_transactions_choose_a_branch(self):
        self.ctl("put", "g", "1")
        story = 'value("g") = "1"\n\nput g 2\nget g\n\nput g 3\n\n'
        self.assertEqual(self.ctl("txn", "--interactive=false", stdin=story).stdout, "SUCCESS\n\nOK\n\ng\n2\n")
        self.assertEqual(self.ctl("txn", stdin=story).stdout, "FAILURE\n\nOK\n")
        self.assertEqual(self.ctl("get", "g", "--print-value-only").stdout, "3\n")
        before = self.json("get", "g")["header"]["revision"]
        self.refused("duplicate key given in txn request", "txn", stdin="\nput g 4\nput g 5\n\n\n")
        self.assertEqual(self.json("get", "g")["header"]["revision"], before)

    def test_compaction_forgets(self):
        first = self.json("put", "h", "1")["header"]["revision"]
        last = self.json("put", "h", "2")["header"]["revision"]
        self.assertEqual(self.ctl("compaction", str(last), "--physical").stdout, f"compacted revision {last}\n")
        self.refused("required revision has been compacted", "get", "h", f"--rev={first}")
        self.refused("required revision has been compacted", "compaction", str(first))
        self.assertEqual(self.ctl("get", "h", f"--rev={last}").stdout, "h\n2\n")

    def test_binary_keys_and_empty_values(self):
        self.ctl("put", "i\x01\x7f é", "")
        self.assertEqual(self.ctl("get", "i", "--prefix").stdout, "i\x01\x7f é\n\n")
        self.refused("key is not provided", "put", "", "x")

    def test_a_big_value_and_one_too_big(self):
        value = "v" * (1024 * 1024)
        self.ctl("put", "j", stdin=value)
        self.assertEqual(self.ctl("get", "j", "--print-value-only").stdout, value + "\n")
        self.refused("request is too large", "put", "j", stdin="v" * (1600 * 1024))

    def test_serializable_reads(self):
        self.ctl("put", "k", "1")
        self.assertEqual(self.ctl("get", "k", "--consistency=s").stdout, "k\n1\n")


class Cluster(OneMember):
    def test_member_list(self):
        members = self.json("member", "list")["members"]
        self.assertEqual(len(members), 1)
        self.assertEqual((members[0]["name"], members[0]["peerURLs"], members[0]["clientURLs"]),
                         ("default", [self.member.peer_url], [self.member.client_url]))

    def test_endpoint_status_health_and_hash(self):
        status = self.json("endpoint", "status")[0]["Status"]
        self.assertEqual(status["leader"], status["header"]["member_id"])
        self.assertEqual(status["version"], "3.7.1")
        self.assertTrue(self.json("endpoint", "health")[0]["health"])
        first = self.json("endpoint", "hashkv")[0]["HashKV"]["hash"]
        self.ctl("put", "hash", "1")
        self.assertNotEqual(self.json("endpoint", "hashkv")[0]["HashKV"]["hash"], first)

    def test_versions(self):
        self.assertEqual(self.ctl("version").stdout, "etcdctl version: 3.7.1\nAPI version: 3.7\n")


class Restart(unittest.TestCase):
    def test_a_restart_keeps_pairs_revisions_and_ids(self):
        for way in ("stop", "kill"):
            with self.subTest(way), harness.Member() as member:
                for i in range(20):
                    member.ctl("put", f"key{i % 7}", str(i))
                member.ctl("del", "key0")
                first = member.ctl("get", "", "--prefix", "-w", "json").stdout
                hashes = json.loads(member.ctl("endpoint", "hashkv", "-w", "json").stdout)[0]["HashKV"]
                getattr(member, way)()
                member.start()
                second = member.ctl("get", "", "--prefix", "-w", "json").stdout
                # The term moves on with each election; all else is as before.
                before, after = json.loads(first), json.loads(second)
                self.assertLess(before["header"].pop("raft_term"), after["header"].pop("raft_term"))
                self.assertEqual(before, after)
                again = json.loads(member.ctl("endpoint", "hashkv", "-w", "json").stdout)[0]["HashKV"]
                self.assertEqual(hashes["hash"], again["hash"])

    def test_a_restart_after_compaction(self):
        with harness.Member() as member:
            for i in range(10):
                member.ctl("put", "key", str(i))
            member.ctl("compaction", "6", "--physical")
            member.restart()
            self.assertEqual(member.ctl("get", "key", "--rev=6", "--print-value-only").stdout, "4\n")
            done = member.ctl("get", "key", "--rev=5", check=False)
            self.assertIn("required revision has been compacted", done.stderr)

    def test_many_restarts(self):
        with harness.Member() as member:
            for i in range(5):
                member.ctl("put", f"round{i}", "x")
                member.restart()
            found = member.ctl("get", "round", "--prefix", "--keys-only").stdout.split()
            self.assertEqual(found, [f"round{i}" for i in range(5)])


class UnixSocket(unittest.TestCase):
    def test_put_and_get_over_a_unix_socket(self):
        # Go treats host:port of a unix URL as the file's name, in the working directory.
        with harness.Member(client_url="unix://127.0.0.1:21477") as member:
            path = member.root / "127.0.0.1:21477"
            self.assertTrue(path.is_socket())
            harness.ctl("put", "a", "b", endpoint=f"unix://{path}")
            self.assertEqual(harness.ctl("get", "a", endpoint=f"unix://{path}").stdout, "a\nb\n")


if __name__ == "__main__":
    harness.main()
