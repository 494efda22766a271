#!/usr/bin/env python3
"""What the client does over time: watches that outlive their member, lines typed while events come, leases kept alive, a
snapshot saved, completion in bash, and each load of the generator for a moment."""

import hashlib
import re
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness

WAIT_S = 15


class Running:
    """A client that goes on until it is stopped; its lines are gathered."""

    def __init__(self, member, *arguments, environment=None):
        self.process = subprocess.Popen([harness.CTL, f"--endpoints={member.client_url}", *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        env=harness.clean_environment(environment))
        self.output = harness.Output(self.process.stdout)

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def expect(self, text):
        found = self.output.wait_for(text, WAIT_S)
        if found is None:
            raise AssertionError(f"no {text!r} in:\n{self.output.text()}")
        return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.stdin.close()
        self.process.wait(WAIT_S)
        self.output.thread.join(WAIT_S)


class Watch(unittest.TestCase):
    def test_a_watch_goes_on_behind_the_last_event_when_the_member_comes_back(self):
        with harness.Member() as member:
            member.ctl("put", "k0", "old")
            with Running(member, "watch", "--prefix", "k", "--rev", "2") as watch:
                watch.expect("old")
                member.ctl("put", "k1", "before")
                watch.expect("before")
                member.restart()
                member.ctl("put", "k2", "after")
                watch.expect("after")
                member.restart()
                member.ctl("put", "k3", "last")
                watch.expect("last")
            lines = watch.output.text().splitlines()
            self.assertEqual([line for line in lines if line.startswith("k")], ["k0", "k1", "k2", "k3"])
            self.assertEqual(watch.process.returncode, -signal.SIGINT)

    def test_lines_typed_while_events_come(self):
        with harness.Member() as member, Running(member, "watch", "-i") as watch:
            watch.type("watch a")
            watch.type("nonsense")
            watch.expect("Invalid command nonsense (only support watch)")
            watch.type("watch b --prev-kv -- sh -c 'echo got $ETCD_WATCH_KEY at $ETCD_WATCH_REVISION'")
            watch.type("progress")
            watch.expect("progress notify: 1")
            member.ctl("put", "a", "first")
            watch.expect("first")
            member.ctl("put", "b", "second")
            watch.expect('got "b" at 3')
            watch.process.stdin.close()
            self.assertEqual(watch.process.wait(WAIT_S), 3)
            watch.expect("Error: error reading watch request line: EOF")

    def test_a_compacted_start_and_a_failing_program_end_it(self):
        with harness.Member() as member:
            for value in "abcd":
                member.ctl("put", "k", value)
            member.ctl("compaction", "4")
            done = member.ctl("watch", "k", "--rev", "2", check=False)
            self.assertEqual((done.returncode, done.stdout), (5, ""))
            self.assertIn("watch was canceled (etcdserver: mvcc: required revision has been compacted)", done.stderr)
            done = member.ctl("watch", "k", "--rev", "5", "--", "sh", "-c", "exit 7", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn('command ["sh" "-c" "exit 7"] error (exit status 7)', done.stderr)


class Lease(unittest.TestCase):
    def test_kept_alive_across_a_restart_until_it_is_revoked(self):
        with harness.Member() as member:
            lease = member.ctl("lease", "grant", "6").stdout.split()[1]
            member.ctl("put", "k", "v", "--lease", lease)
            with Running(member, "lease", "keep-alive", lease) as keeper:
                keeper.expect(f"lease {lease} keepalived with TTL(6)")
                seen = len(keeper.output.lines)
                member.restart()
                self.assertIsNotNone(keeper.output.wait_for("keepalived with TTL(6)", WAIT_S, seen))
                self.assertIn("attached keys([k])", member.ctl("lease", "timetolive", lease, "--keys").stdout)
                member.ctl("lease", "revoke", lease)
                keeper.expect(f"lease {lease} expired or revoked.")
                self.assertEqual(keeper.process.wait(WAIT_S), 0)
            self.assertEqual(member.ctl("get", "k").stdout, "")


class Snapshot(unittest.TestCase):
    def test_saved_whole_or_not_at_all(self):
        with harness.Member() as member, tempfile.TemporaryDirectory(prefix="etcd-e2e-") as folder:
            member.ctl("put", "k", "v")
            path = Path(folder, "saved.db")
            done = member.ctl("snapshot", "save", str(path))
            self.assertIn(f"Snapshot saved at {path}\n", done.stdout)
            content = path.read_bytes()
            self.assertEqual(hashlib.sha256(content[:-32]).digest(), content[-32:])
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
            member.ctl("snapshot", "save", str(Path(folder, "none", "x.db")), check=False)
            self.assertEqual([entry.name for entry in Path(folder).iterdir()], ["saved.db"])


class Completion(unittest.TestCase):
    def test_bash_asks_the_program(self):
        script = harness.ctl("completion", "bash", endpoint="127.0.0.1:1").stdout
        words = ["etcdctl lea", "etcdctl lease k", "etcdctl get --sort"]
        tries = "".join(f'COMP_LINE="{w}"; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({w}); '
                        'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); __etcdctl_candidates; echo "${COMPREPLY[@]}"\n' for w in words)
        program = f'etcdctl() {{ "{harness.CTL}" "$@"; }}\n'
        done = subprocess.run(["bash", "-c", script + program + tries], capture_output=True, text=True, timeout=WAIT_S)
        self.assertEqual(done.stdout.split("\n"), ["lease", "keep-alive", "--sort-by", ""], done.stderr)


class Benchmark(unittest.TestCase):
    def test_each_load(self):
        program = harness.CTL.removesuffix("etcdctl") + "benchmark"
        with harness.Member() as member:
            for command, reports in (("watch --streams=3 --watch-per-stream=5 --put-total=20", 2),
                                     ("watch-get --watchers=20 --events=3", 1),
                                     ("watch-latency --put-total=20 --put-rate=200", 2), ("lease-keepalive --total=100", 1),
                                     ("stm --total=50 --keys=5 --keys-per-txn=3", 1),
                                     ("stm --total=50 --keys=5 --keys-per-txn=3 --isolation=ss", 1),
                                     ("stm --total=10 --stm-locker=lock-client", 1)):
                with self.subTest(command):
                    whole = [program, f"--endpoints={member.client_url}", "--clients=4", "--conns=2", *command.split()]
                    done = subprocess.run(whole, capture_output=True, text=True, timeout=harness.COMMAND_SECONDS_MAX,
                                          env=harness.clean_environment())
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertEqual(len(re.findall(r"^Summary:$", done.stdout, re.MULTILINE)), reports)
                    self.assertNotIn("Error distribution", done.stdout)


if __name__ == "__main__":
    harness.main()
