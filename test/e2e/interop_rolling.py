#!/usr/bin/env python3
"""The way to us and back without a stop: three members of real etcd are replaced one by one by ours, then by real ones again,
while clients write and check every answer. Nobody's request fails, nothing acknowledged is lost, all members hold the same."""

import base64
import os
import threading
import unittest
from pathlib import Path

import harness
from harness import wait_until
from retrying_client import RetryingClient

REFERENCE = Path(os.environ.get("ETCD_REFERENCE", harness.TOP / "build/reference"))
CLIENTS = int(os.environ.get("CLIENTS", 4))
JOIN_SECONDS_MAX = 90


def text(data):
    return base64.b64encode(data.encode()).decode()


class Client(threading.Thread):
    """Puts key after key and reads each back, at any endpoint that answers."""

    def __init__(self, number, endpoints):
        super().__init__(daemon=True)
        self.number, self.over = number, threading.Event()
        self.asks = RetryingClient(endpoints, first=number)
        self.acknowledged = {}  # key -> revision
        self.wrong = []

    def run(self):
        newest, count = 0, 0
        while not self.over.is_set():
            count += 1
            key = f"rolling/{self.number}/{count:08d}"
            put = self.asks.ask("/v3/kv/put", {"key": text(key), "value": text(f"value of {key}")})
            if put is None:
                continue
            revision = int(put["header"]["revision"])
            if revision <= newest:
                self.wrong.append(f"{key}: put at {revision} after {newest} was acknowledged")
            newest = max(newest, revision)
            self.acknowledged[key] = revision
            # Linearizable, at whatever member: it has what was acknowledged before.
            got = self.asks.ask("/v3/kv/range", {"key": text(key)})
            if got is not None and [kv["value"] for kv in got.get("kvs", [])] != [text(f"value of {key}")]:
                self.wrong.append(f"{key}: read back as {got}")


class RollingTest(unittest.TestCase):
    def replace(self, cluster, member, program):
        """`member` is stopped, removed, and an empty one of `program` takes its place; all hold the same afterwards."""
        member.stop()
        cluster.take_out(member)
        newcomer = cluster.add(program=program)
        newcomer.start()
        self.check_equal(cluster)
        return newcomer

    def check_equal(self, cluster):
        revision = int(wait_until("a status", cluster.members[-1].status)["header"]["revision"])
        cluster.wait_for_equal_hashes(revision=revision)

    def roll(self, real, rounds):
        with harness.Cluster(programs=[real] * 3) as cluster:
            clients = [Client(i, lambda: [member.client_url for member in list(cluster.members)]) for i in range(CLIENTS)]
            for client in clients:
                client.start()
            try:
                for count, program in rounds:
                    # The leader goes first, then whoever leads of those that are left.
                    for _ in range(count):
                        old = [member for member in cluster.members if member.program != program]
                        leader = cluster.leader()
                        self.replace(cluster, leader if leader in old else old[0], program)
            finally:
                for client in clients:
                    client.over.set()
                for client in clients:
                    client.join(JOIN_SECONDS_MAX)
            self.assertEqual([client.wrong[:3] for client in clients if client.wrong], [])
            self.assertEqual(sum(client.asks.failed for client in clients), 0)
            acknowledged = {key for client in clients for key in client.acknowledged}
            for member in cluster.members:
                listed = member.ctl("get", "rolling/", "--prefix", "--keys-only", seconds=120).stdout.split()
                self.assertEqual(acknowledged - set(listed), set())
            cluster.wait_for_equal_hashes()
            print(f"{real.name}: {len(acknowledged)} keys acknowledged and there, {sum(c.asks.tries for c in clients)} tries "
                  f"of {sum(2 * len(c.acknowledged) for c in clients)} requests, 0 failed, the longest took "
                  f"{max(c.asks.longest for c in clients):.1f} s", flush=True)

    def test_real_to_ours_and_back(self):
        ours = Path(harness.SERVER)
        self.roll(REFERENCE / "etcd", [(3, ours), (3, REFERENCE / "etcd")])

    def test_last_release_to_ours_and_back(self):
        """One of the old ones stays: a cluster of ours alone would raise its version, and the old could not come back."""
        last = REFERENCE / "etcd-last-release"
        if not last.exists():
            self.skipTest("no etcd-last-release")
        self.roll(last, [(2, Path(harness.SERVER)), (2, last)])


if __name__ == "__main__":
    harness.main()
