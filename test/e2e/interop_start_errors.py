#!/usr/bin/env python3
"""Starts that cannot succeed: ours says and does what etcd says and does. Beside real etcd (ETCD_REFERENCE)."""

import json
import os
import re
import shutil
import unittest
from pathlib import Path

import harness
from harness import Cluster

REFERENCE = Path(os.environ.get("ETCD_REFERENCE", harness.TOP / "build/reference"))


def plain(text, member):
    """Without what differs from run to run: ports, folders, ids."""
    text = text.replace(str(member.root), "ROOT")
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    text = re.sub(r"\b[0-9a-f]{14,16}\b", "ID", text)
    text = re.sub(r"dial tcp HOST: connect: |connect: ", "", text)
    # Members are listed by id, which comes from the port.
    return re.sub(r"(?<=Members:\[)&.*?(?=\] RemovedMemberIDs)",
                  lambda found: " ".join(sorted(re.split(r" (?=&\{)", found.group()))), text)


def last_words(member, seconds=20):
    """The exit code and the message and error of the last line that is worse than a warning."""
    code = member.wait(seconds)
    bad = [line for line in member.log_objects() if line["level"] in ("error", "fatal", "panic", "warn")]
    worst = [line for line in bad if line["level"] == "fatal"] or bad
    line = worst[-1] if worst else {"msg": "", "error": ""}
    return code, line["level"], line["msg"], plain(line.get("error", ""), member)


def fresh(program, *flags, name="m9"):
    member = harness.Member(name=name, program=program)
    member.flags = list(flags)
    return member


class StartErrorsTest(unittest.TestCase):
    maxDiff = None

    def alone(self, program, *flags, name="m9", prepare=None):
        member = fresh(program, *flags, name=name)
        try:
            if prepare:
                prepare(member)
            member.launch()
            return last_words(member)
        finally:
            member.remove()

    def compare(self, what, run):
        with self.subTest(what):
            real, ours = run(str(REFERENCE / "etcd")), run(None)
            self.assertEqual(real, ours)
            print(f"  {what}: {ours}")

    def test_flags_that_do_not_fit(self):
        url = "http://127.0.0.1:1"
        self.compare("the name is not in the initial cluster", lambda p: self.alone(p, f"--initial-cluster=other={url}"))
        self.compare("advertised URLs differ from the initial cluster", lambda p: self.alone(p, f"--initial-cluster=m9={url}"))
        self.compare("two members with one URL", lambda p: self.alone(
            p, f"--initial-cluster=m9={url},b={url}", f"--initial-advertise-peer-urls={url}"))
        self.compare("nobody to join", lambda p: self.alone(p, "--initial-cluster-state=existing"))
        self.compare("who is to be joined does not answer", lambda p: self.alone(
            p, "--initial-cluster-state=existing", f"--initial-cluster=m9=http://127.0.0.1:2,b={url}",
            "--initial-advertise-peer-urls=http://127.0.0.1:2"))

    def test_directories_that_do_not_fit(self):
        self.compare("member and proxy", lambda p: self.alone(
            p, prepare=lambda m: [Path(m.data_dir, name).mkdir(parents=True) for name in ("member", "proxy")]))
        self.compare("a file", lambda p: self.alone(p, prepare=lambda m: Path(m.data_dir).write_text("x")))

    def join(self, program, change):
        """`change(cluster, newcomer)` decides what is wrong about a newcomer that was added to a cluster of one."""
        with Cluster(size=1, programs=[program]) as cluster:
            member = cluster.add(learner=True, program=program)
            change(cluster, member)
            member.launch()
            return last_words(member, 40)

    def test_members_that_join_wrongly(self):
        def unequal(cluster, member):
            member.flags[0] += ",extra=http://127.0.0.1:1"

        def other_url(cluster, member):
            known = cluster.members[0]
            cluster.ctl("member", "update", cluster.id_of(known), "--peer-urls=http://127.0.0.1:3")

        def not_added(cluster, member):
            cluster.ctl("member", "remove", cluster.id_of(member))
        self.compare("more members than the cluster has", lambda p: self.join(p, unequal))
        self.compare("a URL that the cluster does not know", lambda p: self.join(p, other_url))
        self.compare("never added", lambda p: self.join(p, not_added))

    def test_a_directory_that_was_lost(self):
        def run(program):
            with Cluster(size=2, programs=[program, program]) as cluster:
                member = cluster.members[1]
                member.kill()
                shutil.rmtree(member.data_dir)
                member.launch()
                return last_words(member)
        self.compare("a member that was bootstrapped already", run)

    def test_a_directory_of_a_removed_member(self):
        def run(program):
            with Cluster("--strict-reconfig-check=false", size=3, programs=[program] * 3) as cluster:
                member = cluster.followers()[0]
                # Asked of another: who is removed may stop before it answers.
                cluster.leader().ctl("member", "remove", cluster.id_of(member))
                gone = "data-dir used by this member must be removed"
                codes = [member.wait()]
                self.assertIn(gone, member.log.text())
                member.launch()
                self.assertTrue(member.log.wait_for(gone, 20), member.log.text())
                member.wait()  # Real etcd ends with 0 or 1: it may be at serving its clients when it hears of it.
                return codes
        self.compare("removed, and started again", run)

    def test_a_directory_is_worth_more_than_flags(self):
        def run(program):
            with harness.Member(name="m9", program=program) as member:
                member.ctl("put", "key", "value")
                member.kill()
                member.flags = ["--initial-cluster=m9=http://127.0.0.1:4", "--initial-cluster-token=other",
                                "--initial-cluster-state=existing"]
                member.start()
                return member.ctl("get", "key", "--print-value-only").stdout
        self.compare("other cluster flags with a directory", run)


if __name__ == "__main__":
    harness.main()
