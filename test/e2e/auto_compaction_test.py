#!/usr/bin/env python3
"""Automatic compaction from outside: by time it happens and is logged, history goes and current values stay; what the flags say
is accepted without a warning. By revision it happens every five minutes: unit tests have that. Runs against real etcd too."""

import json
import signal
import unittest

import harness

COMPLETED = "completed auto periodic compaction"
SECONDS_MAX = 20


class AutoCompaction(unittest.TestCase):
    def test_by_time(self):
        with harness.Member("--auto-compaction-mode=periodic", "--auto-compaction-retention=1s") as member:
            for value in ("1", "2", "3"):
                member.ctl("put", "k", value)
            self.assertIsNotNone(member.log.wait_for(COMPLETED, SECONDS_MAX))
            # At the latest after two periods all three revisions are old enough.
            self.assertIsNotNone(member.log.wait_for(f'{COMPLETED}","revision":4', SECONDS_MAX))
            lines = [line for line in member.log_objects() if "auto periodic compaction" in line["msg"]]
            self.assertEqual([line["msg"].split()[0] for line in lines[:2]], ["starting", "completed"])
            for line in lines:
                self.assertEqual((line["level"], line["compact-period"]), ("info", "1s"))
                self.assertEqual("took" in line, line["msg"] == COMPLETED)
            revisions = [line["revision"] for line in lines[::2]]
            self.assertEqual(sorted(set(revisions)), revisions, "none twice")
            old = member.ctl("get", "k", "--rev=3", check=False)
            self.assertIn("required revision has been compacted", old.stderr)
            self.assertEqual(member.ctl("get", "k").stdout, "k\n3\n")
            self.assertIn(b"\netcd_debugging_mvcc_compact_revision 4\n", member.get("/metrics")[2])
            # A client that was there first is no failure.
            member.ctl("put", "k", "4")
            member.ctl("compaction", "5")
            self.assertIsNotNone(member.log.wait_for(f'{COMPLETED}","revision":5', SECONDS_MAX))
            self.assertNotIn("failed auto", member.log.text())

    def test_flags(self):
        for flags in (["--auto-compaction-retention=2"], ["--auto-compaction-retention=0"],
                      ["--auto-compaction-mode=revision", "--auto-compaction-retention=1000"]):
            with harness.Member(*flags) as member:
                member.ctl("put", "k", "v")
                self.assertEqual(member.stop(), -signal.SIGTERM)
                for line in member.log.text().splitlines():
                    self.assertNotIn("auto-compaction-", json.loads(line)["msg"])
                    self.assertNotIn("has no effect", line)


if __name__ == "__main__":
    harness.main()
