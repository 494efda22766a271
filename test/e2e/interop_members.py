#!/usr/bin/env python3
"""Changes of the membership that are refused, and those that are not: real etcd and ours give the same answers to one story."""

import os
import re
import unittest
from pathlib import Path

import harness
from harness import Cluster, wait_until

REFERENCE = Path(os.environ.get("ETCD_REFERENCE", harness.TOP / "build/reference"))
NOBODY = ["http://127.0.0.1:9", "http://127.0.0.1:19", "http://127.0.0.1:29", "http://127.0.0.1:39"]


class Story:
    """What a cluster of one kind says; `answers` is compared."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.answers = []

    def ask(self, what, *arguments, at=None):
        done = (at or self.cluster).ctl("member", *arguments, check=False)
        line = (done.stdout.splitlines() or [""])[0] if done.returncode == 0 else done.stderr.splitlines()[-1]
        line = re.sub(r" *\b[0-9a-f]{12,16}\b", " ID", line)  # etcdctl pads ids with blanks.
        self.answers.append((what, done.returncode, line))
        return done.returncode == 0

    def wait_until_connected(self):
        """A voter may be added again and taken back: all have been connected for long enough."""
        def healthy():
            done = self.cluster.ctl("member", "add", "probe", "--peer-urls=http://127.0.0.1:49", check=False)
            return done.returncode == 0
        wait_until("a healthy cluster", healthy)
        listed = self.cluster.listed()["http://127.0.0.1:49"]
        self.cluster.ctl("member", "remove", f"{listed['ID']:x}")


def tell_of_wrong_requests(program):
    with Cluster(size=3, programs=[program] * 3) as cluster:
        story = Story(cluster)
        leader = cluster.leader()
        follower = next(member for member in cluster.members if member is not leader)
        story.ask("too early", "add", "a", f"--peer-urls={NOBODY[0]}")
        story.wait_until_connected()
        story.ask("no URL", "add", "a", "--peer-urls=127.0.0.1:9")
        story.ask("a URL with a path", "add", "a", "--peer-urls=http://127.0.0.1:9/x")
        story.ask("a URL that is taken", "add", "a", f"--peer-urls={follower.peer_url}")
        story.ask("remove nobody", "remove", "123")
        story.ask("update nobody", "update", "123", f"--peer-urls={NOBODY[0]}")
        story.ask("update to a URL that is taken", "update", cluster.id_of(leader), f"--peer-urls={follower.peer_url}")
        story.ask("promote nobody", "promote", "123")
        story.ask("promote a voter", "promote", cluster.id_of(leader))
        story.ask("promote a voter, asked at a follower", "promote", cluster.id_of(leader), at=follower)
        story.ask("a learner", "add", "l", "--learner", f"--peer-urls={NOBODY[0]}")
        story.ask("one learner too many", "add", "m", "--learner", f"--peer-urls={NOBODY[1]}")
        learner = f"{cluster.listed()[NOBODY[0]]['ID']:x}"
        story.ask("promote a learner that never started", "promote", learner)
        story.ask("the same, asked at a follower", "promote", learner, at=follower)
        story.ask("remove the learner", "remove", learner)
        story.ask("remove it again", "remove", learner)
        story.ask("promote it now", "promote", learner)
        return story.answers


def tell_of_lost_members(program):
    with Cluster(size=3, programs=[program] * 3) as cluster:
        story = Story(cluster)
        leader = cluster.leader()
        dead, other = (member for member in cluster.members if member is not leader)
        dead_id, other_id = cluster.id_of(dead), cluster.id_of(other)
        story.wait_until_connected()
        dead.kill()
        # Both kinds need a moment to see it.
        wait_until("the loss is seen", lambda: "unhealthy" in leader.ctl(
            "member", "add", "x", f"--peer-urls={NOBODY[3]}", check=False).stderr)
        story.ask("add a voter while one is dead", "add", "a", f"--peer-urls={NOBODY[0]}", at=leader)
        story.ask("remove one of those that live", "remove", other_id, at=leader)
        story.ask("a learner while one is dead", "add", "l", "--learner", f"--peer-urls={NOBODY[1]}", at=leader)
        story.ask("remove the dead one", "remove", dead_id, at=leader)
        story.ask("two are left and may be three", "add", "b", f"--peer-urls={NOBODY[2]}", at=leader)
        story.ask("but not four before the third is there", "add", "c", f"--peer-urls={NOBODY[3]}", at=leader)
        return story.answers


class MembersTest(unittest.TestCase):
    maxDiff = None

    def compare(self, tell):
        real, ours = tell(str(REFERENCE / "etcd")), tell(None)
        for theirs, own in zip(real, ours):
            with self.subTest(theirs[0]):
                self.assertEqual(theirs, own)
        self.assertEqual(len(real), len(ours))
        self.assertGreater(len(ours), 5)

    def test_wrong_requests(self):
        self.compare(tell_of_wrong_requests)

    def test_lost_members(self):
        self.compare(tell_of_lost_members)


if __name__ == "__main__":
    harness.main()
