"""Members as processes that can be hurt: killed, frozen, starved, cut off, given a disk that fails."""

import mmap
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path

READY = b"ready to serve client requests"
READY_SECONDS_MAX = 60  # times --patience
LOG_BYTES_KEPT = 64 << 20  # of a member's log; the older half goes


class Member:
    def __init__(self, number, options, network):
        self.number = number
        self.name = f"m{number}"
        self.host = network.host(number)
        self.client_port = options.port + 2 * number
        self.peer_port = self.client_port + 1
        self.folder = Path(options.out, self.name)
        self.folder.mkdir(parents=True)
        self.network = network
        self.options = options
        self.process = None
        self.frozen = False
        self.excused_until = 0.0  # it may end by itself until then
        self.starts = 0
        self.log_path = self.folder / "log"
        self.faults_path = self.folder / "faults"
        self.faults_path.write_bytes(bytes(3))
        self.faults_file = open(self.faults_path, "r+b")
        self.faults = mmap.mmap(self.faults_file.fileno(), 3)

    @property
    def peer_url(self):
        return f"http://{self.host}:{self.peer_port}"

    def start(self, everybody):
        url = f"http://{self.host}:{self.client_port}"
        command = [self.options.server, f"--name={self.name}", f"--data-dir={self.folder / 'data'}",
                   f"--listen-client-urls={url}", f"--advertise-client-urls={url}", f"--listen-peer-urls={self.peer_url}",
                   f"--initial-advertise-peer-urls={self.peer_url}",
                   "--initial-cluster=" + ",".join(f"{member.name}={member.peer_url}" for member in everybody),
                   *self.options.flag]
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_KEPT:
            self.log_path.rename(self.folder / "log.old")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
        environment.update(LD_PRELOAD=self.options.shim, TORTURE_FAULTS=str(self.faults_path))
        with open(self.log_path, "ab") as log:
            self.log_from = log.tell()
            log.write(b"---- start %d\n" % self.starts)
            log.flush()
            self.process = subprocess.Popen(self.network.inside(self.number, command), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=environment)
        self.starts += 1
        self.frozen = False

    def log_since_start(self):
        with open(self.log_path, "rb") as log:
            log.seek(self.log_from)
            return log.read()

    def wait_ready(self):
        seconds_max = READY_SECONDS_MAX * self.options.patience
        deadline = time.monotonic() + seconds_max
        while READY not in self.log_since_start():
            if not self.alive():
                raise AssertionError(f"{self.name} ended with {self.process.returncode} at start; see {self.log_path}")
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.name} is not ready after {seconds_max:g} s; see {self.log_path}")
            time.sleep(0.02)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait()
        self.frozen = False

    def stop(self, seconds):
        """Its exit code after SIGTERM; None: it had to be killed."""
        self.thaw()
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def freeze(self):
        if self.alive():
            self.process.send_signal(signal.SIGSTOP)
            self.frozen = True

    def thaw(self):
        if self.frozen and self.alive():
            self.process.send_signal(signal.SIGCONT)
        self.frozen = False

    def limit(self, what, value):
        """The soft limit alone: it can be raised again."""
        if self.alive():
            hard = resource.prlimit(self.process.pid, what)[1]
            resource.prlimit(self.process.pid, what, (hard if value is None else value, hard))

    def status(self, name):
        """A number of /proc/PID/status, in bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        return 0

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def remove(self):
        if self.process is not None:
            self.kill()
        self.faults.close()
        self.faults_file.close()
        shutil.rmtree(self.folder / "data", ignore_errors=True)


class Loopback:
    """All members at 127.0.0.1: nothing can be cut."""
    can_cut = False

    def host(self, _):
        return "127.0.0.1"

    def inside(self, _, command):
        return command

    def heal(self):
        pass

    def remove(self):
        pass


class Namespaces:
    """Each member in a network namespace of its own, on one bridge; a cut is a route into nowhere. Needs root and `ip`."""
    can_cut = True

    def __init__(self, size):
        self.size = size
        self.id = f"t{os.getpid() % 100000}"
        self.net = f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
        self.cuts = set()
        self.names = []
        ip("link", "add", self.id, "type", "bridge")
        ip("addr", "add", f"{self.net}.254/24", "dev", self.id)
        ip("link", "set", self.id, "up")
        for number in range(size):
            name, veth = f"{self.id}m{number}", f"{self.id}v{number}"
            ip("netns", "add", name)
            self.names.append(name)
            ip("link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", veth, "master", self.id, "up")
            ip("-n", name, "addr", "add", f"{self.host(number)}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")

    def host(self, number):
        return f"{self.net}.{number + 1}"

    def inside(self, number, command):
        return ["ip", "netns", "exec", self.names[number], *command]

    def cut(self, a, b, both=True):
        """What `a` sends does not reach `b`; with `both` neither way."""
        for source, target in {(a, b), (b, a)} if both else {(a, b)}:
            if (source, target) not in self.cuts:
                ip("-n", self.names[source], "route", "add", "blackhole", self.host(target))
                self.cuts.add((source, target))

    def heal(self):
        for source, target in self.cuts:
            ip("-n", self.names[source], "route", "del", "blackhole", self.host(target))
        self.cuts.clear()

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)
        subprocess.run(["ip", "link", "del", self.id], check=False)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
