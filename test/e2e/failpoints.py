#!/usr/bin/env python3
"""The failpoints of a build that has them (make failpoints): gofail's protocol, etcd's names, and that each kind of term bites.

Not part of `make test`, which has no such build: there the normal program is searched for what must not be in it
(process_test.py).
"""

import json
import time
import unittest

import harness

# All that etcd 3.7.1's server has, but afterIsMemberExist (asked for by tests inside of its process only), and of bbolt's own
# those that mean something without mmap: not mapError, unmapError, mlockError, munlockError and resizeFileError.
NAMES = """afterCommit afterStartDBTxn afterWritebackBuf applyAfterOpenSnapshot applyBeforeOpenSnapshot
beforeApplyOneConfChange beforeApplyOneEntryNormal beforeBucketPut beforeCheckpointInLeaseRenew beforeCommit
beforeLookupWhenForwardLeaseTimeToLive beforeLookupWhenLeaseTimeToLive beforePublishing beforeRangeStreamChunk
beforeSendWatchResponse beforeServeHTTPLeaseRenew beforeStartDBTxn beforeSyncDataPages beforeSyncMetaPage
beforeWritebackBuf beforeWriteMetaError commitAfterPreCommitHook commitBeforePreCommitHook
compactAfterAcquiredBatchTxLock compactAfterCommitBatch compactAfterCommitScheduledCompact
compactAfterSetFinishedCompact compactBeforeCommitBatch compactBeforeCommitScheduledCompact
compactBeforeSetFinishedCompact defragBeforeCopy defragBeforeRename defragdbFail defragOpenFileError lackOfDiskSpace
raftAfterApplySnap raftAfterSave raftAfterSaveSnap raftAfterWALRelease raftBeforeAdvance raftBeforeApplySnap
raftBeforeFollowerSend raftBeforeLeaderSend raftBeforeSave raftBeforeSaveSnap raftBeforeWALSaveSnaphot
raftDropHeartbeat walAfterSync walBeforeSync""".split()

# A panic at these is a crash in the middle of a write; nothing acknowledged before may be lost by it.
AT_A_PUT = ["beforeBucketPut", "beforeSyncDataPages", "raftBeforeSave", "raftAfterSave", "raftBeforeLeaderSend",
            "raftBeforeAdvance", "walBeforeSync", "walAfterSync", "beforeCommit", "afterCommit", "beforeStartDBTxn",
            "afterStartDBTxn", "commitBeforePreCommitHook", "commitAfterPreCommitHook", "beforeWritebackBuf",
            "afterWritebackBuf", "beforeApplyOneEntryNormal"]
AT_A_COMPACTION = ["compactBeforeCommitScheduledCompact", "compactAfterCommitScheduledCompact",
                   "compactAfterAcquiredBatchTxLock", "compactBeforeSetFinishedCompact", "compactAfterSetFinishedCompact"]
AT_A_LATER_BATCH = ["compactBeforeCommitBatch", "compactAfterCommitBatch"]
AT_A_DEFRAG = ["defragBeforeCopy", "defragBeforeRename"]


class Points(harness.Member):
    def __init__(self, *flags, points=""):
        self.points_url = f"http://127.0.0.1:{harness.free_port()}"
        super().__init__(*flags, environment={"GOFAIL_HTTP": self.points_url[len("http://"):], "GOFAIL_FAILPOINTS": points})

    def point(self, name, terms):
        status, _, body = harness.http_request(self.points_url, "/" + name, "PUT" if terms else "DELETE", terms)
        if status != 204:
            raise AssertionError(f"{name}={terms}: {status} {body}")

    def count(self, name):
        return int(harness.http_request(self.points_url, f"/{name}/count")[2])


class Protocol(unittest.TestCase):
    def test_all_of_etcds_names_are_there(self):
        with Points(points="walAfterSync=0*panic") as member:
            status, headers, body = harness.http_request(member.points_url, "/")
            self.assertEqual(status, 200)
            self.assertEqual(headers["Content-Type"], "text/plain; charset=utf-8")
            lines = dict(line.split("=", 1) for line in body.decode().splitlines())
            self.assertEqual(sorted(lines), sorted(NAMES))
            self.assertEqual(lines.pop("walAfterSync"), "0*panic")
            self.assertEqual(set(lines.values()), {""})

    def test_counts_and_terms_over_http(self):
        with Points() as member:
            member.point("beforeApplyOneEntryNormal", "2*print->off")
            member.ctl("put", "a", "1")
            member.ctl("put", "a", "2")
            member.ctl("put", "a", "3")
            self.assertEqual(member.count("beforeApplyOneEntryNormal"), 3)
            self.assertEqual(member.log.text().count("failpoint print: beforeApplyOneEntryNormal"), 2)
            member.point("beforeApplyOneEntryNormal", "")
            self.assertEqual(harness.http_request(member.points_url, "/beforeApplyOneEntryNormal")[0], 404)

    def test_a_list_that_is_none_stops_the_start(self):
        done = harness.run_server(environment={"GOFAIL_FAILPOINTS": "walAfterSync=off=on"})
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, 'fail to parse failpoint: bad failpoint "walAfterSync=off=on"\n')


class Panics(unittest.TestCase):
    def crash_at(self, name, member, provoke):
        with self.subTest(point=name):
            before = member.ctl("get", "", "--prefix").stdout
            member.point(name, "panic")
            provoke()
            self.assertEqual(member.wait(), 2)
            self.assertIn("panic: failpoint panic: {}", member.log.text())
            member.start()
            self.assertEqual(member.ctl("get", "", "--prefix").stdout.replace("x\n" + name + "\n", ""), before)
            member.ctl("del", "x")

    def test_nothing_acknowledged_is_lost_by_a_panic(self):
        with Points() as member:
            member.ctl("put", "a", "1")
            for name in AT_A_PUT:
                self.crash_at(name, member, lambda: member.ctl("put", "x", name, check=False, seconds=20))

    def test_a_compaction_that_is_cut_goes_on(self):
        with Points("--compaction-batch-limit=2") as member:
            for name in AT_A_COMPACTION + AT_A_LATER_BATCH:
                for value in range(5):
                    done = member.ctl("put", "a", str(value), "-w", "json")
                revision = json.loads(done.stdout)["header"]["revision"]
                self.crash_at(name, member, lambda: member.ctl("compact", str(revision), "--physical", check=False, seconds=20))
                self.assertIn("compacted", member.ctl("get", "a", f"--rev={revision - 1}", check=False).stderr)

    def test_a_defragmentation_that_is_cut(self):
        with Points() as member:
            member.ctl("put", "a", "1")
            for name in AT_A_DEFRAG:
                self.crash_at(name, member, lambda: member.ctl("defrag", check=False, seconds=20))


class Sleeps(unittest.TestCase):
    def test_a_saving_that_sleeps_holds_up_raft_but_not_the_server(self):
        with Points() as member:
            member.ctl("put", "a", "1")
            member.point("raftBeforeSave", 'sleep("3s")')
            began = time.monotonic()
            failed = member.ctl("--command-timeout=1s", "put", "a", "2", check=False)
            self.assertNotEqual(failed.returncode, 0)
            self.assertEqual(member.get("/health?serializable=true")[0], 200)
            self.assertLess(time.monotonic() - began, 3)
            member.point("raftBeforeSave", "")
            member.ctl("get", "a", "--consistency=l")

    def test_applying_that_sleeps_holds_up_reads_that_wait_for_it(self):
        with Points() as member:
            member.point("beforeApplyOneEntryNormal", "1*sleep(2000)")
            began = time.monotonic()
            member.ctl("put", "a", "1")
            self.assertGreaterEqual(time.monotonic() - began, 2)

    def test_a_lease_is_revoked_while_its_renewal_sleeps(self):
        with Points() as member:
            lease = member.ctl("lease", "grant", "60").stdout.split()[1]
            member.point("beforeCheckpointInLeaseRenew", 'sleep("2s")')
            status = []
            renew = harness.threading.Thread(
                target=lambda: status.append(member.ctl("lease", "keep-alive", "--once", lease, check=False)))
            renew.start()
            while not member.count("beforeCheckpointInLeaseRenew"):
                pass
            member.ctl("lease", "revoke", lease)
            renew.join()
            self.assertIn("requested lease not found", status[0].stdout + status[0].stderr)


class Returns(unittest.TestCase):
    def test_a_commit_that_fails_stops_the_member_and_loses_nothing(self):
        with Points() as member:
            member.ctl("put", "a", "1")
            for name in ("lackOfDiskSpace", "beforeWriteMetaError"):
                member.point(name, f'return("made to fail by {name}")')
                member.ctl("put", "a", name, check=False)
                self.assertNotEqual(member.wait(), 0)
                self.assertIn(f"made to fail by {name}", member.log.text())
                member.start()
                self.assertIn(name, member.ctl("get", "a").stdout)

    def test_a_defragmentation_that_fails_is_told_and_harms_nothing(self):
        with Points() as member:
            for name, text in (("defragOpenFileError", "no space"), ("defragdbFail", "some random error")):
                member.point(name, f'return("{text}")')
                done = member.ctl("defrag", check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(text, done.stderr)
                member.point(name, "")
                member.ctl("put", "a", name)
                self.assertIn(name, member.ctl("get", "a").stdout)
            member.ctl("defrag")


if __name__ == "__main__":
    harness.main()
