#!/usr/bin/env python3
"""The Procfile's lines, as a process manager runs them, with other ports and folders: a cluster of three, of which a member is
killed and started again as the README tells."""

import re
import shutil
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
from harness import wait_until


class Procfile:
    """name -> the command of its line."""

    def __init__(self, scratch):
        text = (harness.TOP / "Procfile").read_text()
        ports = {port: str(harness.free_port()) for port in sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", text)))}
        text = re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", text)
        text = text.replace("build/bin/etcd", harness.SERVER).replace("--data-dir build/", f"--data-dir {scratch}/")
        lines = [line.split(":", 1) for line in text.splitlines() if line and not line.startswith("#")]
        self.commands = {name: command.strip() for name, command in lines}
        self.members = [name for name in self.commands if name != "gateway"]
        self.urls = {name: re.search(r"--listen-client-urls (\S+)", self.commands[name])[1] for name in self.members}
        self.gateway = re.search(r"--listen-addr (\S+)", self.commands["gateway"])[1]
        self.processes = {}

    def start(self, name):
        process = subprocess.Popen(["sh", "-c", "exec " + self.commands[name]], stdin=subprocess.DEVNULL, cwd=harness.TOP,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=harness.clean_environment())
        self.processes[name] = process, harness.Output(process.stdout)

    def wait_ready(self, name):
        _, log = self.processes[name]
        if not log.wait_for(harness.READY, harness.START_SECONDS_MAX):
            raise AssertionError(f"{name} did not become ready:\n{log.text()}")

    def end(self, name, number):
        process, _ = self.processes[name]
        process.send_signal(number)
        process.wait(harness.STOP_SECONDS_MAX)

    def end_all(self):
        for process, _ in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()


class ProcfileTest(unittest.TestCase):
    def test_three_members_of_which_one_is_killed_and_comes_back(self):
        scratch = Path(tempfile.mkdtemp(prefix="etcd-e2e-"))
        procfile = Procfile(scratch)
        self.assertEqual(procfile.members, ["infra1", "infra2", "infra3"])
        try:
            for name in procfile.commands:
                procfile.start(name)
            for name in procfile.members:
                procfile.wait_ready(name)

            def put(key):
                wait_until("put through the gateway", lambda: harness.ctl(
                    "put", key, "value", endpoint=procfile.gateway, check=False).returncode == 0)

            def at(name, key):
                return harness.ctl("get", key, "--print-value-only", endpoint=procfile.urls[name]).stdout.strip()

            put("before")
            for number in (signal.SIGKILL, signal.SIGTERM):
                procfile.end("infra2", number)
                put(f"without after {number}")
                procfile.start("infra2")
                procfile.wait_ready("infra2")
                self.assertEqual([at("infra2", key) for key in ("before", f"without after {number}")], ["value", "value"])
            self.assertEqual(len(harness.ctl("member", "list", endpoint=procfile.urls["infra1"]).stdout.splitlines()), 3)
        finally:
            procfile.end_all()
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    harness.main()
