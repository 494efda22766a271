#!/usr/bin/env python3
"""Random requests through clusters of our members and real etcd's: each answer's error, and after each block all members' data.

Whoever is asked decides about a request before it is proposed, and every member applies it by itself: where ours and etcd
disagree in either, hashes, keys or leases of the members differ. SEED and BLOCKS in the environment choose another story or a
longer one.
"""

import base64
import json
import os
import random
import unittest
from pathlib import Path

import harness

REFERENCE = Path(os.environ.get("ETCD_REFERENCE", harness.TOP / "build/reference"))
SEED = int(os.environ.get("SEED", "1"))
BLOCKS = int(os.environ.get("BLOCKS", "6"))
BLOCK = 120  # requests
LEASES = range(1, 6)


def text64(text):
    return base64.b64encode(text.encode()).decode()


class Requests:
    """Draws requests; few keys, so that they meet. `reads_back`: transactions may read at revisions that are not there."""

    def __init__(self, seed, reads_back):
        self.random = random.Random(seed)
        self.reads_back = reads_back
        self.revision = 1

    def maybe(self, chance):
        return self.random.random() < chance

    def key(self):
        return self.random.choice("abcdefgh") + self.random.choice(["", "", "/1", "/2", "0"])

    def span(self):
        kind = self.random.randrange(8)
        if kind < 4:
            return {"key": text64(self.key())}
        if kind < 6:
            first = self.random.choice("abcdefgh")
            return {"key": text64(first), "range_end": text64(chr(ord(first) + 1))}
        if kind == 6:
            return {"key": text64(self.key()), "range_end": text64(self.key())}
        return {"key": text64(self.key()), "range_end": text64("\0")}

    def at(self):
        """A revision to read at or to compact to, now and then one that is gone or to come."""
        most = self.revision + (3 if self.maybe(0.1) else 0)
        return max(0, self.random.randint(max(most - 40, 0), most))

    def put(self):
        request = {"key": text64(self.key()), "value": text64(str(self.random.randrange(1000))), "prev_kv": self.maybe(0.3)}
        if self.maybe(0.15):
            request["lease"] = str(self.random.choice(list(LEASES) + [77]))
        if self.maybe(0.1):
            request["ignore_value"] = True
            request.pop("value")
        if self.maybe(0.1):
            request["ignore_lease"] = True
            request.pop("lease", None)
        return request

    def range(self, inside=False):
        request = {**self.span(), "limit": str(self.random.randrange(4)), "keys_only": self.maybe(0.1)}
        request["sort_order"] = self.random.choice(["NONE", "ASCEND", "DESCEND"])
        request["sort_target"] = self.random.choice(["KEY", "VERSION", "CREATE", "MOD", "VALUE"])
        request["count_only"] = self.maybe(0.1)
        if self.maybe(0.3) and (self.reads_back or not inside):
            request["revision"] = str(self.at())
        return request

    def delete(self, inside=False):
        span = self.span()
        while inside and span.get("range_end") == text64("\0"):
            span = self.span()  # With a later put of ignore_value such a delete ends members of etcd.
        return {**span, "prev_kv": self.maybe(0.3)}

    def compare(self):
        field = self.random.choice(["version", "create_revision", "mod_revision", "value", "lease"])
        request = {**self.span(), "target": {"create_revision": "CREATE", "mod_revision": "MOD"}.get(field, field.upper()),
                   "result": self.random.choice(["EQUAL", "GREATER", "LESS", "NOT_EQUAL"])}
        bounds = {"version": 4, "lease": 4}.get(field, self.revision + 1)
        drawn = self.random.randrange(1000) if field == "value" else self.random.randrange(bounds)
        request[field] = text64(str(drawn)) if field == "value" else str(drawn)
        return request

    def operation(self, depth):
        kind = self.random.randrange(10)
        if kind < 5:
            return {"request_put": self.put()}
        if kind < 7:
            return {"request_delete_range": self.delete(inside=True)}
        if kind < 9 or depth == 0:
            return {"request_range": self.range(inside=True)}
        return {"request_txn": self.transaction(depth - 1)}

    def transaction(self, depth=2):
        def several(make, most):
            return [make() for _ in range(self.random.randrange(most))]
        return {"compare": several(self.compare, 3), "success": several(lambda: self.operation(depth), 4),
                "failure": several(lambda: self.operation(depth), 4)}

    def draw(self):
        kind = self.random.randrange(20)
        if kind < 8:
            return "/v3/kv/put", self.put()
        if kind < 10:
            return "/v3/kv/deleterange", self.delete()
        if kind < 15:
            return "/v3/kv/txn", self.transaction()
        if kind < 17:
            return "/v3/kv/range", self.range()
        if kind == 17:
            return "/v3/lease/grant", {"TTL": "600", "ID": str(self.random.choice(LEASES))}
        if kind == 18:
            return "/v3/lease/revoke", {"ID": str(self.random.choice(LEASES))}
        return "/v3/kv/compaction", {"revision": str(self.at()), "physical": True}


class RandomTest(unittest.TestCase):
    def data(self, member):
        """What a member has applied, by itself: keys, and leases with the keys that hang on them."""
        everything = {"key": text64("\0"), "range_end": text64("\0"), "serializable": True}
        _, _, body = member.get("/v3/kv/range", "POST", json.dumps(everything))
        return json.loads(body).get("kvs", [])

    def leases(self, member):
        """Asked of any member, answered by the leader."""
        _, _, body = member.get("/v3/lease/leases", "POST", "{}")
        ids = sorted(lease["ID"] for lease in json.loads(body).get("leases", []))
        keys = []
        for number in ids:
            _, _, body = member.get("/v3/lease/timetolive", "POST", json.dumps({"ID": number, "keys": True}))
            keys.append(sorted(json.loads(body).get("keys", [])))
        return ids, keys

    def same_everywhere(self, cluster, story):
        try:
            cluster.wait_for_equal_hashes(10)
        except AssertionError:
            hashes = [(member.name, str(member.program), member.hash()) for member in cluster.members]
            raise AssertionError(f"{hashes}\n{story}") from None
        def look():
            return len({json.dumps(self.data(member)) for member in cluster.members}) == 1
        harness.wait_until("the same keys", look)

    def tell(self, kinds, reads_back):
        with harness.Cluster(programs=kinds) as cluster:
            requests = Requests(SEED, reads_back)
            for block in range(BLOCKS):
                story = []
                for _ in range(BLOCK):
                    path, request = requests.draw()
                    member = requests.random.choice(cluster.members)
                    try:
                        status, _, body = member.get(path, "POST", json.dumps(request))
                    except OSError as error:
                        runs = [(other.name, str(other.program), other.runs()) for other in cluster.members]
                        raise AssertionError(f"{error}: {member.name} {path} {json.dumps(request)}; runs: {runs}") from None
                    answer = json.loads(body)
                    story.append(f"{member.name} {path} {json.dumps(request)} -> {status} {answer.get('message', '')}")
                    self.assertNotIn(answer.get("code", 0), (2, 13, 14), story[-1])
                    requests.revision = int(answer.get("header", {}).get("revision", requests.revision))
                self.same_everywhere(cluster, "\n".join(story[-BLOCK:]))
                leases = [self.leases(member) for member in cluster.members]
                self.assertEqual(leases, [leases[0]] * len(leases))
                if block % 3 == 2:
                    member = requests.random.choice(cluster.members)
                    member.kill()
                    member.start()
                    self.same_everywhere(cluster, f"after a restart of {member.name}")
                if block % 2:
                    leader = cluster.leader()
                    cluster.ctl("move-leader", next(cluster.id_of(other) for other in cluster.members if other is not leader))

    def test_etcd_and_ours(self):
        ours, real = Path(harness.SERVER), REFERENCE / "etcd"
        for kinds in ([real, ours, ours], [real, real, ours]):
            with self.subTest(kinds=[kind.parent.name for kind in kinds]):
                self.tell(kinds, True)

    def test_etcd_36_and_ours(self):
        """A read that fails in a transaction splits members of 3.6 among themselves: that is the next test's."""
        ours, old = Path(harness.SERVER), REFERENCE / "etcd-last-release"
        for kinds in ([old, ours, ours], [old, old, ours]):
            with self.subTest(kinds=[kind.parent.name for kind in kinds]):
                self.tell(kinds, False)

    def test_what_splits_36_leaves_us_with_those_that_applied_it(self):
        ours, old = Path(harness.SERVER), REFERENCE / "etcd-last-release"
        with harness.Cluster(programs=[old, old, ours]) as cluster:
            asked, other, mine = cluster.members
            cluster.put("a", "1")
            parts = [{"request_put": {"key": text64("a"), "value": text64("2")}},
                     {"request_range": {"key": text64("a"), "revision": "1000000"}}]
            status, _, body = asked.get("/v3/kv/txn", "POST", json.dumps({"success": parts}))
            self.assertEqual(status, 400, body)
            self.assertIn(b"future revision", body if isinstance(body, bytes) else body.encode())
            harness.wait_until("the same data", lambda: self.data(other) == self.data(mine))
            cluster.put("b", "1", at=mine)
            harness.wait_until("the same data", lambda: self.data(other) == self.data(mine) and len(self.data(mine)) == 2)
            self.assertTrue(mine.runs())


if __name__ == "__main__":
    harness.main()
