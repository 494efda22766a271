#!/usr/bin/env python3
"""Clusters of our members and real etcd's, 3.7 and 3.6: each leads, each follows, each catches up by log and by snapshot."""

import json
import os
import tempfile
import time
import unittest
from pathlib import Path

import certificates
import harness

REFERENCE = Path(os.environ.get("ETCD_REFERENCE", harness.TOP / "build/reference"))


def lead_with(cluster, program):
    """Moves the leadership until a member of this kind has it: by the death of those that are not, and if chance does not
    choose one, by asking."""
    for attempt in range(10):
        leader = cluster.leader()
        if leader.program == program:
            return leader
        if attempt >= 4:
            wanted = next(member for member in cluster.alive() if member.program == program)
            leader.ctl("move-leader", cluster.id_of(wanted), check=False)
            continue
        leader.kill()
        harness.wait_until("another leader", lambda: cluster.ctl("put", "move", "on", check=False).returncode == 0)
        leader.start()
    raise AssertionError("no member of the kind became leader")


class MixedTest(unittest.TestCase):
    def programs(self):
        real = [REFERENCE / "etcd"]
        if (REFERENCE / "etcd-last-release").exists():
            real.append(REFERENCE / "etcd-last-release")
        return real

    def tell_story(self, ours, real, kinds):
        with harness.Cluster("--snapshot-count=50", "--snapshot-catchup-entries=10", programs=kinds) as cluster:
            for lead in (ours, real):
                leader = lead_with(cluster, lead)
                for i, member in enumerate(cluster.members):
                    member.ctl("put", f"from{i}", str(lead))
                    self.assertEqual(leader.ctl("get", f"from{i}", "--print-value-only").stdout.strip(), str(lead))
                cluster.wait_for_equal_hashes()
                follow = ours if lead == real else real
                away = next(member for member in cluster.members if member.program == follow)
                away.kill()
                for i in range(150):
                    leader.ctl("put", f"key{i % 9}", f"value{i}")
                began = time.monotonic()
                away.start()
                self.assertTrue(away.log.wait_for("applied snapshot", 20), away.log.text())
                self.assertLess(time.monotonic() - began, 20)
                cluster.wait_for_equal_hashes()
            members = json.loads(cluster.ctl("member", "list", "-w", "json").stdout)["members"]
            self.assertEqual(len(members), 3)

    def test_one_of_etcd_and_two_of_ours(self):
        ours = Path(harness.SERVER)
        for real in self.programs():
            with self.subTest(real=real.name):
                self.tell_story(ours, real, [real, ours, ours])

    def test_two_of_etcd_and_one_of_ours(self):
        ours = Path(harness.SERVER)
        for real in self.programs():
            with self.subTest(real=real.name):
                self.tell_story(ours, real, [real, real, ours])

    def test_who_is_removed_leaves_by_itself(self):
        """Even when it was not there to hear of it: those that stayed tell it why they do not talk to it."""
        ours = Path(harness.SERVER)
        for real in self.programs():
            for kinds in ([ours, ours, real], [real, real, ours]):
                with self.subTest(stays=kinds[0].name, leaves=kinds[2].name), \
                        harness.Cluster("--strict-reconfig-check=false", programs=kinds) as cluster:
                    leaving = cluster.members[2]
                    if cluster.leader() is leaving:
                        cluster.ctl("move-leader", cluster.id_of(cluster.members[0]))
                    number = cluster.id_of(leaving)
                    leader = cluster.leader()
                    self.assertIsNot(leader, leaving)
                    leaving.pause()
                    leader.ctl("member", "remove", number)
                    leaving.resume()
                    self.assertEqual(leaving.wait(), 0)
                    self.assertIn("the member has been permanently removed from the cluster", leaving.log.text())

    def test_tls_between_members_of_both_kinds(self):
        ours = Path(harness.SERVER)
        with tempfile.TemporaryDirectory(prefix="etcd-tls-") as folder:
            authority = certificates.Authority(folder)
            pair = authority.sign("member", "member", "DNS:localhost,IP:127.0.0.1")
            mutual = [f"--peer-cert-file={pair[0]}", f"--peer-key-file={pair[1]}",
                      f"--peer-trusted-ca-file={authority.file}", "--peer-client-cert-auth"]
            flags = ["--snapshot-count=50", "--snapshot-catchup-entries=10", "--strict-reconfig-check=false"]
            for real in self.programs():
                for tls in (mutual, ["--peer-auto-tls"]):
                    with self.subTest(real=real.name, tls=tls[0]), \
                            harness.Cluster(*tls, *flags, programs=[real, ours, real], peer_scheme="https") as cluster:
                        for lead in (ours, real):
                            leader = lead_with(cluster, lead)
                            for i, member in enumerate(cluster.members):
                                cluster.put(f"from{i}", str(lead), at=member)
                            for i in range(70):
                                leader.ctl("put", f"key{i % 9}", f"value{i}")
                            joining = cluster.add(program=real if lead == ours else ours)
                            joining.start()  # its log begins with a snapshot
                            self.assertEqual(joining.ctl("get", "from0", "--print-value-only").stdout.strip(), str(lead))
                            cluster.wait_for_equal_hashes()


if __name__ == "__main__":
    harness.main()
