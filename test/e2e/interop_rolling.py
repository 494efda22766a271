#!/usr/bin/env python3
"""The way to us and back without a stop: three members of real etcd are replaced one by one by ours, then by real ones again,
while clients write and check every answer. Nobody's request fails, nothing acknowledged is lost, all members hold the same;
also over TLS with certificates asked of clients and members. And the way up from 3.6 by us to 3.7: the cluster's version moves
when it moves with etcd's own members in our place."""

import base64
import json
import os
import tempfile
import threading
import unittest
from pathlib import Path

import certificates
import harness
from harness import wait_until
from retrying_client import RetryingClient

REFERENCE = Path(os.environ.get("ETCD_REFERENCE", harness.TOP / "build/reference"))
CLIENTS = int(os.environ.get("CLIENTS", 4))
JOIN_SECONDS_MAX = 90
LOCAL = "DNS:localhost,IP:127.0.0.1"


def text(data):
    return base64.b64encode(data.encode()).decode()


class Client(threading.Thread):
    """Puts key after key and reads each back, at any endpoint that answers."""

    def __init__(self, number, endpoints, credentials):
        super().__init__(daemon=True)
        self.number, self.over = number, threading.Event()
        self.asks = RetryingClient(endpoints, first=number, credentials=credentials)
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

    def roll(self, real, rounds, *flags, after=lambda cluster: None, **options):
        """`rounds`: how many members are replaced, by which program; after(cluster) is called first and after each."""
        with harness.Cluster(*flags, programs=[real] * 3, **options) as cluster:
            clients = [Client(i, lambda: [member.client_url for member in list(cluster.members)], cluster.credentials)
                       for i in range(CLIENTS)]
            for client in clients:
                client.start()
            try:
                after(cluster)
                for count, program in rounds:
                    # The leader goes first, then whoever leads of those that are left.
                    for _ in range(count):
                        old = [member for member in cluster.members if member.program != program]
                        leader = cluster.leader()
                        self.replace(cluster, leader if leader in old else old[0], program)
                        after(cluster)
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

    def test_real_to_ours_and_back_over_tls(self):
        ours = Path(harness.SERVER)
        with tempfile.TemporaryDirectory(prefix="etcd-tls-") as folder:
            authority = certificates.Authority(folder)
            pair = authority.sign("member", "member", LOCAL)
            credentials = harness.Credentials(authority.file, authority.sign("client", "client", usage="clientAuth"))
            flags = [flag for kind in ("", "peer-") for flag in (
                f"--{kind}cert-file={pair[0]}", f"--{kind}key-file={pair[1]}", f"--{kind}trusted-ca-file={authority.file}",
                f"--{kind}client-cert-auth")]
            self.roll(REFERENCE / "etcd", [(3, ours), (3, REFERENCE / "etcd")], *flags, peer_scheme="https",
                      credentials=credentials)

    def test_up_from_last_release(self):
        """3.6, then ours, then 3.7; and with etcd's 3.7 in our place. While one of the old is there the version stays."""
        new, last = REFERENCE / "etcd", REFERENCE / "etcd-last-release"
        if not last.exists():
            self.skipTest("no etcd-last-release")
        for between in (new, Path(harness.SERVER)):
            with self.subTest(between=str(between)):
                self.roll(last, [(3, between), (3 if between != new else 0, new)], after=self.check_version)

    def check_version(self, cluster):
        """All tell the version of the oldest among them, and what was 3.7 once stays so."""
        expected = "3.6.0" if any(member.program.name == "etcd-last-release" for member in cluster.members) else "3.7.0"

        def told():
            return {json.loads(member.get("/version")[2])["etcdcluster"] for member in cluster.members}
        wait_until(f"version {expected} everywhere", lambda: told() == {expected})

    def test_last_release_to_ours_and_back(self):
        """One of the old ones stays: a cluster of ours alone would raise its version, and the old could not come back."""
        last = REFERENCE / "etcd-last-release"
        if not last.exists():
            self.skipTest("no etcd-last-release")
        self.roll(last, [(2, Path(harness.SERVER)), (2, last)])


if __name__ == "__main__":
    harness.main()
