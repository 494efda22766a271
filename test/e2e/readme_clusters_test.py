#!/usr/bin/env python3
"""The README's chapter on clusters, run as it is written: its addresses and folders stand for ports and folders of this
machine."""

import re
import shlex
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
from harness import wait_until

CHAPTER = (harness.TOP / "README.md").read_text().split("\n## Clusters\n")[1].split("\n## ")[0]
WRITTEN_ID = "8211f1d0f64f3269"
PROGRAMS = {"etcd": harness.SERVER, "etcdctl": harness.CTL, "etcdutl": str(harness.BIN / "etcdutl")}


def commands():
    """The words of each command, block by block."""
    blocks = re.findall(r"```sh\n(.*?)```", CHAPTER, re.DOTALL)
    return [[shlex.split(line) for line in block.replace("\\\n", " ").strip().splitlines()] for block in blocks]


class Host:
    """A machine of the chapter: 10.0.0.N."""

    def __init__(self, number, scratch):
        self.number = number
        self.folder = Path(tempfile.mkdtemp(prefix=f"{number}-", dir=scratch))
        self.peer, self.client, self.local = (f"127.0.0.1:{harness.free_port()}" for _ in range(3))
        self.process = self.log = None

    def start(self, words):
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        cwd=self.folder, env=harness.clean_environment())
        self.log = harness.Output(self.process.stdout)

    def wait_ready(self):
        if not self.log.wait_for(harness.READY, harness.START_SECONDS_MAX):
            raise AssertionError(f"machine {self.number} serves nobody:\n{self.log.text()}")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()


class Clusters(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.mkdtemp(prefix="etcd-e2e-")
        self.addCleanup(shutil.rmtree, self.scratch, ignore_errors=True)
        self.hosts = {}
        self.add_hosts(1, 2, 3, 4)

    def add_hosts(self, *numbers):
        for number in numbers:
            self.hosts[number] = Host(number, self.scratch)
            self.addCleanup(self.hosts[number].kill)

    def here(self, words, number, written=None):
        """A command of machine `written`, for machine `number` of this test. What tells of the whole cluster stays."""
        host, out, whole = self.hosts[number], [], False
        for word in words:
            if written and not whole:
                word = f"m{number}" if word == f"m{written}" else word.replace(f"10.0.0.{written}:", f"10.0.0.{number}:")
            whole = word == "--initial-cluster"
            word = re.sub(r"10\.0\.0\.(\d+):2380", lambda found: self.hosts[int(found[1])].peer, word)
            word = re.sub(r"10\.0\.0\.(\d+):2379", lambda found: self.hosts[int(found[1])].client, word)
            word = word.replace("127.0.0.1:2379", host.local).replace("/var/lib/etcd", str(host.folder / "data"))
            out.append(word)
        out[0] = PROGRAMS[out[0]]
        return out

    def run_here(self, words, number=1, written=None, check=True):
        done = subprocess.run(self.here(words, number, written), capture_output=True, text=True, cwd=self.scratch,
                              timeout=harness.COMMAND_SECONDS_MAX, env=harness.clean_environment())
        if check:
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def put(self, key):
        wait_until(f"put {key}", lambda: self.run_here(
            ["etcdctl", "--endpoints", "http://10.0.0.1:2379", "put", key, "value"], check=False).returncode == 0)

    def at(self, number, key):
        asked = ["etcdctl", "--endpoints", f"http://10.0.0.{number}:2379", "get", key, "--print-value-only"]
        return self.run_here(asked).stdout

    def check_status(self, words):
        table = self.run_here(words).stdout
        self.assertEqual(table.count(" http://127.0.0.1:"), 3, table)

    def test_the_chapter(self):
        (start, status), (listing, remove, add, start_new), (save, look, restore) = commands()
        for number in (1, 2, 3):
            self.hosts[number].start(self.here(start, number, written=1))
        for number in (1, 2, 3):
            self.hosts[number].wait_ready()
        self.put("first")
        self.check_status(status)

        self.hosts[3].kill()
        self.put("without one")
        listed = self.run_here(listing).stdout.splitlines()
        dead = next(line.split(",")[0] for line in listed if ", m3, " in line)
        self.assertIn(WRITTEN_ID, remove)
        self.run_here([dead if word == WRITTEN_ID else word for word in remove])
        # The others must have been connected for some seconds.
        added = wait_until("the new member is known", lambda: (
            lambda done: done.stdout if done.returncode == 0 else None)(self.run_here(add, check=False)))
        told = re.search(r'ETCD_INITIAL_CLUSTER="(.*)"', added)[1]
        written = self.here(start_new, 4)
        self.assertEqual(set(told.split(",")), set(written[written.index("--initial-cluster") + 1].split(",")))
        self.hosts[4].start(written)
        self.hosts[4].wait_ready()
        wait_until("the new member has everything", lambda: self.at(4, "first") == "value\n")
        self.check_status(status)

        self.run_here(save)
        self.assertIn("3.7.0", self.run_here(look).stdout)
        for number in (1, 2, 4):
            self.hosts[number].kill()
        self.add_hosts(1, 2, 3)
        for number in (1, 2, 3):
            self.run_here(restore, number, written=1)
            self.hosts[number].start(self.here(start, number, written=1))
        for number in (1, 2, 3):
            self.hosts[number].wait_ready()
            self.assertEqual(self.at(number, "first"), "value\n")
        self.put("second")


if __name__ == "__main__":
    harness.main()
