#!/usr/bin/env python3
"""Numbers as small, as large and as odd as they come, in every field that takes one: ours answers as etcd does, and both live.
One member of each kind gets the same requests in the same order, through the JSON gateway. Left out is an alarm's action that
is none: etcd's members die of it."""

import http.client
import json
import os
import re
import socket
import unittest
from pathlib import Path

import harness

REFERENCE = Path(os.environ.get("ETCD_REFERENCE", harness.TOP / "build/reference"))
NUMBERS = (-1, -2, 1, 2, 3, 5, 7, -2**63, -2**63 + 1, 2**63 - 1, 2**63 - 2, 2**62, 2**31, 2**31 - 1, -2**31)
SMALL = (1, 2, 3, 5, 7)
KEY, ALL = "YQ==", "AA=="
WATCH_SECONDS = 0.5  # what a watch says at once


def unsigned(number):
    return str(number & (2**64 - 1))


def requests_with(number):
    text = str(number)
    for name in ("limit", "revision", "min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
        yield "kv/range", {"key": KEY, "range_end": ALL, name: text}
        yield "kv/range", {"key": KEY, "count_only": True, name: text}
    for name in ("sort_order", "sort_target"):
        yield "kv/range", {"key": ALL, "range_end": ALL, name: number}
    yield "kv/put", {"key": KEY, "value": KEY, "lease": text}
    yield "kv/compaction", {"revision": text if number not in SMALL else "1"}
    for target, name in (("VERSION", "version"), ("CREATE", "create_revision"), ("MOD", "mod_revision"), ("LEASE", "lease")):
        for result in ("EQUAL", "GREATER", "LESS", "NOT_EQUAL"):
            yield "kv/txn", {"compare": [{"key": KEY, "target": target, "result": result, name: text}],
                             "success": [{"request_range": {"key": KEY, "limit": text}}],
                             "failure": [{"request_range": {"key": KEY, "revision": text}}]}
    yield "kv/txn", {"compare": [{"key": KEY, "target": number, "result": number, "version": text}]}
    yield "lease/grant", {"TTL": text, "ID": "0"} if number not in SMALL else {"TTL": "500", "ID": text}
    yield "lease/grant", {"TTL": "100", "ID": text}
    for method in ("lease/revoke", "kv/lease/revoke", "lease/timetolive", "lease/keepalive"):
        yield method, {"ID": text}
    yield "maintenance/hashkv", {"revision": text}
    for action, alarm in ((1, 1), (2, 1), (1, number), (2, number)):
        yield "maintenance/alarm", {"action": action, "memberID": unsigned(number), "alarm": alarm}
    yield "maintenance/transfer-leadership", {"targetID": unsigned(number)}
    for method in ("remove", "update", "promote"):
        yield f"cluster/member/{method}", {"ID": unsigned(number), "peerURLs": ["http://127.0.0.1:1"]}
    for watch in ({"start_revision": text, "watch_id": "5"}, {"watch_id": text}, {"start_revision": "2", "filters": [number]}):
        yield "watch", {"create_request": {"key": KEY, **watch}}
    yield "watch", {"cancel_request": {"watch_id": text}}


def ask(member, method, message):
    """(status, body); of a watch what it says at once."""
    connection = http.client.HTTPConnection(member.client_url.split("//")[1], timeout=30)
    try:
        if method == "watch":
            connection.connect()
            connection.sock.settimeout(WATCH_SECONDS)
        try:
            connection.request("POST", f"/v3/{method}", json.dumps(message))
            response = connection.getresponse()
        except socket.timeout:
            return "nothing", ""
        said = b""
        try:
            while line := response.readline():
                said += line
        except socket.timeout:
            pass
        return response.status, plain(said.decode())
    finally:
        connection.close()


def plain(text):
    """Without what differs between two members with equal data."""
    text = re.sub(r'"(cluster_id|member_id|raft_term)":"\d+",?', "", text)
    if "9223372036854775" not in text:
        text = re.sub(r'"ID":"\d{15,}"', '"ID":"N"', text)
    return re.sub(r'"compact_revision":"\S+?"|"hash":\d+', "", text)


class Extremes(unittest.TestCase):
    def test_the_same_answers(self):
        with harness.Member(name="x", program=REFERENCE / "etcd") as real, harness.Member(name="x") as ours:
            for member in (real, ours):
                for i in range(6):
                    member.ctl("put", "a", str(i))
                member.ctl("put", "b", "1")
            for number in NUMBERS:
                for method, message in requests_with(number):
                    with self.subTest(method=method, message=message):
                        self.assertEqual(ask(real, method, message), ask(ours, method, message))
            self.assertTrue(real.runs() and ours.runs())


if __name__ == "__main__":
    harness.main()
