#!/usr/bin/env python3
"""etcd gateway beside real etcd's: exit codes, what is said where, flags with their types and defaults, and the log's lines."""

import json
import os
import re
import socket
import subprocess
import sys
import unittest

import harness

PROGRAMS = {"ours": harness.SERVER, "real": os.path.join(os.environ["ETCD_REFERENCE"], "etcd")}
SECONDS_MAX = 20
CASES = (
    "gateway", "gateway --help", "gateway -h", "gateway help", "gateway help start", "gateway stat", "gateway start --help",
    "gateway start -h", "gateway start -x", "gateway start --nothing", "gateway start --endpoints", "gateway --discovery-srv=x",
    "gateway --version", "gateway start --retry-delay=x", "gateway start --insecure-discovery=maybe",
    "gateway start --endpoints=infra0.example.com", "gateway start --endpoints=http://infra0.example.com",
    "gateway start --endpoints=", "gateway start --endpoints=,", "gateway start a b --endpoints=c",
    "gateway start --listen-addr=foo", "gateway start --listen-addr=:PORT", "gateway start --listen-addr=[::1",
    "gateway start --listen-addr=127.0.0.1:99999", "gateway start --listen-addr=192.0.2.1:PORT",
    "gateway start --listen-addr=127.0.0.1:PORT --endpoints=127.0.0.1:PORT",
    "gateway start --listen-addr=127.0.0.1:PORT --endpoints=127.0.0.1:1,http://127.0.0.1:PORT",
    "gateway start --listen-addr=localhost:PORT --endpoints=127.0.0.1:PORT",
)


def without_words(text):
    """Without what is said in words of one's own: briefs of commands and what flags are for."""
    lines = []
    for line in text.splitlines():
        flag = re.match(r"(\s+(?:-\w, )?--[\w-]+(?: \w+)?)\s", line)
        if flag:
            default = re.search(r"\(default .*\)$", line)
            line = f"{flag[1]} {default[0] if default else ''}"
        lines.append(re.sub(r"^(  start) .*", r"\1", line))
    first_section = next((i for i, line in enumerate(lines) if line.startswith(("Usage:", "Error:"))), 0)
    return lines[first_section:]


def shape(line):
    """What a log line says, without times, addresses of ours and where it was written."""
    entry = json.loads(line)
    return entry["level"], entry["msg"], sorted(set(entry) - {"ts", "caller"})


def run(program, words):
    done = subprocess.run([program, *words.split()], capture_output=True, text=True, timeout=SECONDS_MAX,
                          env=harness.clean_environment(), stdin=subprocess.DEVNULL)
    logged = [shape(line) for line in done.stderr.splitlines() if line.startswith("{")]
    said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("{"))
    return done.returncode, without_words(done.stdout), without_words(said), logged


class Gateway(unittest.TestCase):
    def test_what_ends_by_itself(self):
        for case in CASES:
            words = case.replace("PORT", str(harness.free_port()))
            with self.subTest(case):
                self.assertEqual(run(PROGRAMS["ours"], words), run(PROGRAMS["real"], words))

    def test_the_log(self):
        """Two backends, one of which is down, comes and goes."""
        logs = {}
        for name, program in PROGRAMS.items():
            port, gone = harness.free_port(), harness.free_port()
            with socket.create_server(("127.0.0.1", harness.free_port())) as there:
                command = [program, "gateway", "start", f"--listen-addr=127.0.0.1:{port}", "--retry-delay=500ms",
                           f"--endpoints=http://127.0.0.1:{gone},127.0.0.1:{there.getsockname()[1]}"]
                process = subprocess.Popen(command, stderr=subprocess.PIPE, env=harness.clean_environment())
                try:
                    log = harness.Output(process.stderr)
                    ready = log.wait_for("ready to proxy", SECONDS_MAX)
                    self.assertEqual(json.loads(ready)["endpoints"],
                                     [f"127.0.0.1:{gone}", f"127.0.0.1:{there.getsockname()[1]}"])
                    socket.create_connection(("127.0.0.1", port)).close()
                    lines = [log.wait_for("deactivated endpoint", SECONDS_MAX), log.wait_for("stay inactive", SECONDS_MAX)]
                    for line in lines:
                        entry = json.loads(line)
                        self.assertEqual((entry["address"], entry["interval"]), (f"127.0.0.1:{gone}", "500ms"))
                        self.assertEqual(entry["error"], f"dial tcp 127.0.0.1:{gone}: connect: connection refused")
                    with socket.create_server(("127.0.0.1", gone)):
                        lines.append(log.wait_for('"activated"', SECONDS_MAX))
                    first = [line for line in log.lines[:log.lines.index(ready) + 1]]
                    logs[name] = [shape(line) for line in first + lines]
                finally:
                    process.kill()
                    process.wait()
                    log.thread.join()
        self.assertEqual(logs["ours"], logs["real"])


if __name__ == "__main__":
    sys.exit(harness.main())
