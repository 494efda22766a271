#!/usr/bin/env python3
"""What the log says of single requests: those that took long, those that failed, and nothing of what must not be seen."""

import concurrent.futures
import json
import time
import unittest

import harness
from raw_grpc import Connection, field

LINE_SECONDS_MAX = 20
STOPPED_SECONDS = 0.6  # more than a trace (0.1 s) and a late heartbeat (0.2 s) begin at
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


class ClusterLines(unittest.TestCase):
    """What takes long because a member was stopped for a while: at least so long, so nothing depends on the machine's speed,
    but for whether the request was there in time, which is tried until it was."""

    def test_a_request_that_waited_for_others_and_a_leader_that_was_late(self):
        with harness.Cluster("--heartbeat-interval=100", "--election-timeout=5000", size=2) as cluster:
            leader = cluster.leader()
            follower = cluster.followers()[0]
            begin = len(leader.log.lines)

            def traced():
                with Connection(leader.client_url) as calls, concurrent.futures.ThreadPoolExecutor(1) as pool:
                    follower.pause()
                    put = pool.submit(calls.call, "/etcdserverpb.KV/Put", field(1, b"key") + field(2, SECRET.encode()))
                    time.sleep(STOPPED_SECONDS)
                    follower.resume()
                    put.result()
                return leader.log.wait_for('"msg":"trace"', STOPPED_SECONDS, begin)
            line = json.loads(harness.wait_until("a put that waited", traced))
            self.assertEqual(line["operation"], "put")
            self.assertRegex(line["detail"], r"^\{key:key; req_size:\d+; response_revision:\d+; \}$")
            self.assertRegex(line["steps"][0], r"^'process raft request'  \(duration: ")
            self.assertEqual(line["step_count"], len(line["steps"]))
            self.assertNotIn(SECRET, leader.log.text())

            def late():
                member = cluster.leader()
                member.pause()
                time.sleep(STOPPED_SECONDS)
                member.resume()
                return member.log.wait_for("leader failed to send out heartbeat on time", STOPPED_SECONDS)
            line = json.loads(harness.wait_until("a late heartbeat", late))
            self.assertEqual((line["level"], line["heartbeat-interval"], line["expected-duration"]), ("warn", "100ms", "200ms"))
            self.assertIn(line["to"], [cluster.id_of(member) for member in cluster.members])


if __name__ == "__main__":
    harness.main()
