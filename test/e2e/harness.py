"""Starts members, runs the command line client, asks the HTTP pages: what every end-to-end test needs, standard library only.

Black box: the same tests run against real etcd. Which programs are used is told by the environment:
  ETCD_BIN            folder of etcd and etcdctl (default build/bin)
  ETCD_SERVER         the server instead of $ETCD_BIN/etcd
  ETCD_CTL            the client instead of $ETCD_BIN/etcdctl
  ETCD_TEST_PROGRAMS  folder of the compiled test clients (default build/test)
  SANITIZER           what a sanitizer build has in it, as `make SAN=...` sets it; else empty
A wait is a wait for a line of the log, for the end of a process or for bytes on a socket, with a limit; what can only be asked
for again and again (wait_until) is asked for at an interval.
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
import ssl
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

SANITIZED = bool(os.environ.get("SANITIZER"))  # programs of a sanitizer build: slower, and their memory is not what we count
PATIENCE = 4 if SANITIZED else 1  # every limit of time times this
START_SECONDS_MAX = 20 * PATIENCE
STOP_SECONDS_MAX = 20 * PATIENCE
COMMAND_SECONDS_MAX = 60 * PATIENCE
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


class Credentials:
    """What a client shows and believes: files of an authority and of a certificate with its key."""

    def __init__(self, authority, pair):
        self.ctl_flags = [f"--cacert={authority}", f"--cert={pair[0]}", f"--key={pair[1]}"]
        self.context = ssl.create_default_context(cafile=str(authority))
        self.context.load_cert_chain(*map(str, pair))


class Member:
    """One member with a data directory of its own. `with Member() as member:` starts it, waits until it is ready, stops it.
    With `credentials` its clients come over TLS and show them."""

    def __init__(self, *flags, data_dir=None, environment=None, name="default", limits=None, client_url=None, program=None,
                 peer_scheme="http", credentials=None):
        self.root = Path(tempfile.mkdtemp(prefix="etcd-e2e-"))
        self.data_dir = Path(data_dir) if data_dir else self.root / "data"
        self.client_url = client_url or f"{'https' if credentials else 'http'}://127.0.0.1:{free_port()}"
        self.peer_url = f"{peer_scheme}://127.0.0.1:{free_port()}"
        self.credentials = credentials
        self.flags = list(flags)
        self.environment = environment or {}
        self.name = name
        self.program = program or SERVER
        self.limits = limits
        self.process = None
        self.log = None

    def command(self):
        return [str(self.program), f"--name={self.name}", f"--data-dir={self.data_dir}",
                f"--listen-client-urls={self.client_url}", f"--advertise-client-urls={self.client_url}",
                f"--listen-peer-urls={self.peer_url}", f"--initial-advertise-peer-urls={self.peer_url}",
                f"--initial-cluster={self.name}={self.peer_url}"] + self.flags

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

    def pause(self):
        """It holds its ports and connections and does nothing until resume()."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def runs(self):
        return self.process is not None and self.process.poll() is None

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
        return ctl(*arguments, endpoint=self.client_url, credentials=self.credentials, **options)

    def get(self, path, method="GET", body=None, headers=None, seconds=COMMAND_SECONDS_MAX):
        return http_request(self.client_url, path, method, body, headers, seconds, self.credentials)

    def status(self):
        """The Status answer through the gateway (64-bit numbers are texts); None if it does not answer."""
        try:
            code, _, body = self.get("/v3/maintenance/status", "POST", "{}", seconds=5)
        except (OSError, http.client.HTTPException):
            return None
        return json.loads(body) if code == 200 else None

    def hash(self, revision=0):
        """(hash, revision) of what it holds up to `revision` (0: everything); None if it does not answer."""
        try:
            asked = json.dumps({"revision": revision})
            code, _, body = self.get("/v3/maintenance/hashkv", "POST", asked, seconds=10)
        except (OSError, http.client.HTTPException):
            return None
        answer = json.loads(body)
        return (answer["hash"], answer.get("hash_revision", "0")) if code == 200 else None

    def log_objects(self):
        """The log as JSON objects; a line that is none fails the test."""
        return [json.loads(line) for line in self.log.text().splitlines() if line]


def ctl(*arguments, endpoint, stdin="", check=True, seconds=COMMAND_SECONDS_MAX, environment=None, credentials=None):
    """Runs the client; the result has returncode, stdout and stderr as text. With `check` a failure fails the test."""
    shown = credentials.ctl_flags if credentials else []
    done = subprocess.run([CTL, f"--endpoints={endpoint}", *shown, *arguments], input=stdin, capture_output=True, text=True,
                          errors="surrogateescape", timeout=seconds, env=clean_environment(environment))
    if check and done.returncode != 0:
        raise AssertionError(f"etcdctl {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def http_connection(url, seconds, credentials=None):
    """To the host of `url`; it connects with its first request."""
    if credentials:
        return http.client.HTTPSConnection(url.split("//")[1], timeout=seconds, context=credentials.context)
    return http.client.HTTPConnection(url.split("//")[1], timeout=seconds)


def http_request(url, path, method="GET", body=None, headers=None, seconds=COMMAND_SECONDS_MAX, credentials=None):
    """(status, headers, body) of one HTTP/1.1 request."""
    connection = http_connection(url, seconds, credentials)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


LOOK_SECONDS = 0.03


def wait_until(what, condition, seconds=30):
    """The first true value of condition(), which is asked at an interval."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(LOOK_SECONDS)


class Cluster:
    """Members that know each other. `with Cluster() as cluster:` starts all, waits until they are ready, removes them at the
    end. `programs`: which server each member is; else `size` times ours."""

    def __init__(self, *flags, size=3, programs=None, peer_scheme="http", credentials=None):
        self.flags = list(flags)
        self.peer_scheme, self.credentials = peer_scheme, credentials
        self.members = [Member(name=f"m{i}", program=program, peer_scheme=peer_scheme, credentials=credentials)
                        for i, program in enumerate(programs or [None] * size)]
        self.made = len(self.members)  # counted for names; those that left are not in `members`
        self.gone = []
        initial = self.initial()
        for member in self.members:
            member.flags = [f"--initial-cluster={initial}", *flags]

    def initial(self):
        return ",".join(f"{member.name}={member.peer_url}" for member in self.members)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for member in self.members + self.gone:
            member.remove()

    def start(self):
        """Those that do not run, all at once: one alone would wait for the others."""
        fresh = [member for member in self.members if not member.runs()]
        for member in fresh:
            member.launch()
        for member in fresh:
            if not member.log.wait_for(READY, START_SECONDS_MAX):
                raise AssertionError(f"{member.name} did not become ready; its log:\n{member.log.text()}")

    def alive(self):
        return [member for member in self.members if member.runs()]

    def endpoints(self):
        return ",".join(member.client_url for member in self.alive())

    def ctl(self, *arguments, **options):
        return ctl(*arguments, endpoint=self.endpoints(), credentials=self.credentials, **options)

    def put(self, key, value, at=None):
        """Until it is acknowledged: an election may come in between."""
        wait_until(f"put {key}", lambda: (at or self).ctl("put", key, value, check=False).returncode == 0)

    def leader(self, among=None):
        """The member that says of itself that it leads, once those that run agree on it."""
        def look():
            asked = [(member, member.status()) for member in among or self.alive()]
            if any(status is None or status.get("leader", "0") == "0" for _, status in asked):
                return None
            if len({status["leader"] for _, status in asked}) > 1:
                return None
            return next((member for member, status in asked if status["header"]["member_id"] == status["leader"]), None)
        return wait_until("one leader", look)

    def followers(self):
        leader = self.leader()
        return [member for member in self.alive() if member is not leader]

    def wait_for_equal_hashes(self, seconds=30, revision=0):
        """All that run hold the same data of the same revision (0: the newest, at rest); gives (hash, revision)."""
        def look():
            hashes = {member.hash(revision) for member in self.alive()}
            return hashes.pop() if len(hashes) == 1 else None
        return wait_until("equal hashes and revisions", look, seconds)

    # --- who belongs to it
    def listed(self):
        """The members as the cluster lists them: name -> its JSON object. Ids are numbers."""
        listed = json.loads(self.ctl("member", "list", "-w", "json").stdout)["members"]
        return {member.get("name") or member["peerURLs"][0]: member for member in listed}

    def id_of(self, member):
        listed = self.listed()
        found = listed.get(member.name) or listed.get(member.peer_url)
        return f"{found['ID']:x}"

    def add(self, learner=False, program=None, ask=None):
        """Tells the cluster (or the member `ask`) of one more; it is not started. Waits while the members have not been
        connected for long enough."""
        member = Member(name=f"m{self.made}", program=program, peer_scheme=self.peer_scheme, credentials=self.credentials)
        arguments = ["member", "add", member.name, f"--peer-urls={member.peer_url}"] + (["--learner"] if learner else [])

        def added():
            done = (ask or self).ctl(*arguments, check=False)
            if done.returncode != 0 and "unhealthy cluster" not in done.stderr:
                raise AssertionError(f"member add: {done.stderr}")
            return done.returncode == 0
        try:
            wait_until("healthy enough for one more", added)
        except BaseException:
            member.remove()
            raise
        self.made += 1
        self.members.append(member)
        member.flags = [f"--initial-cluster={self.initial()}", "--initial-cluster-state=existing", *self.flags]
        return member

    def take_out(self, member):
        """It is removed from the cluster, running or not."""
        number = self.id_of(member)
        self.forget(member)
        wait_until("removal", lambda: self.ctl("member", "remove", number, check=False).returncode == 0
                   or number not in {f"{listed['ID']:x}" for listed in self.listed().values()})

    def forget(self, member):
        """It is no part of the cluster any more; its process and files end with the cluster's."""
        self.members.remove(member)
        self.gone.append(member)


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
