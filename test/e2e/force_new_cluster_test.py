#!/usr/bin/env python3
"""--force-new-cluster: one member's directory becomes a cluster of its own; others may join it."""

import json
import unittest

import harness
from harness import Cluster, wait_until


def members(member):
    listed = json.loads(member.ctl("member", "list", "-w", "json").stdout)["members"]
    return sorted((one.get("name", ""), one.get("isLearner", False)) for one in listed)


def force(member):
    member.flags.append("--force-new-cluster")
    member.start()
    member.flags.remove("--force-new-cluster")
    forced = [line for line in member.log_objects() if line["msg"] == "forcing restart member"]
    assert len(forced) == 1, member.log.text()
    return forced[0]


def join(member, newcomer, *options):
    """Adds `newcomer` to the cluster of `member` and starts it."""
    known = ",".join(f'{one["name"]}={one["peerURLs"][0]}'
                     for one in json.loads(member.ctl("member", "list", "-w", "json").stdout)["members"])
    member.ctl("member", "add", newcomer.name, f"--peer-urls={newcomer.peer_url}", *options)
    newcomer.flags = [f"--initial-cluster={known},{newcomer.name}={newcomer.peer_url}", "--initial-cluster-state=existing"]
    return newcomer.start()


class ForceNewClusterTest(unittest.TestCase):
    def test_one_of_three_goes_on_alone_and_others_join(self):
        newcomer = harness.Member(name="new")
        with Cluster() as cluster:
            try:
                cluster.ctl("put", "kept", "1")
                leader = cluster.leader()
                for member in cluster.members:
                    if member is not leader:
                        member.kill()
                # Nobody confirms this one: it is cut off.
                leader.ctl("put", "cut", "2", "--command-timeout=200ms", check=False)
                leader.kill()
                forced = force(leader)
                self.assertEqual(forced["commit-index"], forced["wal-commit-index"] + 2)
                text = leader.log.text()
                self.assertIn("discarding uncommitted WAL entries", text)
                self.assertEqual(text.count('"removed member"'), 2)
                self.assertEqual(members(leader), [(leader.name, False)])
                self.assertEqual(leader.ctl("get", "kept", "--print-value-only").stdout.strip(), "1")
                self.assertEqual(leader.ctl("get", "cut").stdout, "")
                leader.ctl("put", "after", "3")
                # Again, and then without the flag: nothing is left to do.
                leader.kill()
                force(leader)
                self.assertNotIn("discarding uncommitted WAL entries", leader.log.text())
                leader.restart()
                self.assertEqual(members(leader), [(leader.name, False)])
                self.assertEqual(leader.ctl("get", "after", "--print-value-only").stdout.strip(), "3")
                join(leader, newcomer)
                self.assertEqual(newcomer.ctl("get", "after", "--print-value-only").stdout.strip(), "3")
                newcomer.ctl("put", "both", "4")
                self.assertEqual(members(newcomer), sorted([("new", False), (leader.name, False)]))
            finally:
                newcomer.remove()

    def test_a_learner_and_a_member_with_learners(self):
        learner = harness.Member(name="learner")
        with Cluster(size=1) as cluster:
            voter = cluster.members[0]
            try:
                voter.ctl("put", "key", "1")
                join(voter, learner, "--learner")
                wait_until("the learner has the key",
                           lambda: learner.ctl("get", "key", "--consistency=s", "--print-value-only").stdout.strip() == "1")
                learner.stop()
                voter.stop()
                force(voter)
                self.assertEqual(members(voter), [(voter.name, False)])
                voter.stop()
                # Real etcd dies here: nobody would be left to vote.
                force(learner)
                self.assertEqual(members(learner), [("learner", False)])
                learner.ctl("put", "key", "2")
                self.assertEqual(learner.ctl("get", "key", "--print-value-only").stdout.strip(), "2")
            finally:
                learner.remove()

    def test_a_new_member_takes_no_notice_of_it(self):
        with harness.Member("--force-new-cluster") as member:
            member.ctl("put", "key", "1")
            self.assertNotIn("forcing restart member", member.log.text())


class ConfChangeTest(unittest.TestCase):
    def test_a_change_waits_for_a_leader(self):
        """As etcd: it is proposed when there is one, as long as its client waits."""
        with Cluster("--strict-reconfig-check=false") as cluster:
            leader = cluster.leader()
            left, back = (member for member in cluster.members if member is not leader)
            leader.kill()
            back.kill()
            lost = left.log.wait_for("lost leader", 20)
            self.assertTrue(lost, left.log.text())
            add = ["member", "add", "--learner", "--command-timeout=10s"]
            given_up = left.ctl(*add, "a", "--peer-urls=http://127.0.0.1:1", "--command-timeout=300ms", check=False)
            self.assertIn("context deadline exceeded", given_up.stderr)
            with harness.concurrent.futures.ThreadPoolExecutor(1) as pool:
                waits = pool.submit(left.ctl, *add, "b", "--peer-urls=http://127.0.0.1:2", check=False)
                back.start()
                added = waits.result()
            # A leader that has not applied what it found in its log drops changes, here as in etcd; the next one it takes.
            if added.returncode != 0:
                added = left.ctl(*add, "b", "--peer-urls=http://127.0.0.1:2")
            self.assertIn("added as learner to cluster", added.stdout)
            self.assertEqual([name for name, _ in members(left)].count(""), 1)


if __name__ == "__main__":
    harness.main(at_a_time=2)
