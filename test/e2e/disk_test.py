#!/usr/bin/env python3
"""Disks that are full, files that are damaged: a start that stops and says why, no write acknowledged that was not kept."""

import json
import os
import resource
import unittest
from pathlib import Path

import harness

SEGMENT_BYTES = 64_000_000  # a log segment is made at once at its full size
FRAME_BYTES = 8
SECTOR_BYTES = 512  # what a disk writes whole


def frames(data):
    """(offset, length with padding) of each record of a log segment, up to the zeros at its end."""
    offset = 0
    while offset + FRAME_BYTES <= len(data):
        field = int.from_bytes(data[offset:offset + FRAME_BYTES], "little", signed=True)
        if field == 0:
            return
        record = field & ((1 << 56) - 1)
        padding = (field >> 56) & 7 if field < 0 else 0
        yield offset, FRAME_BYTES + record + padding
        offset += FRAME_BYTES + record + padding


def segments(member):
    return sorted((member.data_dir / "member/wal").glob("*.wal"))


class Damage(unittest.TestCase):
    def written(self):
        """A killed member with 20 keys. Its segment, and the frames of it. The store has not caught up with the log."""
        member = harness.Member("--backend-batch-interval=10m")
        self.addCleanup(member.remove)
        member.start()
        for i in range(20):
            member.ctl("put", f"key{i}", f"value{i}")
        member.kill()
        segment = segments(member)[-1]
        return member, segment, list(frames(segment.read_bytes()))

    def change(self, path, offset, data):
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def refuses_to_start(self, member, *texts):
        member.launch()
        self.assertNotEqual(member.wait(harness.START_SECONDS_MAX), 0)
        self.assertNotIn(harness.READY, member.log.text())
        for text in texts:
            self.assertIn(text, member.log.text())

    def test_a_torn_last_record_is_cut_off(self):
        member, segment, _ = self.written()
        member.start()
        member.ctl("put", "torn", "t" * 8 * SECTOR_BYTES)
        member.kill()
        # The power went in the middle of the big record: its later sectors are still the zeros the segment was made of.
        offset = [offset for offset, length in frames(segment.read_bytes()) if length > 8 * SECTOR_BYTES][-1]
        middle = (offset // SECTOR_BYTES + 4) * SECTOR_BYTES
        self.change(segment, middle, bytes(16 * SECTOR_BYTES))
        member.start()
        self.assertEqual(json.loads(member.ctl("get", "key", "--prefix", "-w", "json").stdout)["count"], 20)
        self.assertEqual(member.ctl("get", "torn").stdout, "")
        self.assertEqual(member.ctl("put", "again", "x").stdout, "OK\n")
        member.restart()
        self.assertEqual(member.ctl("get", "again", "--print-value-only").stdout, "x\n")

    def test_zeros_after_the_last_record_are_its_end(self):
        member, segment, found = self.written()
        with open(segment, "r+b") as file:
            file.truncate(found[-1][0] + found[-1][1])
        member.start()
        self.assertEqual(json.loads(member.ctl("get", "key", "--prefix", "-w", "json").stdout)["count"], 20)

    def test_damage_before_synced_records_stops_the_start(self):
        member, segment, found = self.written()
        offset, length = found[len(found) // 2]
        byte = segment.read_bytes()[offset + length // 2]
        self.change(segment, offset + length // 2, bytes([byte ^ 0x40]))
        self.refuses_to_start(member, *([segment.name] if harness.is_ours() else []))

    @unittest.skipUnless(harness.is_ours(), "etcd's messages are shorter")
    def test_the_message_says_which_file_where_and_what_to_do(self):
        member, segment, found = self.written()
        offset, length = found[len(found) // 2]
        self.change(segment, offset + FRAME_BYTES, b"\xff" * (length - FRAME_BYTES))
        self.refuses_to_start(member, segment.name, str(offset), "backup")

    @unittest.skipUnless(harness.is_ours(), "etcd hangs")
    def test_a_missing_segment_stops_the_start(self):
        member, segment, _ = self.written()
        member.start()
        member.stop()  # now the store holds all of it
        segment.unlink()
        self.refuses_to_start(member, str(segment.parent))
        self.assertEqual(segments(member), [])  # It can still be brought back.

    @unittest.skipUnless(harness.is_ours(), "etcd says that the member has been bootstrapped")
    def test_a_member_of_three_without_its_log_says_where_that_was(self):
        with harness.Cluster() as cluster:
            member = cluster.members[0]
            member.stop()
            for segment in segments(member):
                segment.unlink()
            self.refuses_to_start(member, str(member.data_dir / "member/wal"))

    def test_foreign_files_are_no_reason_to_stop(self):
        member, _, _ = self.written()
        (member.data_dir / "member/wal/notes.txt").write_text("hello")
        (member.data_dir / "member/snap/notes.txt").write_text("hello")
        member.start()
        self.assertEqual(json.loads(member.ctl("get", "key", "--prefix", "-w", "json").stdout)["count"], 20)

    @unittest.skipUnless(harness.is_ours(), "the files are LevelDB's")
    def test_a_damaged_store_file_is_named(self):
        member, _, _ = self.written()
        for path in sorted(member.data_dir.rglob("MANIFEST-*")):
            self.change(path, 0, os.urandom(64))
            break
        else:
            self.fail("no MANIFEST in the data directory")
        self.refuses_to_start(member, path.name)


class Full(unittest.TestCase):
    """A small tmpfs where root may mount one, else a limit of the size of files."""

    def small_disk(self, directory, size):
        directory.mkdir(parents=True)
        if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size={size},mode=700 tmpfs '{directory}' 2>/dev/null") != 0:
            self.skipTest("may not mount a tmpfs")
        self.addCleanup(os.system, f"umount -l '{directory}'")

    @unittest.skipUnless(harness.is_ours(), "etcd panics and then does not start again")
    def test_a_full_disk_acknowledges_nothing_it_did_not_keep(self):
        member = harness.Member("--backend-batch-interval=5ms")
        self.addCleanup(member.remove)
        # Two segments (one is prepared ahead) and some room for the store.
        self.small_disk(member.data_dir, 2 * SEGMENT_BYTES + 12 * 1024 * 1024)
        member.start()
        kept = []
        value = "v" * (1024 * 1024)
        for i in range(300):
            if member.ctl("put", f"key{i}", stdin=value, check=False, seconds=30).returncode != 0:
                break
            kept.append(f"key{i}")
        self.assertLess(len(kept), 300, "the disk never became full")
        self.assertGreater(len(kept), 3)
        member.kill()
        self.assertEqual(os.system(f"mount -o remount,size={4 * SEGMENT_BYTES + 200 * 1024 * 1024} '{member.data_dir}'"), 0)
        member.start()
        found = member.ctl("get", "key", "--prefix", "--keys-only").stdout.split()
        self.assertEqual(sorted(set(kept) - set(found)), [])
        self.assertEqual(member.ctl("get", kept[0], "--print-value-only").stdout, value + "\n")

    def test_a_log_that_cannot_be_made_stops_the_start(self):
        limit = 1024 * 1024
        member = harness.Member(limits=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.addCleanup(member.remove)
        member.launch()
        self.assertEqual(member.wait(), 2 if not harness.is_ours() else 1)  # not ended by the signal SIGXFSZ
        self.assertNotIn(harness.READY, member.log.text())
        self.assertIn("file too large", member.log.text().lower())

    def test_too_few_descriptors_are_said_before_anything_is_made(self):
        member = harness.Member(limits=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)))
        self.addCleanup(member.remove)
        member.launch()
        self.assertEqual(member.wait(), 1)
        self.assertIn('"msg":"file descriptor limit of etcd process is too low; please set higher","limit":32,'
                      '"recommended-limit":150', member.log.text())
        self.assertFalse(Path(member.data_dir, "member").exists())


class Quota(unittest.TestCase):
    def test_over_quota_writes_are_refused_and_reads_served(self):
        with harness.Member(f"--quota-backend-bytes={16 * 1024 * 1024}") as member:
            value = "v" * (1024 * 1024)
            for i in range(40):
                done = member.ctl("put", f"key{i % 50}", stdin=value, check=False)
                if done.returncode != 0:
                    break
            self.assertIn("etcdserver: mvcc: database space exceeded", done.stderr)
            self.assertEqual(member.ctl("get", "key0", "--print-value-only").stdout, value + "\n")
            self.assertEqual(member.ctl("del", "key1").stdout, "1\n")
            member.restart()  # the alarm stays
            done = member.ctl("put", "small", "x", check=False)
            self.assertIn("etcdserver: mvcc: database space exceeded", done.stderr)


class OldDirectories(unittest.TestCase):
    def test_a_directory_without_permission_to_write(self):
        if os.geteuid() == 0:
            self.skipTest("root may write everywhere")
        member = harness.Member()
        self.addCleanup(member.remove)
        Path(member.data_dir).mkdir(mode=0o500)
        member.launch()
        self.assertEqual(member.wait(), 1)
        self.assertIn("cannot", member.log.text())


if __name__ == "__main__":
    harness.main()
