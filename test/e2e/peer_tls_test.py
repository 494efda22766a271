#!/usr/bin/env python3
"""TLS between members: mutual, self-made, refused for each reason and the log says which, and files that change under load."""

import os
import tempfile
import threading
import unittest
from pathlib import Path

import certificates
import harness
from harness import Cluster, wait_until
from retrying_client import RetryingClient

LOCAL = "DNS:localhost,IP:127.0.0.1"
WAIT_SECONDS_MAX = 30
REJECTED = "rejected connection on peer endpoint"


class PeerTls(unittest.TestCase):
    @classmethod
    def prepare(cls, folder):
        """Once for all tests, which run together."""
        cls.folder = Path(folder)
        cls.ca = certificates.Authority(cls.folder)
        cls.stranger = certificates.Authority(cls.folder, "stranger")
        cls.pair = cls.ca.sign("member", "member", LOCAL)

    def flags(self, pair=None, ca=None, *more):
        pair = pair or self.pair
        return [f"--peer-cert-file={pair[0]}", f"--peer-key-file={pair[1]}", f"--peer-trusted-ca-file={ca or self.ca.file}",
                "--peer-client-cert-auth", *more]

    def value_at(self, member, key):
        return member.ctl("get", key, "--print-value-only").stdout.strip()

    def test_mutual(self):
        """A certificate for listening and another one for dialling; joins, snapshots and the hash page go the same way."""
        server = self.ca.sign("server", "server", LOCAL, usage="serverAuth")
        client = self.ca.sign("client", "client", usage="clientAuth")
        flags = self.flags(server, None, f"--peer-client-cert-file={client[0]}", f"--peer-client-key-file={client[1]}",
                           "--peer-cert-allowed-cn=server,client", "--snapshot-count=20", "--snapshot-catchup-entries=5",
                           "--strict-reconfig-check=false")
        with Cluster(*flags, peer_scheme="https") as cluster:
            for i, member in enumerate(cluster.members):
                cluster.put(f"key{i}", f"value{i}", at=member)
            for i in range(30):
                cluster.put("often", str(i))
            fourth = cluster.add()  # its log begins with a snapshot
            fourth.start()
            self.assertEqual(self.value_at(fourth, "key1"), "value1")
            cluster.wait_for_equal_hashes()
            wait_until("the version of all", lambda: (harness.http_request(fourth.client_url, "/version")[2]
                                                      .find(b'"etcdcluster":"3.7.0"') >= 0))
            self.assertNotIn(REJECTED, "".join(member.log.text() for member in cluster.members))

    def test_self_made(self):
        with Cluster("--peer-auto-tls", peer_scheme="https") as cluster:
            for i, member in enumerate(cluster.members):
                cluster.put(f"key{i}", f"value{i}", at=member)
            self.assertEqual(self.value_at(cluster.members[0], "key2"), "value2")
            key = cluster.members[0].data_dir / "fixtures/peer/key.pem"
            self.assertEqual(key.stat().st_mode & 0o777, 0o600)

    def test_leaf_with_the_name_of_its_authority(self):
        """Go asks the signature and not the name; one that only bears the name stays out."""
        folders = [self.folder / "twin", self.folder / "other-twin"]
        for folder in folders:
            folder.mkdir()
        twin, other = (certificates.Authority(folder, "twin") for folder in folders)
        pairs = [authority.sign("leaf", names=LOCAL, subject="/CN=twin") for authority in (twin, other)]
        cluster = Cluster(*self.flags(pairs[0], twin.file), peer_scheme="https")
        third = cluster.members.pop()
        self.addCleanup(third.remove)
        third.flags = [third.flags[0], *self.flags(pairs[1], twin.file)]
        with cluster:
            cluster.put("from", "two")
            third.launch()
            self.assertIsNotNone(cluster.members[0].log.wait_for("certificate signed by unknown authority", WAIT_SECONDS_MAX))

    def test_who_is_refused(self):
        """Two members form the cluster; the third has a certificate that does not do, and their logs say why."""
        thief = self.ca.sign("thief", "mallory", LOCAL)
        crl = self.ca.revoke(thief[0])
        other = self.ca.sign("other", "other", LOCAL)
        foreign = self.stranger.sign("foreign", "member", LOCAL)
        elsewhere = self.ca.sign("elsewhere", "member", "IP:192.0.2.7")
        both = self.folder / "both.crt"
        both.write_bytes(self.ca.file.read_bytes() + self.stranger.file.read_bytes())
        rows = [  # rule, what all say, what the third says instead, what the log of the others says
            ("a foreign authority", self.flags(), self.flags(foreign, both), "certificate signed by unknown authority"),
            ("another name", self.flags(None, None, "--peer-cert-allowed-cn=member"), self.flags(other),
             "client certificate authentication failed"),
            ("another address", self.flags(), self.flags(elsewhere),
             "x509: certificate is valid for 192.0.2.7, not 127.0.0.1"),
            ("revoked", self.flags(None, None, f"--peer-crl-file={crl}"), self.flags(thief), "revoked"),
        ]
        for rule, good, bad, text in rows:
            with self.subTest(rule):
                cluster = Cluster(*good, peer_scheme="https")
                third = cluster.members.pop()
                self.addCleanup(third.remove)
                third.flags = [third.flags[0], *bad]
                with cluster:
                    third.launch()
                    seen = cluster.members[0].log
                    line = wait_until("the line that says why", lambda: next(
                        (line for line in list(seen.lines) if REJECTED in line and text in line), None))
                    self.assertIn('"remote-addr"', line)
                    cluster.put("still", "here")
                    if rule == "revoked":  # As in etcd, the list counts for those who dial us: by our ways to it it takes part.
                        self.assertIsNotNone(third.log.wait_for(harness.READY, WAIT_SECONDS_MAX))
                    else:
                        self.assertNotIn(harness.READY, third.log.text())

    def test_what_the_server_shows_is_verified(self):
        """Who dials believes nobody whose certificate is for another address, whoever signed it."""
        elsewhere = self.ca.sign("showing", "member", "IP:192.0.2.7")
        flags = self.flags(elsewhere, None, "--peer-skip-client-san-verification")
        cluster = Cluster(*flags, size=2, peer_scheme="https")
        try:
            for member in cluster.members:
                member.launch()
            for member in cluster.members:
                line = member.log.wait_for(REJECTED, WAIT_SECONDS_MAX)
                self.assertIn("remote error: tls: bad certificate", line)
                self.assertNotIn(harness.READY, member.log.text())
        finally:
            cluster.__exit__()

    def test_rotation(self):
        """Leaf and authority change under load and members restart one by one; no request of a retrying client fails."""
        first, second = certificates.Authority(self.folder, "first"), certificates.Authority(self.folder, "second")
        bundle = self.folder / "bundle.crt"
        bundle.write_bytes(first.file.read_bytes() + second.file.read_bytes())
        pairs = [authority.sign(f"{authority.name}-leaf", "leaf", LOCAL) for authority in (first, second)]
        live = {name: self.folder / f"live.{name}" for name in ("crt", "key", "ca")}

        def install(pair, ca):
            for name, source in (("crt", pair[0]), ("key", pair[1]), ("ca", ca)):
                fresh = Path(f"{live[name]}.new")
                fresh.write_bytes(Path(source).read_bytes())
                os.rename(fresh, live[name])

        install(pairs[0], first.file)
        with Cluster(*self.flags((live["crt"], live["key"]), live["ca"]), peer_scheme="https") as cluster:
            urls = [member.client_url for member in cluster.members]
            clients = [RetryingClient(lambda: urls, i) for i in range(2)]
            done, answered = threading.Event(), [0, 0]

            def load(number):
                while not done.is_set():
                    if clients[number].ask("/v3/kv/put", {"key": "YQ==", "value": "Yg=="}):
                        answered[number] += 1
            threads = [threading.Thread(target=load, args=[i]) for i in range(2)]
            for thread in threads:
                thread.start()
            try:
                install(pairs[0], bundle)      # the new authority is trusted beside the old one
                install(pairs[1], bundle)      # the leaf is the new one's
                cluster.members[0].stop()
                cluster.members[0].start()     # the new leaf meets those that hold connections made with the old one
                install(pairs[1], second.file)  # the old authority is trusted no more
                cluster.members[1].stop()
                cluster.members[1].start()
            finally:
                done.set()
                for thread in threads:
                    thread.join()
            self.assertEqual([client.failed for client in clients], [0, 0])
            self.assertTrue(all(answered), answered)
            cluster.wait_for_equal_hashes()
            # A certificate of the authority that is out gets nobody in.
            seen = len(cluster.members[2].log.lines)
            cluster.members[0].flags[1:] = self.flags(pairs[0], bundle)
            cluster.members[0].stop()
            cluster.members[0].launch()
            self.assertIsNotNone(cluster.members[2].log.wait_for(REJECTED, WAIT_SECONDS_MAX, seen))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="etcd-tls-") as scratch:
        PeerTls.prepare(scratch)
        harness.main(at_a_time=6)
