#!/usr/bin/env python3
"""The same calls to our server and to real etcd, both told to call everything slow: what they log of each request is compared,
field by field. Only times, durations, ids of requests and members and the client's port are taken out."""

import difflib
import json
import os
import re
import unittest

import harness
from raw_grpc import Connection, field
from watch_client import put_op, txn_of

REFERENCE = os.path.join(os.environ["ETCD_REFERENCE"], "etcd")
REQUEST_BYTES_MAX = 4096
LINE_SECONDS_MAX = 10
KV, LEASE, MAINTENANCE = "/etcdserverpb.KV/", "/etcdserverpb.Lease/", "/etcdserverpb.Maintenance/"
FUTURE, SERIALIZABLE = field(4, 1 << 40), field(7, 1)
REQUEST_LINES = ("apply request took too long", "failed to apply request", "request stats")
# What depends on the moment, the machine or the member: field of the line -> what stands for it.
FREE = {"ts", "caller", "took", "start time", "time spent", "remote", "stacktrace"}
REQUEST_ID = re.compile(r"ID:\d+")
MEMBER_ID = re.compile(r"(member_id|memberID):\d+")


def compare_op(target, key, *more):
    return field(1, field(2, target) + field(3, key) + b"".join(more))


def success(*ops):
    return b"".join(field(2, op) for op in ops)


def failure(*ops):
    return b"".join(field(3, op) for op in ops)


def read_op(key, *more):
    return field(1, field(1, key) + b"".join(more))


def delete_op(key, *more):
    return field(3, field(1, key) + b"".join(more))


STRANGE = bytes(range(0, 40)) + b"\\\"'\x7f\x80\xff" + "\u0085\u00a0ü€\U0001f600\ufffd".encode()
CALLS = (
    (KV + "Put", field(1, b"a") + field(2, b"hello")),
    (KV + "Put", field(1, b"a") + field(2, b"world") + field(4, 1)),
    (KV + "Put", field(1, b"a") + field(5, 1) + field(6, 1)),
    (KV + "Put", field(1, STRANGE) + field(2, STRANGE)),
    (KV + "Put", field(1, b"x") + field(3, 12345)),
    (KV + "Put", field(1, b"x") + field(3, 2 ** 64 - 5)),
    (KV + "Put", field(1, b"absent") + field(5, 1)),
    (KV + "Put", b""),
    (KV + "Put", field(1, b"big") + field(2, b"v" * 4100)),
    (KV + "Put", field(1, b"x") + field(99, 5)),
    (KV + "Range", field(1, b"a")),
    (KV + "Range", field(1, STRANGE)),
    (KV + "Range", field(1, b"a") + field(2, b"\0") + field(3, 1) + field(5, 2) + field(6, 4) + SERIALIZABLE + field(8, 1)),
    (KV + "Range", field(1, b"a") + field(2, b"\0") + field(9, 1) + field(10, 1) + field(11, 9) + field(12, 2) + field(13, 8)),
    (KV + "Range", field(1, b"\0") + field(2, b"\0")),
    (KV + "Range", field(1, b"a") + field(5, 9)),
    (KV + "Range", field(1, b"a") + field(6, 9)),
    (KV + "Range", field(1, b"absent")),
    (KV + "Range", field(1, b"a") + FUTURE),
    (KV + "Range", field(1, b"a") + FUTURE + SERIALIZABLE),
    (KV + "Range", b""),
    (KV + "DeleteRange", field(1, b"x") + field(3, 1)),
    (KV + "DeleteRange", field(1, b"absent") + field(2, b"absent2")),
    (KV + "DeleteRange", b""),
    (KV + "Txn", b""),
    (KV + "Txn", txn_of([(b"t1", b"1"), (b"t2", b"22")], [(b"t1", b"")])),
    (KV + "Txn", compare_op(3, b"t1", field(7, b"1")) + success(put_op_of := field(2, field(1, b"t3") + field(2, STRANGE)),
                                                                read_op(b"t1"), delete_op(b"t2", field(3, 1)))),
    (KV + "Txn", compare_op(0, b"t1", field(4, 0)) + compare_op(1, b"t1", field(5, 7), field(64, b"t9"))
     + failure(read_op(b"t", field(2, b"u")), put_op_of)),
    (KV + "Txn", compare_op(3, b"t1", field(7, b"1"), field(64, b"t\0"), field(1, 2)) + success(put_op_of)),
    (KV + "Txn", compare_op(2, b"t1", field(6, 3), field(1, 1)) + compare_op(4, b"t1", field(8, 0), field(1, 3))
     + success(field(4, compare_op(3, b"t1", field(7, STRANGE)) + success(field(4, success(put_op_of)))) + b"")),
    (KV + "Txn", compare_op(0, b"t1") + success(read_op(b"t1"), read_op(b"t", field(2, b"u"))) + failure(read_op(b"none"))),
    (KV + "Txn", success(read_op(b"t1", SERIALIZABLE))),
    (KV + "Txn", success(field(4, success(read_op(b"t1"))))),
    (KV + "Txn", success(read_op(b"t1", FUTURE))),
    (KV + "Txn", success(field(2, field(1, b"k") + field(3, 777)))),
    (KV + "Txn", success(put_op_of, put_op_of)),
    (KV + "Txn", success(b"")),
    (KV + "Compact", field(1, 1 << 40)),
    (KV + "Compact", field(1, 2) + field(2, 1)),
    (KV + "Compact", field(1, 2)),
    (KV + "Range", field(1, b"a") + field(4, 1)),
    (LEASE + "LeaseGrant", field(1, 600) + field(2, 0x123)),
    (LEASE + "LeaseGrant", field(1, 600) + field(2, 0x123)),
    (LEASE + "LeaseGrant", field(1, 1 << 40) + field(2, 5)),
    (LEASE + "LeaseGrant", field(1, 60) + field(2, 2 ** 64 - 3)),
    (KV + "Put", field(1, b"leased") + field(3, 0x123)),
    (LEASE + "LeaseTimeToLive", field(1, 0x123) + field(2, 1)),
    (LEASE + "LeaseTimeToLive", field(1, 0x999)),
    (LEASE + "LeaseLeases", b""),
    (LEASE + "LeaseRevoke", field(1, 0x123)),
    (LEASE + "LeaseRevoke", field(1, 0x999)),
    (MAINTENANCE + "Status", b""),
    (MAINTENANCE + "HashKV", b""),
    (MAINTENANCE + "Alarm", b""),
    (MAINTENANCE + "Alarm", field(1, 1) + field(2, 0x77) + field(3, 1)),
    (KV + "Put", field(1, b"no") + field(2, b"space")),
    (KV + "Txn", success(put_op_of)),
    (LEASE + "LeaseGrant", field(1, 600) + field(2, 0x124)),
    (MAINTENANCE + "Alarm", field(1, 2) + field(2, 0x77) + field(3, 1)),
    (MAINTENANCE + "Alarm", field(1, 2) + field(2, 0x77) + field(3, 1)),
    (MAINTENANCE + "Alarm", field(1, 1) + field(2, 0x77) + field(3, 2)),
    (KV + "Put", field(1, b"corrupt") + field(2, b"member")),
    (KV + "Range", field(1, b"a")),
    (KV + "Txn", success(read_op(b"t1"))),
    (MAINTENANCE + "Alarm", field(1, 2) + field(2, 0x77) + field(3, 2)),
    (MAINTENANCE + "MoveLeader", field(1, 7)),
    (MAINTENANCE + "Defragment", b""),
    ("/etcdserverpb.Cluster/MemberList", b""),
    ("/etcdserverpb.Cluster/MemberList", field(1, 1)),
    ("/grpc.health.v1.Health/Check", b""),
    ("/grpc.health.v1.Health/Check", field(1, b"nope")),
    (KV + "Nope", b""),
    (KV + "Put", b"\xff"),
)
GATEWAY = (("/v3/kv/put", b'{"key":"Zw==","value":"Zw=="}'), ("/v3/kv/range", b'{"key":"Zw=="}'), ("/v3/kv/range", b"{}"),
           ("/v3/kv/txn", b'{"success":[{"request_range":{"key":"Zw=="}}]}'), ("/v3/maintenance/status", b"{}"))
MARK = 0x7777
OWN_REQUEST = re.compile("cluster_version_set|cluster_member_attr_set")


class Side:
    """One member; `urls`: those of another one that has ended, so that ids, and with them sizes, are the same."""

    def __init__(self, program, flags, urls=None):
        harness.SERVER, usual = program, harness.SERVER
        try:
            self.member = harness.Member(f"--max-request-bytes={REQUEST_BYTES_MAX}", *flags)
            if urls:
                self.member.client_url, self.member.peer_url = urls
            self.member.start()
        except BaseException:
            self.member.remove()
            raise
        finally:
            harness.SERVER = usual
        self.calls = Connection(self.member.client_url, window=1 << 30)
        self.begin = len(self.member.log.lines)

    def call(self, path, message):
        """Whether it went well; the answer itself is not what this test is about."""
        try:
            self.calls.finish(self.calls.start(path, message))
        except AssertionError:
            return False
        return True

    def lines(self):
        """What was logged about requests since this side began, but for the member's own."""
        self.call(LEASE + "LeaseRevoke", field(1, MARK))  # fails, which is logged whatever is slow
        assert self.member.log.wait_for(f"id:{MARK:016x}", LINE_SECONDS_MAX, self.begin), self.member.log.text()
        found = []
        for text in self.member.log.lines[self.begin:]:
            if f"id:{MARK:016x}" in text:
                break
            line = json.loads(text)
            if line["msg"] in REQUEST_LINES and not OWN_REQUEST.search(line.get("request", "")):
                found.append(shown(line))
        return found

    def close(self):
        self.calls.close()
        self.member.remove()


def shown(line):
    kept = {key: value for key, value in line.items() if key not in FREE}
    for key in ("request", "request content"):
        if key in kept:
            kept[key] = MEMBER_ID.sub("\\1:N", REQUEST_ID.sub("ID:N", kept[key]))
    return kept


class RequestLines(unittest.TestCase):
    """Each list is shorter than the hundred lines of one message a second from which both servers begin to leave some out."""

    def compare(self, do, *flags):
        found, urls = [], None
        for program in (harness.SERVER, REFERENCE):
            side = Side(program, flags, urls)
            try:
                do(side)
                found.append([json.dumps(line, ensure_ascii=False) for line in side.lines()])
            finally:
                side.close()
            urls = side.member.client_url, side.member.peer_url
        ours, real = found
        self.maxDiff = None
        self.assertEqual([], list(difflib.unified_diff(real, ours, "etcd", "ours", lineterm="", n=1)))
        return ours

    @staticmethod
    def all_calls(side):
        for path, message in CALLS:
            side.call(path, message)

    def test_slow_applies(self):
        lines = self.compare(self.all_calls, "--warning-apply-duration=1ns", "--warning-unary-request-duration=1h")
        self.assertGreater(len(lines), len(CALLS) // 2)

    def test_slow_calls(self):
        lines = self.compare(self.all_calls, "--warning-apply-duration=1h", "--warning-unary-request-duration=1ns")
        self.assertGreaterEqual(len(lines), len(CALLS) - 2)

    def test_everything_at_debug(self):
        lines = self.compare(self.all_calls, "--warning-apply-duration=1h", "--log-level=debug")
        self.assertTrue(all('"debug"' in line for line in lines if '"request stats"' in line))

    def test_nothing_is_slow(self):
        lines = self.compare(self.all_calls, "--warning-apply-duration=1h", "--warning-unary-request-duration=1h")
        self.assertTrue(all('"failed to apply request"' in line for line in lines))

    def test_calls_of_the_gateway(self):
        def calls(side):
            for path, body in GATEWAY:
                side.member.get(path, "POST", body)
        self.compare(calls, "--warning-apply-duration=1ns", "--warning-unary-request-duration=1ns")

    def test_big_answers(self):
        def calls(side):
            for i in range(40):
                side.call(KV + "Put", field(1, b"big%d" % i) + field(2, b"v" * 4000))
            for more in (b"", field(3, 30), field(8, 1), field(9, 1), field(5, 2) + field(6, 4)):
                side.call(KV + "Range", field(1, b"big") + field(2, b"bih") + more)
            side.call(KV + "Txn", success(read_op(b"big", field(2, b"bih"))))
            side.call(KV + "DeleteRange", field(1, b"big") + field(2, b"bih") + field(3, 1))
        self.compare(calls, "--warning-apply-duration=1ns", "--warning-unary-request-duration=1ns")


if __name__ == "__main__":
    harness.main()
