#!/usr/bin/env python3
"""A crowd at the TLS port that never becomes clients: silent ones, half handshakes, noise, HTTP, hellos on the clear-text port.

usage: tls_crowd.py [--size 10000] [--flag --x=y]...

Each must be gone at the deadline; meanwhile a proper client is served each time within a second, and the member's memory stays
below 256 MB. Prints what was seen; exits 1 if a promise was broken. Needs 2 * size descriptors.
"""

import argparse
import http.client
import os
import resource
import selectors
import socket
import ssl
import sys
import tempfile
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "test/e2e"))
import certificates  # noqa: E402
import harness  # noqa: E402

HANDSHAKE_SECONDS = 10
SLACK_SECONDS = 5  # of a machine that has other things to do
SERVED_SECONDS_MAX = 1.0
RSS_MB_MAX = 256
HTTP = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"


def client_hello():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(into, out).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


class Served(threading.Thread):
    """Someone who does it right, again and again."""

    def __init__(self, url, authority):
        super().__init__()
        self.url, self.authority = url, authority
        self.done = threading.Event()
        self.times, self.failures = [], []

    def run(self):
        while not self.done.wait(0.05):
            begin = time.monotonic()
            try:
                context = ssl.create_default_context(cafile=str(self.authority.file)) if "https" in self.url else None
                kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
                connection = kind(self.url.split("//")[1], timeout=20, **({"context": context} if context else {}))
                connection.request("GET", "/version")
                connection.getresponse().read()
                connection.close()
            except OSError as error:
                self.failures.append(str(error))
            self.times.append(time.monotonic() - begin)


def crowd(url, what, size):
    """Opens them all, then waits until the member has closed the last: (seconds to open, seconds to the last close, left)."""
    address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
    selector = selectors.DefaultSelector()
    begin = time.monotonic()
    gone = 0

    def take(timeout):
        nonlocal gone
        for key, _ in selector.select(timeout):
            try:
                ended = not key.fileobj.recv(65536)
            except BlockingIOError:
                ended = False
            except OSError:
                ended = True
            if ended:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                gone += 1
    for number in range(size):
        connection = socket.create_connection(address, 20)
        try:
            connection.sendall(what(number))
        except OSError:
            pass
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
        if number % 64 == 0:
            take(0)
    opened = time.monotonic()
    while gone < size and time.monotonic() - opened < HANDSHAKE_SECONDS + SLACK_SECONDS:
        take(0.2)
    last = time.monotonic()
    for key in list(selector.get_map().values()):
        key.fileobj.close()
    return opened - begin, last - opened, size - gone


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--flag", action="append", default=[], help="for the member")
    parser.add_argument("--only", default="", help="the kinds whose name has this in it")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    hello = client_hello()
    kinds = [("silent", lambda _: b"", True), ("half a hello", lambda _: hello[:100], True),
             ("half a handshake", lambda _: hello, True),
             ("announces a hello of 16 MiB", lambda _: b"\x16\3\1\x40\0\1\xff\xff\xff\3\3", True),
             ("announces a hello of 40 KB", lambda _: b"\x16\3\1\x40\0\1\0\x9f\0\3\3" + b"x" * 16000, True),
             ("random bytes", lambda _: os.urandom(200), True),
             ("HTTP on the TLS port", lambda _: HTTP, True), ("hello on the clear-text port", lambda _: hello, False)]
    kinds = [kind for kind in kinds if options.only in kind[0]]
    broken = []
    with tempfile.TemporaryDirectory(prefix="etcd-crowd-") as folder:
        authority = certificates.Authority(folder)
        pair = authority.sign("server", "server", "DNS:localhost,IP:127.0.0.1")
        secure = [f"--cert-file={pair[0]}", f"--key-file={pair[1]}"]
        for name, what, tls in kinds:
            url = f"{'https' if tls else 'http'}://127.0.0.1:{harness.free_port()}"
            with harness.Member(*(secure if tls else []), *options.flag, client_url=url) as member:
                served = Served(url, authority)
                served.start()
                opening, closing, left = crowd(url, what, options.size)
                served.done.set()
                served.join()
                status = Path(f"/proc/{member.process.pid}/status").read_text(encoding="ascii")
                peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
            worst = max(served.times)
            print(f"{name}: {options.size} opened in {opening:.1f} s, the last closed {closing:.1f} s later, {left} left; "
                  f"peak RSS {peak:.0f} MB; {len(served.times)} proper requests meanwhile, the slowest {worst * 1000:.0f} ms, "
                  f"{len(served.failures)} failed {served.failures[:1] or ''}", flush=True)
            for wrong, text in ((left, "not closed at the deadline"), (peak > RSS_MB_MAX, "too much memory"),
                                (worst > SERVED_SECONDS_MAX, "a proper client waited"), (served.failures, "a request failed")):
                if wrong:
                    broken.append(f"{name}: {text}")
    for line in broken:
        print(f"BROKEN {line}")
    print(f"{len(kinds) * 4 - len(broken)} passed, {len(broken)} failed")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
