#!/usr/bin/env python3
"""etcdutl beside real etcd's: the same words, and each other's files: data directories and snapshots of real etcd, restored,
taken over, looked at and rewritten by ours. OLD_ETCD names servers of older versions (3.4, 3.5, 3.6) to make files, too."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
from interop_snapshot import Real, hash_kv, write_history
from restore_test import UTL

REFERENCE = Path(os.environ["ETCD_REFERENCE"])
SERVERS = [str(REFERENCE / "etcd"), *os.environ.get("OLD_ETCD", "").split()]

FLAG = re.compile(r"  +(-\w, )?--[\w-]+( (string|duration|int|uint))?(?= |$)")
COMMAND = re.compile(r"  +\S+")


def run(program, *arguments, cwd):
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, cwd=cwd,
                          env=harness.clean_environment())


def without_prose(text):
    """Of a usage text only names and types of flags count."""
    lines = [line for line in text.splitlines() if not line.startswith(("20", "goroutine"))]
    named = [FLAG.match(line) or COMMAND.match(line) for line in lines]
    return [found.group().strip() if found else line for found, line in zip(named, lines)]


class Utl(unittest.TestCase):
    def setUp(self):
        self.dir = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="etcd-e2e-")))

    def test_the_same_words(self):
        with Real() as real:
            write_history(real)
            real.ctl("snapshot", "save", str(self.dir / "real.db"))
        cut = (self.dir / "real.db").read_bytes()
        (self.dir / "cut.db").write_bytes(cut[:-32])
        (self.dir / "altered.db").write_bytes(cut[:40_000] + bytes([cut[40_000] ^ 1]) + cut[40_001:])
        cases = [["snapshot", "status", "real.db", "-w", form]
                 for form in ("simple", "json", "fields", "table", "protobuf", "x")]
        cases += [["hashkv", "real.db", "-w", form] for form in ("simple", "json", "fields", "table", "x")]
        cases += [["hashkv", "real.db", "--rev", n] for n in ("3100", "1", "9999999")]
        cases += [["hashkv"], ["hashkv", "a", "b"], ["hashkv", "nowhere"], ["defrag"], ["defrag", "--data-dir", "nowhere"],
                  ["migrate"], ["migrate", "--data-dir", "x"], ["snapshot", "status"], ["snapshot", "restore"],
                  ["migrate", "--data-dir", "x", "--target-version", "3"],
                  ["migrate", "--data-dir", "x", "--target-version", "a.b"],
                  ["migrate", "--data-dir", "x", "--target-version", "3.4"],
                  ["migrate", "--data-dir", "x", "--target-version", "3.6"],
                  ["snapshot", "restore", "cut.db", "--data-dir", "d1"],
                  ["snapshot", "restore", "altered.db", "--data-dir", "d2"], ["snapshot", "restore", "nowhere"],
                  ["snapshot", "restore", "real.db", "--bump-revision", "4"], ["snapshot", "restore", "real.db", "--name", "q"],
                  ["version"], ["completion"], ["completion", "x"], ["nothing"], ["defrag", "--no"]]
        for case in cases:
            with self.subTest(" ".join(case)):
                results = []
                for program in (str(REFERENCE / "etcdutl"), UTL):
                    folder = self.dir / f"run{len(results)}"
                    shutil.rmtree(folder, ignore_errors=True)
                    folder.mkdir()
                    for name in ("real.db", "cut.db", "altered.db"):
                        os.link(self.dir / name, folder / name)
                    done = run(program, *case, cwd=folder)
                    results.append((done.returncode, without_prose(done.stdout), without_prose(done.stderr)))
                self.assertEqual(results[0], results[1])

    def test_files_of_real_etcd(self):
        for number, server in enumerate(SERVERS):
            with self.subTest(server):
                self.files_of(server, self.dir / str(number))

    def files_of(self, server, folder):
        folder.mkdir()
        old = harness.Member(program=server, data_dir=folder / "old")
        with old:
            write_history(old)
            pairs = json.loads(old.ctl("get", "", "--prefix", "-w", "json").stdout)["kvs"]
            hashed = hash_kv(old)
            leases = old.ctl("lease", "list").stdout
            old.ctl("snapshot", "save", str(folder / "saved.db"))
            old.stop()

        def holds_all(member):
            self.assertEqual(json.loads(member.ctl("get", "", "--prefix", "-w", "json").stdout)["kvs"], pairs)
            self.assertEqual(member.ctl("lease", "list").stdout, leases)
            self.assertEqual(hash_kv(member)[0], hashed[0])

        # The directory is sound, can be rewritten, and real etcd goes on in it.
        done = run(UTL, "check", "old", cwd=folder)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        done = run(UTL, "defrag", "--data-dir", "old", cwd=folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        with self.moved(old, program=server) as again:
            holds_all(again)
            again.stop()
        # Ours takes it over. Of 3.4 only the snapshots are read, as by etcd 3.7.
        if not run(server, "--version", cwd=folder).stdout.startswith("etcd Version: 3.4."):
            with self.moved(old) as ours:
                holds_all(ours)
                ours.ctl("put", "more", "x")
                ours.restart()
                self.assertEqual(ours.ctl("get", "more", "--print-value-only").stdout, "x\n")
        # Its snapshot, restored by ours.
        ours = harness.Member(data_dir=folder / "restored")
        done = run(UTL, "snapshot", "restore", "saved.db", "--data-dir", str(ours.data_dir), "--initial-cluster",
                   f"default={ours.peer_url}", "--initial-advertise-peer-urls", ours.peer_url, cwd=folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        with ours:
            holds_all(ours)

    def moved(self, member, program=None):
        """The same member, started once more."""
        other = harness.Member(program=program, data_dir=member.data_dir)
        other.peer_url, other.client_url = member.peer_url, member.client_url
        return other

    def test_three_members_of_one_file_of_real_etcd(self):
        with Real() as real:
            write_history(real)
            hashed = hash_kv(real)
            real.ctl("snapshot", "save", str(self.dir / "real.db"))
        cluster = harness.Cluster()
        for member in cluster.members:
            done = run(UTL, "snapshot", "restore", "real.db", "--name", member.name, "--data-dir", str(member.data_dir),
                       "--initial-cluster", cluster.initial(), "--initial-advertise-peer-urls", member.peer_url, cwd=self.dir)
            self.assertEqual(done.returncode, 0, done.stderr)
        with cluster:
            for member in cluster.members:
                self.assertEqual(hash_kv(member), hashed)


if __name__ == "__main__":
    harness.main()
