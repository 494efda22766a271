#!/usr/bin/env python3
"""etcdutl on the files of a stopped member: check, defrag, hashkv, migrate; what is damaged is named, nothing is changed by
looking, and a member that runs is left alone."""

import hashlib
import json
import shutil
import tempfile
import unittest
from pathlib import Path

import harness
from restore_test import utl


def contents(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(folder).rglob("*") if path.is_file()}


class StoppedMember(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = Path(tempfile.mkdtemp(prefix="etcd-e2e-"))
        cls.member = harness.Member()
        cls.member.start()
        for i in range(20):
            cls.member.ctl("put", f"k{i % 9}", f"value {i} " * 30)
        cls.member.ctl("del", "k3")
        cls.member.ctl("compaction", "8")
        cls.member.ctl("snapshot", "save", str(cls.root / "saved.db"))
        cls.hash = json.loads(cls.member.ctl("endpoint", "hashkv", "-w", "json").stdout)[0]["HashKV"]
        cls.member.stop()
        # A table, so that there are blocks.
        done = utl("defrag", "--data-dir", str(cls.member.data_dir), cwd=cls.root)
        assert done.returncode == 0, done.stderr

    @classmethod
    def tearDownClass(cls):
        cls.member.remove()
        shutil.rmtree(cls.root, ignore_errors=True)

    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix="utl-", dir=self.root))
        self.data = self.dir / "data"
        shutil.copytree(self.member.data_dir, self.data)

    def utl(self, *arguments, code=0):
        done = utl(*arguments, cwd=self.dir)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def flip(self, pattern, marker):
        """Flips a bit of `marker` in the file: of bytes that are in use."""
        path = next(path for path in sorted(self.data.glob(pattern)) if marker in path.read_bytes())
        data = bytearray(path.read_bytes())
        data[data.index(marker)] ^= 4
        path.write_bytes(bytes(data))
        return path

    def test_a_sound_directory(self):
        before = contents(self.data)
        done = self.utl("check", "data")
        self.assertTrue(done.stdout.endswith("ok\n"), done.stdout)
        self.assertIn("revision 22", done.stdout)
        self.assertEqual(contents(self.data), before)

    def test_damage_is_named(self):
        for pattern, marker in (("member/wal/*.wal", b"value 12"), ("member/store/*.ldb", b"value 19")):
            path = self.flip(pattern, marker)
            before = contents(self.data)
            done = self.utl("check", "data", code=1)
            self.assertIn("problem: ", done.stdout)
            self.assertRegex(done.stdout, rf"{path.name} at offset \d+")
            self.assertIn("found", done.stderr)
            self.assertEqual(contents(self.data), before)

    def test_a_member_does_not_start_on_damage(self):
        for pattern, marker in (("member/wal/*.wal", b"value 12"), ("member/store/*.ldb", b"value 19")):
            shutil.rmtree(self.data)
            shutil.copytree(self.member.data_dir, self.data)
            path = self.flip(pattern, marker)
            other = harness.Member(data_dir=self.data).launch()
            self.assertNotEqual(other.wait(), 0)
            self.assertRegex(other.log.text(), rf"{path.name} at offset \d+")
            other.remove()

    def test_files_that_are_missing(self):
        for pattern in ("member/store/*.ldb", "member/wal/*.wal"):
            shutil.rmtree(self.data)
            shutil.copytree(self.member.data_dir, self.data)
            next(self.data.glob(pattern)).unlink()
            self.assertIn("problem: ", self.utl("check", "data", code=1).stdout)
        self.assertIn("no such file or directory", self.utl("check", "nowhere", code=1).stderr)
        self.assertEqual(self.utl("check", code=128).stderr, "Error: check requires exactly one argument\n")

    def test_hash(self):
        expected = f"{self.hash['hash']}, {self.hash['hash_revision']}, {self.hash['compact_revision']}\n"
        for path in (str(self.root / "saved.db"), "data"):
            self.assertEqual(self.utl("hashkv", path).stdout, expected)
        earlier = json.loads(self.utl("hashkv", "data", "--rev", "15", "-w", "json").stdout)
        self.assertEqual((earlier["hashRevision"], earlier["compactRevision"]), (15, 8))
        for revision, text in ((1000, "a future revision"), (5, "has been compacted")):
            done = self.utl("hashkv", "data", "--rev", str(revision), code=1)
            self.assertEqual(done.stderr, f"Error: mvcc: required revision {'is ' if revision > 100 else ''}{text}\n")

    def test_defrag_keeps_everything(self):
        self.utl("defrag", "--data-dir", "data")
        self.assertIn(f"{self.hash['hash']}, 22, 8", self.utl("hashkv", "data").stdout)
        done = self.utl("defrag", "--data-dir", "nowhere", code=1)
        self.assertEqual(done.stderr, "Error: Failed to defragment etcd data[nowhere] "
                                      "(stat nowhere/member/snap/db: no such file or directory)\n")

    def test_migrate(self):
        self.utl("migrate", "--data-dir", "data", "--target-version", "3.5")
        self.assertIn("storage version up-to-date",
                      self.utl("migrate", "--data-dir", "data", "--target-version", "3.5").stderr)
        done = self.utl("migrate", "--data-dir", "data", "--target-version", "3.7")
        self.assertEqual(done.stderr.count("updated storage version"), 2)
        far = self.utl("migrate", "--data-dir", "data", "--target-version", "3.8", code=1)
        self.assertIn('Error: cannot create migration plan: version "3.8.0" is not supported\n', far.stderr)
        forced = self.utl("migrate", "--data-dir", "data", "--target-version", "3.8", "--force")
        self.assertIn("forcefully set storage version", forced.stderr)

    def test_a_running_member_is_left_alone(self):
        with harness.Member() as running:
            for command in (["defrag", "--data-dir", str(running.data_dir)], ["hashkv", str(running.data_dir)],
                            ["check", str(running.data_dir)]):
                done = self.utl("--timeout", "100ms", *command, code=1)
                self.assertIn("timeout", done.stderr)
            running.ctl("put", "still", "here")


if __name__ == "__main__":
    harness.main()
