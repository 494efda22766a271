#!/usr/bin/env python3
"""The same random leases, writes, watches, compactions and defragmentations to our server and to real etcd, with restarts of
both in between: every answer, every event and the hash over all revisions must be the same, but for who answered. What is left
of a TTL may differ by the time the two took. OPS=250, SEEDS="1 2 3" change the run."""

import base64
import http.client
import json
import os
import random
import signal
import sys

import harness
from lease_test import KeepAlive
from watch_client import Watch, create

OPS = int(os.environ.get("OPS", "250"))
SEEDS = [int(seed) for seed in os.environ.get("SEEDS", "1 2 3").split()]
REFERENCE = os.path.join(os.environ["ETCD_REFERENCE"], "etcd")
REMAINING_DIFFERS_MAX = 5  # seconds: a restart of real etcd takes an election
EVENT_SECONDS_MAX = 10
TTL_STEP = 10_000  # no two long leases are near enough to change places in the list
OF_ONE_SERVER = {"cluster_id", "member_id", "raft_term"}


def b64(data):
    return base64.b64encode(data).decode()


def cleaned(answer):
    """Without what tells the servers apart; the keys of a lease come in no order from real etcd."""
    if isinstance(answer, dict):
        kept = {name: cleaned(value) for name, value in answer.items() if name not in OF_ONE_SERVER}
        return kept | {"keys": sorted(kept["keys"])} if "keys" in kept else kept
    return [cleaned(value) for value in answer] if isinstance(answer, list) else answer


class Side:
    """One server: unary calls through its JSON gateway, which shows errors with code and text; a stream of keepalives and one
    of events."""

    def __init__(self, program):
        self.program = program
        self.member = harness.Member()
        self.revision = 1  # of the last event seen, or of an empty store
        self.start()

    def start(self):
        mine, harness.SERVER = harness.SERVER, self.program
        try:
            self.member.start()
        finally:
            harness.SERVER = mine
        self.http = http.client.HTTPConnection(self.member.client_url.split("//")[1], timeout=30)
        self.keep_alive = KeepAlive(self.member.client_url)
        self.watch = Watch(self.member.client_url, create(b"", b"\0", self.revision + 1))
        self.watch.next()

    def hang_up(self):
        self.http.close()
        self.keep_alive.close()
        self.watch.close()

    def restart(self, number):
        self.hang_up()
        self.member.stop(number)
        self.start()

    def call(self, path, request):
        self.http.request("POST", "/v3/" + path, json.dumps(request))
        answer = self.http.getresponse()
        return answer.status, cleaned(json.loads(answer.read()))

    def renew(self, ids):
        self.keep_alive.send(*ids)
        return [self.keep_alive.read() for _ in ids]

    def events_until(self, revision):
        """All events up to that revision."""
        events = []
        while self.revision < revision:
            response = self.watch.next(EVENT_SECONDS_MAX)
            if response is None or response.canceled:
                return events + [f"the watch ended: {response}"]
            events += response.events
            self.revision = max([self.revision] + [pair[3] for _, pair, _ in response.events])
        return events

    def next_event(self):
        response = self.watch.next(EVENT_SECONDS_MAX)
        if response is not None:
            self.revision = response.revision
        return response and response.events

    def remove(self):
        self.hang_up()
        self.member.remove()


class Maker:
    """What to do next: (name, function of a side)."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.ids = [-7, 404]  # the last was never granted
        self.granted = 0
        self.revision = 1

    def lease(self):
        return self.random.choice(self.ids)

    def key(self):
        return bytes([self.random.choice(b"abcdefgh")]) + self.random.choice((b"", b"", b"x", b"\xff"))

    def put(self):
        request = {"key": b64(self.key()), "value": b64(self.random.randbytes(self.random.randrange(20)))}
        kind = self.random.random()
        if kind < 0.6:
            request["lease"] = str(self.lease())
        elif kind < 0.7:
            request["ignore_lease"] = True
        elif kind < 0.75:
            request |= {"ignore_lease": True, "lease": str(self.lease())}
        if self.random.random() < 0.3:
            request["prev_kv"] = True
        return request

    def range(self):
        key = self.key()
        return {"key": b64(key), "range_end": b64(self.random.choice((b"", b"\0", key + b"\x80", b"z")))}

    def grant(self):
        if self.random.random() < 0.7:
            self.granted += 1
            self.ids.append(self.random.choice((1, -1)) * self.random.randrange(1, 1 << 62))
            return {"ID": str(self.ids[-1]), "TTL": str(self.granted * TTL_STEP)}
        return {"ID": str(self.lease()), "TTL": str(self.random.choice((9_000_000_001, 9_000_000_001, 1 << 62)))}

    def txn(self):
        compare = [{"key": b64(self.key()), "target": "LEASE", "result": self.random.choice(("EQUAL", "GREATER", "NOT_EQUAL")),
                    "lease": str(self.random.choice((0, self.lease())))}]
        ops = [{"request_put": {name: value for name, value in self.put().items() if name != "ignore_lease"}}]
        if self.random.random() < 0.5:
            ops.append({"request_delete_range": {"key": b64(b"i")}})
        return {"compare": compare, "success": ops, "failure": [{"request_range": self.range()}]}

    def unary(self, path, request):
        return f"{path} {request}", lambda side: side.call(path, request)

    def next(self):
        kind = self.random.random()
        if kind < 0.32:
            return self.unary("kv/put", self.put())
        if kind < 0.44:
            return self.unary("lease/grant", self.grant())
        if kind < 0.52:
            return self.unary("lease/revoke", {"ID": str(self.lease())})
        if kind < 0.62:
            return self.unary("lease/timetolive", {"ID": str(self.lease()), "keys": self.random.random() < 0.7})
        if kind < 0.66:
            return self.unary("lease/leases", {})
        if kind < 0.72:
            ids = [self.lease() for _ in range(self.random.randrange(1, 5))]
            return f"keepalive {ids}", lambda side: side.renew(ids)
        if kind < 0.80:
            return self.unary("kv/txn", self.txn())
        if kind < 0.86:
            return self.unary("kv/deleterange", self.range() | {"prev_kv": self.random.random() < 0.5})
        if kind < 0.92:
            return self.unary("kv/range", self.range())
        if kind < 0.95:
            revision = max(1, self.revision - self.random.randrange(20))
            return self.unary("kv/compaction", {"revision": str(revision), "physical": True})
        if kind < 0.97:
            return self.unary("maintenance/defragment", {})
        if kind < 0.985:
            return "end of a short lease", self.short_lease()
        number = self.random.choice((signal.SIGTERM, signal.SIGKILL))
        return f"restart {number}", lambda side: side.restart(number)

    def short_lease(self):
        """Of the least TTL, with keys: they go in one revision, in order."""
        keys = sorted({self.key() for _ in range(3)})

        def run(side):
            answers = [side.call("lease/grant", {"ID": "2", "TTL": "1"})]
            answers += [side.call("kv/put", {"key": b64(key), "lease": "2"}) for key in keys]
            answers.append(side.events_until(revision_of(answers[-1])))
            answers.append(side.next_event())
            answers.append(side.call("lease/timetolive", {"ID": "2"}))
            return answers

        return run


def revision_of(answer):
    """The header's revision of a unary answer."""
    return int(answer[1].get("header", {}).get("revision", 0)) if isinstance(answer, tuple) else 0


def without_remaining(answer):
    """(answer, what remains or None)"""
    if isinstance(answer, tuple) and "grantedTTL" in answer[1]:
        fields = dict(answer[1])
        return fields, int(fields.pop("TTL", 0))
    return answer, None


def same(ours, real):
    (ours, ours_left), (real, real_left) = without_remaining(ours), without_remaining(real)
    if ours != real or (ours_left is None) != (real_left is None):
        return False
    return ours_left is None or abs(ours_left - real_left) <= REMAINING_DIFFERS_MAX


def compare(seed):
    """(answers compared, the first difference or None)"""
    maker, compared, sides = Maker(seed), 0, []
    try:
        sides.append(Side(harness.SERVER))
        sides.append(Side(REFERENCE))
        for step in range(OPS + 1):
            name, act = maker.next() if step < OPS else maker.unary("maintenance/hashkv", {})
            ours, real = [act(side) for side in sides]
            compared += 1
            if not same(ours, real):
                return compared, f"seed {seed}, step {step}, {name}\n-- ours\n{ours}\n-- etcd\n{real}"
            state = [side.call("kv/range", {"key": "AA==", "range_end": "AA=="}) for side in sides]
            if state[0] != state[1]:
                return compared, f"seed {seed}, step {step}, after {name}\n-- ours\n{state[0]}\n-- etcd\n{state[1]}"
            maker.revision = revision_of(state[0])
            ours, real = [side.events_until(maker.revision) for side in sides]
            if ours != real:
                return compared, f"seed {seed}, step {step}, events of {name}\n-- ours\n{ours}\n-- etcd\n{real}"
        return compared, None
    finally:
        for side in sides:
            side.remove()


if __name__ == "__main__":
    sys.exit(harness.compare_seeds(SEEDS, compare, "answers"))
