#!/usr/bin/env python3
"""Snapshot files: saved, looked at, restored; and everything that must be refused leaves the target as it was."""

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness

UTL = harness.CTL.removesuffix("etcdctl") + "etcdutl"


def utl(*arguments, cwd, limits=None):
    return subprocess.run([UTL, *arguments], capture_output=True, text=True, cwd=cwd, timeout=60, preexec_fn=limits,
                          env=harness.clean_environment())


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


class Restore(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = Path(tempfile.mkdtemp(prefix="etcd-e2e-"))
        cls.file = str(cls.root / "saved.db")
        with harness.Member() as member:
            for i in range(40):
                member.ctl("put", f"k{i % 9}", f"value {i}")
            member.ctl("del", "k3")
            member.ctl("snapshot", "save", cls.file)
            cls.hash = json.loads(member.ctl("endpoint", "hashkv", "-w", "json").stdout)[0]["HashKV"]
            cls.pairs = member.ctl("get", "", "--prefix", "-w", "json").stdout

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.root, ignore_errors=True)

    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix="restore-", dir=self.root))

    def restore(self, *arguments, file=None, **options):
        return utl("snapshot", "restore", file or self.file, "--data-dir", "data", *arguments, cwd=self.dir, **options)

    def altered(self, change):
        data = bytearray(Path(self.file).read_bytes())
        data = change(data) or data
        path = self.dir / "altered.db"
        path.write_bytes(bytes(data))
        return str(path)

    def refused(self, done, text, code=1):
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(text, done.stderr)
        self.assertEqual([name for name in files_below(self.dir) if name != "altered.db"], [])

    def test_status(self):
        done = utl("snapshot", "status", self.file, "-w", "json", cwd=self.dir)
        status = json.loads(done.stdout)
        self.assertEqual((status["revision"], status["totalKey"], status["version"]), (42, 8, "3.7.0"))
        self.assertEqual(status["totalSize"] + 32, os.path.getsize(self.file))
        simple = utl("snapshot", "status", self.file, cwd=self.dir).stdout
        self.assertTrue(simple.startswith(f"{status['hash']:x}, 42, 8, "), simple)

    def test_a_restored_member_has_all_of_it(self):
        with harness.Member() as other:  # only its ports and flags are used
            other.stop()
            shutil.rmtree(other.data_dir)
            done = utl("snapshot", "restore", self.file, "--data-dir", str(other.data_dir), f"--name={other.name}",
                       f"--initial-advertise-peer-urls={other.peer_url}", f"--initial-cluster={other.name}={other.peer_url}",
                       cwd=self.dir)
            self.assertEqual(done.returncode, 0, done.stderr)
            other.start()
            now = json.loads(other.ctl("endpoint", "hashkv", "-w", "json").stdout)[0]["HashKV"]
            self.assertEqual((now["hash"], now["hash_revision"]), (self.hash["hash"], self.hash["hash_revision"]))
            kvs = json.loads(other.ctl("get", "", "--prefix", "-w", "json").stdout)["kvs"]
            self.assertEqual(kvs, json.loads(self.pairs)["kvs"])
            other.restart()
            self.assertEqual(other.ctl("get", "k1", "--print-value-only").stdout, "value 37\n")

    def test_raised_revision(self):
        with harness.Member() as other:
            other.stop()
            shutil.rmtree(other.data_dir)
            done = utl("snapshot", "restore", self.file, "--data-dir", str(other.data_dir), "--bump-revision", "1000000",
                       "--mark-compacted", f"--name={other.name}", f"--initial-advertise-peer-urls={other.peer_url}",
                       f"--initial-cluster={other.name}={other.peer_url}", cwd=self.dir)
            self.assertEqual(done.returncode, 0, done.stderr)
            other.start()
            answer = json.loads(other.ctl("get", "k1", "-w", "json").stdout)
            self.assertEqual(answer["header"]["revision"], 1000042)
            late = other.ctl("get", "k1", "--rev", "42", check=False)
            self.assertIn("required revision has been compacted", late.stderr)
            self.assertEqual(json.loads(other.ctl("put", "k1", "x", "-w", "json").stdout)["header"]["revision"], 1000043)

    def test_three_members_of_one_file(self):
        cluster = "a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3"
        for port, name in enumerate("abc", 1):
            done = utl("snapshot", "restore", self.file, f"--name={name}", f"--initial-cluster={cluster}",
                       f"--initial-advertise-peer-urls=http://127.0.0.1:{port}", cwd=self.dir)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stderr.count("added member"), 3)
            self.assertTrue((self.dir / f"{name}.etcd/member/wal").is_dir())

    def test_refuses_a_cut_file(self):
        self.refused(self.restore(file=self.altered(lambda data: data[:4096 * 2 + 32])), "expected sha256 [")
        without = self.altered(lambda data: data[:-32])
        self.refused(self.restore(file=without), "snapshot missing hash but --skip-hash-check=false")
        self.refused(self.restore("--skip-hash-check", file=self.altered(lambda data: data[:5000])), "Error: ")
        self.refused(self.restore(file=self.altered(lambda data: data[:7])), "Error: ")

    def test_refuses_an_altered_file(self):
        def flip(data):
            data[len(data) // 2] ^= 1

        self.refused(self.restore(file=self.altered(flip)), "expected sha256 [")

    def test_on_a_terminal_progress_is_shown_and_wiped_away(self):
        ours, theirs = os.openpty()
        process = subprocess.Popen([UTL, "snapshot", "restore", self.file, "--data-dir", "data"], cwd=self.dir, stdin=theirs,
                                   stdout=theirs, stderr=theirs, env=harness.clean_environment())
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # how a terminal ends on Linux
            pass
        os.close(ours)
        self.assertEqual(process.wait(60), 0, shown)
        self.assertIn(b"\r\x1b[Krestoring 100 %\r", shown)
        for line in shown.decode().split("\n"):
            # What stands there in the end: a logged line, or nothing.
            left = line.rstrip("\r").split("\r")[-1].replace("\x1b[K", "")
            self.assertTrue(left == "" or "snapshot" in left or "member" in left, line)
            self.assertNotIn("%", left)

    def test_takes_a_file_without_digest_when_told(self):
        done = self.restore("--skip-hash-check", file=self.altered(lambda data: data[:-32]))
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_refuses_targets_that_are_there(self):
        self.assertEqual(self.restore().returncode, 0)
        before = files_below(self.dir)
        again = self.restore()
        self.assertEqual(again.returncode, 1)
        self.assertIn('data-dir "data" not empty or could not be read', again.stderr)
        (self.dir / "wal").mkdir()
        apart = utl("snapshot", "restore", self.file, "--data-dir", "other", "--wal-dir", "wal", cwd=self.dir)
        self.assertIn('wal-dir "wal" exists', apart.stderr)
        self.assertEqual(files_below(self.dir), sorted(before + ["wal"]))

    def test_refuses_flags_that_do_not_fit(self):
        self.refused(self.restore("--name", "x"), 'couldn\'t find local name "x" in the initial cluster configuration')
        self.refused(self.restore("--bump-revision", "5"), "--mark-compacted required if --revision-bump > 0", 128)
        self.refused(self.restore("--mark-compacted"), "--mark-compacted required if --revision-bump > 0", 128)
        self.refused(self.restore("--initial-advertise-peer-urls", "http://127.0.0.1:9"), "--initial-cluster has default=")
        self.refused(self.restore("again"), "snapshot restore requires exactly one argument", 128)
        self.refused(self.restore(file="/nonexistent"), "open /nonexistent: no such file or directory")

    def test_a_write_that_fails_leaves_nothing(self):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

        self.refused(self.restore(limits=small_files), "Error: ")

    def test_other_names_of_the_program(self):
        expected = utl("snapshot", "status", self.file, cwd=self.dir).stdout
        for program in ([harness.SERVER], [harness.CTL]):
            done = subprocess.run([*program, "snapshot", "status", self.file], capture_output=True, text=True)
            self.assertEqual(done.stdout, expected)


if __name__ == "__main__":
    harness.main()
