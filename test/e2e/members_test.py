#!/usr/bin/env python3
"""Who belongs to a cluster: members come (as voters and as learners), go, are replaced when they die, move to other addresses,
and hand the leadership on; and what is refused, with etcd's words."""

import json
import unittest

import harness
from harness import Cluster, wait_until

# Changes may follow each other at once; test_strict... is about the check that this turns off.
LOOSE = "--strict-reconfig-check=false"


def value_at(member, key):
    return member.ctl("get", key, "--print-value-only").stdout.strip()


class MembersTest(unittest.TestCase):
    def refused(self, member, *arguments):
        done = member.ctl(*arguments, check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        return done.stderr

    def test_a_learner_catches_up_is_promoted_and_leads(self):
        with Cluster(LOOSE) as cluster:
            cluster.put("before", "1")
            learner = cluster.add(learner=True)
            number = cluster.id_of(learner)
            leader = cluster.leader()
            self.assertIn("can only promote a learner member which is in sync with leader",
                          self.refused(leader, "member", "promote", number))
            self.assertIn("too many learner members in cluster",
                          self.refused(leader, "member", "add", "another", "--peer-urls=http://127.0.0.1:1", "--learner"))
            learner.launch()
            self.assertTrue(learner.log.wait_for(harness.READY, harness.START_SECONDS_MAX), learner.log.text())
            # It may be asked for its status and for what it has itself, and for nothing else.
            self.assertTrue(wait_until("status", learner.status)["isLearner"])
            wait_until("the learner has it",
                       lambda: learner.ctl("get", "before", "--consistency=s", "--print-value-only").stdout.strip() == "1")
            self.assertIn("rpc not supported for learner", self.refused(learner, "get", "before"))
            self.assertIn("rpc not supported for learner", self.refused(learner, "put", "x", "1"))
            self.assertIn("bad leader transferee", self.refused(leader, "move-leader", number))
            # Asked at a follower, which asks the leader.
            follower = next(member for member in cluster.members if member not in (leader, learner))
            wait_until("promotion", lambda: follower.ctl("member", "promote", number, check=False).returncode == 0)
            self.assertIn("can only promote a learner member", self.refused(leader, "member", "promote", number))
            cluster.put("after", "2", at=learner)
            wait_until("moved", lambda: cluster.ctl("move-leader", number, check=False).returncode == 0)
            self.assertIs(cluster.leader(), learner)
            self.assertEqual(value_at(follower, "after"), "2")
            cluster.wait_for_equal_hashes()

    def test_a_voter_is_added_removed_and_ends_by_itself(self):
        with Cluster(LOOSE) as cluster:
            fourth = cluster.add()
            fourth.start()
            self.assertEqual({member["name"] for member in cluster.listed().values()}, {"m0", "m1", "m2", "m3"})
            cluster.wait_for_equal_hashes()
            number = cluster.id_of(fourth)
            remover = next(member for member in cluster.members if member is not fourth)
            self.assertIn(f"Member {number:>16} removed from cluster", remover.ctl("member", "remove", number).stdout)
            cluster.forget(fourth)
            self.assertEqual(fourth.wait(), 0)
            self.assertIn("the member has been permanently removed from the cluster", fourth.log.text())
            # It stays out, and says why.
            fourth.launch()
            fourth.wait()
            self.assertIn("the member has been permanently removed from the cluster", fourth.log.text())
            self.assertIn("member not found", self.refused(cluster, "member", "remove", number).lower())
            # The leader itself.
            leader = cluster.leader()
            cluster.take_out(leader)
            self.assertEqual(leader.wait(), 0)
            cluster.put("still", "here")
            self.assertEqual([value_at(member, "still") for member in cluster.members], ["here", "here"])
            self.assertEqual(len(cluster.listed()), 2)

    def test_a_dead_member_is_replaced_by_an_empty_one(self):
        with Cluster(LOOSE) as cluster:
            for i in range(20):
                cluster.put(f"key{i}", f"value{i}")
            for _ in range(2):  # Also the newcomer's.
                dead = cluster.leader()
                dead.kill()
                cluster.put("during", "1")
                cluster.take_out(dead)
                newcomer = cluster.add()
                newcomer.start()
                self.assertEqual(value_at(newcomer, "key7"), "value7")
                cluster.wait_for_equal_hashes()
            self.assertEqual(len(cluster.listed()), 3)

    def test_a_member_moves_to_another_address(self):
        with Cluster(LOOSE) as cluster:
            mover = cluster.followers()[0]
            number, old = cluster.id_of(mover), mover.peer_url
            other = next(member for member in cluster.members if member is not mover)
            self.assertIn("Peer URLs already exists",
                          self.refused(cluster, "member", "update", number, f"--peer-urls={other.peer_url}"))
            mover.stop()
            mover.peer_url = f"http://127.0.0.1:{harness.free_port()}"
            cluster.ctl("member", "update", number, f"--peer-urls={mover.peer_url}")
            mover.flags[0] = mover.flags[0].replace(old, mover.peer_url)
            mover.start()
            self.assertEqual(cluster.listed()[mover.name]["peerURLs"], [mover.peer_url])
            cluster.put("moved", "yes")
            self.assertEqual(value_at(mover, "moved"), "yes")
            cluster.wait_for_equal_hashes()

    def test_leadership_is_moved_and_a_wrong_move_is_refused(self):
        with Cluster() as cluster:
            for _ in range(3):
                heir = cluster.followers()[0]
                number = cluster.id_of(heir)
                # The client looks for the leader among its endpoints.
                wait_until("moved", lambda: f"to {number:>16}" in cluster.ctl("move-leader", number, check=False).stdout)
                self.assertIs(cluster.leader(), heir)
            follower = cluster.followers()[0]
            code, _, body = harness.http_request(follower.client_url, "/v3/maintenance/transfer-leadership", "POST",
                                                 json.dumps({"targetID": str(int(number, 16))}))
            self.assertIn("etcdserver: not leader", body.decode())
            self.assertNotEqual(code, 200)
            self.assertIn("bad leader transferee", self.refused(cluster, "move-leader", "1234"))

    def test_strict_checks_keep_the_quorum(self):
        with Cluster() as cluster:
            # Not before the member asked has been connected to the others for a while.
            leader = cluster.leader()
            added = harness.Member(name="m9")
            arguments = ["member", "add", "m9", f"--peer-urls={added.peer_url}"]

            def add():
                done = leader.ctl(*arguments, check=False)
                if done.returncode != 0:
                    self.assertIn("etcdserver: unhealthy cluster", done.stderr)
                return done.returncode == 0
            wait_until("healthy enough for a change", add)
            listed = leader.ctl("member", "list").stdout
            self.assertIn("unstarted", listed)
            # Four members need three that have started; a fifth would still be fine, a sixth not.
            self.assertRegex(self.refused(leader, *arguments), "already exist")  # Its URL, or in the same second its id.
            leader.ctl("member", "add", "m10", "--peer-urls=http://127.0.0.1:2")
            self.assertIn("re-configuration failed due to not enough started members",
                          self.refused(leader, "member", "add", "m11", "--peer-urls=http://127.0.0.1:3"))
            follower = cluster.id_of(cluster.followers()[0])
            self.assertIn("re-configuration failed due to not enough started members",
                          self.refused(leader, "member", "remove", follower))
            added.remove()

    def test_all_stop_and_start_again(self):
        with Cluster() as cluster:
            for i in range(30):
                cluster.put(f"key{i}", f"value{i}")
            cluster.ctl("del", "key3")
            cluster.wait_for_equal_hashes()
            names = cluster.listed().keys()
            for member in cluster.members[:2]:
                member.kill()
            cluster.members[2].process.terminate()
            cluster.members[2].wait()
            cluster.start()
            self.assertEqual(cluster.listed().keys(), names)
            for member in cluster.members:
                self.assertEqual(value_at(member, "key29"), "value29")
                self.assertEqual(value_at(member, "key3"), "")
            cluster.wait_for_equal_hashes()


if __name__ == "__main__":
    harness.main(at_a_time=3)
