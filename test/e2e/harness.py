"""Starts members, runs the command line client, asks the HTTP pages: what every end-to-end test needs, standard library only.

Black box: the same tests run against real etcd. Which programs are used is told by the environment:
  ETCD_BIN            folder of etcd and etcdctl (default build/bin)
  ETCD_SERVER         the server instead of $ETCD_BIN/etcd
  ETCD_CTL            the client instead of $ETCD_BIN/etcdctl
  ETCD_TEST_PROGRAMS  folder of the compiled test clients (default build/test)
Nothing here sleeps: a wait is a wait for a line of the log, for the end of a process or for bytes on a socket, with a limit.
"""

import concurrent.futures
import fcntl
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("ETCD_BIN", TOP / "build/bin"))
SERVER = os.environ.get("ETCD_SERVER", str(BIN / "etcd"))
CTL = os.environ.get("ETCD_CTL", str(BIN / "etcdctl"))
PROGRAMS = Path(os.environ.get("ETCD_TEST_PROGRAMS", TOP / "build/test"))

START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 20
COMMAND_SECONDS_MAX = 60
READY = "ready to serve client requests"


def is_ours():
    """Whether the server is ours and not the reference: only ours keeps the promises that go beyond etcd's."""
    return os.path.realpath(SERVER) != os.path.realpath(Path(os.environ.get("ETCD_REFERENCE", "/nonexistent")) / "etcd")


PORTS = range(15000, 20000)  # below those the kernel gives to clients
taken = []  # the locked files of this process's ports


def free_port():
    """A port nobody listens on, ours until this process ends: other tests that run now see the lock."""
    folder = Path(tempfile.gettempdir(), f"etcd-e2e-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for port in random.sample(PORTS, len(PORTS)):
        lock = open(folder / str(port), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        taken.append(lock)
        return port
    raise AssertionError("no free port")


def clean_environment(extra=None):
    """No ETCD* of the caller's reaches a program under test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
    kept.update(extra or {})
    return kept


class Output:
    """The lines a process prints, gathered by a thread so that the pipe never fills; waiting is on a condition."""

    def __init__(self, stream):
        self.lines = []
        self.closed = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.gather, args=(stream,), daemon=True)
        self.thread.start()

    def gather(self, stream):
        for line in stream:
            with self.changed:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.closed = True
            self.changed.notify_all()
        stream.close()

    def wait_for(self, text, seconds, start=0):
        """The first line from number `start` on with `text` in it; None if the stream ends or the time is up before."""
        deadline = time.monotonic() + seconds
        with self.changed:
            seen = start
            while True:
                for line in self.lines[seen:]:
                    seen += 1
                    if text in line:
                        return line
                left = deadline - time.monotonic()
                if self.closed or left <= 0:
                    return None
                self.changed.wait(left)

    def text(self):
        with self.changed:
            return "\n".join(self.lines)


class Member:
    """One member with a data directory of its own. `with Member() as member:` starts it, waits until it is ready, stops it."""

    def __init__(self, *flags, data_dir=None, environment=None, name="default", limits=None, client_url=None):
        self.root = Path(tempfile.mkdtemp(prefix="etcd-e2e-"))
        self.data_dir = Path(data_dir) if data_dir else self.root / "data"
        self.client_url = client_url or f"http://127.0.0.1:{free_port()}"
        self.peer_url = f"http://127.0.0.1:{free_port()}"
        self.flags = list(flags)
        self.environment = environment or {}
        self.name = name
        self.limits = limits
        self.process = None
        self.log = None

    def command(self):
        return [SERVER, f"--name={self.name}", f"--data-dir={self.data_dir}", f"--listen-client-urls={self.client_url}",
                f"--advertise-client-urls={self.client_url}", f"--listen-peer-urls={self.peer_url}",
                f"--initial-advertise-peer-urls={self.peer_url}", f"--initial-cluster={self.name}={self.peer_url}"] + self.flags

    def launch(self):
        """Starts the process and does not wait for it to be ready."""
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=clean_environment(self.environment), cwd=self.root,
                                        preexec_fn=self.limits)
        self.log = Output(self.process.stdout)
        return self

    def start(self):
        self.launch()
        if not self.log.wait_for(READY, START_SECONDS_MAX):
            self.kill()
            raise AssertionError(f"the member did not become ready; its log:\n{self.log.text()}")
        return self

    def wait(self, seconds=STOP_SECONDS_MAX):
        """The exit code (negative: died of that signal); the log is complete afterwards."""
        code = self.process.wait(seconds)
        self.log.thread.join(seconds)
        return code

    def stop(self, number=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def kill(self):
        return self.stop(signal.SIGKILL)

    def restart(self):
        self.kill()
        return self.start()

    def remove(self):
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_):
        self.remove()

    # --- talking to it
    def ctl(self, *arguments, **options):
        return ctl(*arguments, endpoint=self.client_url, **options)

    def get(self, path, method="GET", body=None, headers=None):
        return http_request(self.client_url, path, method, body, headers)

    def log_objects(self):
        """The log as JSON objects; a line that is none fails the test."""
        return [json.loads(line) for line in self.log.text().splitlines() if line]


def ctl(*arguments, endpoint, stdin="", check=True, seconds=COMMAND_SECONDS_MAX, environment=None):
    """Runs the client; the result has returncode, stdout and stderr as text. With `check` a failure fails the test."""
    done = subprocess.run([CTL, f"--endpoints={endpoint}", *arguments], input=stdin, capture_output=True, text=True,
                          errors="surrogateescape", timeout=seconds, env=clean_environment(environment))
    if check and done.returncode != 0:
        raise AssertionError(f"etcdctl {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def http_request(url, path, method="GET", body=None, headers=None):
    """(status, headers, body) of one HTTP/1.1 request."""
    connection = http.client.HTTPConnection(url.split("//")[1], timeout=COMMAND_SECONDS_MAX)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def compare_seeds(seeds, compare, what):
    """The main() of a differential test: compare(seed) gives (how many were compared, the first difference or None)."""
    passed = failed = 0
    for seed in seeds:
        compared, difference = compare(seed)
        print(f"seed {seed}: {compared} {what} compared", flush=True)
        passed += compared
        if difference:
            failed += 1
            print(difference, flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


def run_server(*flags, environment=None, seconds=START_SECONDS_MAX, cwd=None):
    """Runs the server with wrong or informative flags: it is expected to end by itself. Returns the finished process."""
    with tempfile.TemporaryDirectory(prefix="etcd-e2e-") as scratch:
        return subprocess.run([SERVER, *flags], capture_output=True, text=True, timeout=seconds, cwd=cwd or scratch,
                              env=clean_environment(environment), stdin=subprocess.DEVNULL)


class Result(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


class Together(unittest.TestSuite):
    """Tests that mostly wait, each with members of its own: so many at a time, told about in their order."""

    def __init__(self, tests, at_a_time):
        super().__init__(tests)
        self.at_a_time = at_a_time

    def run(self, result, debug=False):
        with concurrent.futures.ThreadPoolExecutor(self.at_a_time) as pool:
            alone = [(test, pool.submit(test.run, unittest.TestResult())) for test in self]
            for test, future in alone:
                result.startTest(test)
                done = future.result()
                result.failures += done.failures
                result.errors += done.errors
                if done.skipped:
                    result.addSkip(test, done.skipped[0][1])
                elif done.wasSuccessful():
                    result.addSuccess(test)
                else:
                    result.stream.writeln("FAIL")
                result.stopTest(test)
        return result


def main(at_a_time=1):
    """Runs the tests of the calling file; the last line is `N passed, N failed`. Names given as arguments choose."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    wanted = sys.argv[1:]
    chosen = [test for group in suite for test in group if not wanted or any(want in test.id() for want in wanted)]
    chosen = Together(chosen, at_a_time) if at_a_time > 1 else unittest.TestSuite(chosen)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(chosen)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    print(f"{result.passed} passed, {failed} failed")
    sys.exit(1 if failed or not result.passed else 0)
