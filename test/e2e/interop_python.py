#!/usr/bin/env python3
"""The client libraries python3-etcd3 (gRPC) and python3-etcd3gw (JSON gateway), unmodified, work on our server."""

import os
import unittest

# The library's generated code is older than the installed protobuf; its pure Python form takes both.
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")

import etcd3  # noqa: E402
import etcd3gw  # noqa: E402

import harness  # noqa: E402


class PythonClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.member = harness.Member().start()
        cls.addClassCleanup(cls.member.remove)
        host, port = cls.member.client_url.split("//")[1].split(":")
        cls.client = etcd3.client(host=host, port=int(port), timeout=10)
        cls.addClassCleanup(cls.client.close)

    def test_put_and_get(self):
        self.client.put("a/1", "one")
        value, meta = self.client.get("a/1")
        self.assertEqual((value, meta.key, meta.version), (b"one", b"a/1", 1))
        self.assertEqual(self.client.get("a/2"), (None, None))

    def test_ranges_in_order(self):
        for i in range(9):
            self.client.put(f"b/{i}", str(i))
        self.assertEqual([value for value, _ in self.client.get_prefix("b/")], [str(i).encode() for i in range(9)])
        down = self.client.get_prefix("b/", sort_order="descend", sort_target="key")
        self.assertEqual([meta.key for _, meta in down][:2], [b"b/8", b"b/7"])
        self.assertEqual([meta.key for _, meta in self.client.get_range("b/2", "b/4")], [b"b/2", b"b/3"])

    def test_delete(self):
        self.client.put("c", "x")
        self.assertTrue(self.client.delete("c"))
        self.assertFalse(self.client.delete("c"))
        for i in range(3):
            self.client.put(f"d/{i}", "x")
        self.assertEqual(self.client.delete_prefix("d/").deleted, 3)

    def test_transactions(self):
        self.client.put("e", "1")
        transactions = self.client.transactions
        succeeded, responses = self.client.transaction(
            compare=[transactions.value("e") == "1", transactions.version("e") > 0],
            success=[transactions.put("e", "2"), transactions.get("e")], failure=[transactions.put("e", "3")])
        self.assertTrue(succeeded)
        self.assertEqual(responses[1][0][0], b"2")
        self.assertFalse(self.client.replace("e", "1", "4"))
        self.assertTrue(self.client.replace("e", "2", "4"))
        self.assertTrue(self.client.put_if_not_exists("f", "1"))
        self.assertFalse(self.client.put_if_not_exists("f", "2"))

    def test_compaction_and_status(self):
        for i in range(5):
            self.client.put("g", str(i))
        revision = self.client.get("g")[1].mod_revision
        self.client.compact(revision, physical=True)
        self.assertEqual(self.client.get("g")[0], b"4")
        self.assertEqual(self.client.status().version, "3.7.1")
        self.assertEqual([member.name for member in self.client.members], ["default"])


class GatewayClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.member = harness.Member().start()
        cls.addClassCleanup(cls.member.remove)
        host, port = cls.member.client_url.split("//")[1].split(":")
        cls.client = etcd3gw.Etcd3Client(host=host, port=int(port), api_path="/v3/", timeout=10)

    def test_put_get_delete(self):
        self.assertTrue(self.client.put("gwp/1", "one"))
        self.assertEqual(self.client.get("gwp/1"), [b"one"])
        self.assertEqual(self.client.get("gwp/none"), [])
        self.client.put("gwp/2", "two")
        self.assertEqual([value for value, _ in self.client.get_prefix("gwp/", sort_order="descend")], [b"two", b"one"])
        self.assertTrue(self.client.delete("gwp/1"))
        self.assertFalse(self.client.delete("gwp/1"))

    def test_create_and_replace(self):
        self.assertTrue(self.client.create("gw/c", "1"))
        self.assertFalse(self.client.create("gw/c", "2"))
        self.assertTrue(self.client.replace("gw/c", "1", "3"))
        self.assertFalse(self.client.replace("gw/c", "1", "4"))

    def test_status_and_members(self):
        self.assertEqual(self.client.status()["version"], "3.7.1")
        self.assertEqual([member["name"] for member in self.client.members()], ["default"])

    def test_watch(self):
        events, cancel = self.client.watch("gw/w")
        for value in ("a", "b"):
            self.client.put("gw/w", value)
            self.assertEqual(next(events)["kv"]["value"], value.encode())
        cancel()


if __name__ == "__main__":
    harness.main()
