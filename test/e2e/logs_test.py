#!/usr/bin/env python3
"""What the log says of single requests: those that took long, those that failed, and nothing of what must not be seen."""

import json
import unittest

import harness
from raw_grpc import Connection, field

LINE_SECONDS_MAX = 20
APPLY, FAILED, STATS = "apply request took too long", "failed to apply request", "request stats"
SECRET = "what-nobody-may-see"


def lines_of(member, msg, start=0):
    """Those lines, but for what the member asks of itself: the last of it is told of about when it is ready."""
    return [line for line in member.log_objects()[start:] if line["msg"] == msg and "cluster_" not in line.get("request", "")]


class RequestLines(unittest.TestCase):
    def test_when_everything_is_slow(self):
        with harness.Member("--warning-apply-duration=1ns", "--warning-unary-request-duration=1ns") as member:
            begin = len(member.log.lines)
            member.ctl("put", "key", SECRET)
            member.ctl("get", "key")
            member.ctl("txn", stdin=f'value("key") = "{SECRET}"\n\nput key {SECRET}\n\nget key\n\n')
            member.ctl("del", "key", "--prev-kv")
            member.ctl("lease", "revoke", "77", check=False)
            for text in ("put:<", "read-only range", "txn:<", "delete_range:{", "lease_revoke:<"):
                self.assertIsNotNone(member.log.wait_for(text, LINE_SECONDS_MAX, begin), text)
            self.assertIsNotNone(member.log.wait_for("/etcdserverpb.Lease/LeaseRevoke", LINE_SECONDS_MAX, begin))
            slow = lines_of(member, APPLY, begin)
            texts = [line["request"].split("> ", 1)[-1].split("} ", 1)[-1] for line in slow]
            self.assertEqual(texts[0], f'put:<key:"key" value_size:{len(SECRET)} >')
            self.assertEqual((texts[1], slow[1]["prefix"]), ('key:"key"', "read-only range "))
            self.assertRegex(slow[1]["response"], r"^range_response_count:1 size:\d+$")
            size = len(SECRET)
            self.assertEqual(texts[2], f'txn:<compare:<target:VALUE key:"key" value_size:{size} > '
                             f'success:<request_put:<key:"key" value_size:{size} >> failure:<request_range:{{key:"key"}}>>')
            self.assertEqual(texts[3], 'delete_range:{key:"key" prev_kv:true}')
            self.assertEqual((texts[4], slow[4]["error"]), ("lease_revoke:<id:0000000000000077>", "lease not found"))
            for line in slow:
                self.assertEqual(line["expected-duration"], "1ns")
            self.assertEqual([line["error"] for line in lines_of(member, FAILED, begin)], ["lease not found"])
            stats = {line["response type"]: line for line in lines_of(member, STATS, begin)}
            put = stats["/etcdserverpb.KV/Put"]
            self.assertEqual((put["level"], put["request count"], put["request content"]),
                             ("warn", 1, f'key:"key" value_size:{len(SECRET)} '))
            self.assertEqual(stats["/etcdserverpb.KV/DeleteRange"]["response count"], 1)
            self.assertEqual(stats["/etcdserverpb.Lease/LeaseRevoke"]["request size"], -1)
            self.assertNotIn(SECRET, member.log.text())

    def test_at_debug_every_call_is_told_of(self):
        with harness.Member("--log-level=debug") as member, Connection(member.client_url) as calls:
            begin = len(member.log.lines)
            calls.call("/etcdserverpb.KV/Range", field(1, b"none"))
            line = json.loads(member.log.wait_for(STATS, LINE_SECONDS_MAX, begin))
            self.assertEqual((line["level"], line["request content"], line["response count"]), ("debug", 'key:"none"', 0))

    def test_nothing_is_told_of_what_is_quick(self):
        with harness.Member("--warning-apply-duration=1h", "--warning-unary-request-duration=1h") as member:
            member.ctl("put", "key", "1")
            member.ctl("get", "key")
            member.stop()
            self.assertEqual([lines_of(member, msg) for msg in (APPLY, FAILED, STATS)], [[], [], []])


if __name__ == "__main__":
    harness.main()
