#!/usr/bin/env python3
"""etcd gateway: bytes both ways, half-close, back-pressure, backends that fail and come back, discovery, what ends it."""

import collections
import contextlib
import hashlib
import json
import os
import queue
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest

import certificates
import dns_server
import harness

SECONDS_MAX = 20
BIG = 24 << 20
PIECE = os.urandom(1 << 20)


class Gateway:
    """A running gateway; leaving the block kills it."""

    def __init__(self, *flags, environment=None):
        self.port = harness.free_port()
        self.command = [harness.SERVER, "gateway", "start", f"--listen-addr=127.0.0.1:{self.port}", *flags]
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, env=harness.clean_environment(environment))
        self.log = harness.Output(self.process.stdout)

    def __enter__(self):
        if not self.log.wait_for("ready to proxy client requests", SECONDS_MAX):
            self.__exit__()
            raise AssertionError(f"the gateway is not ready:\n{self.log.text()}")
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.thread.join()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), SECONDS_MAX)

    def expect(self, text, start=0):
        line = self.log.wait_for(text, SECONDS_MAX, start)
        if line is None:
            raise AssertionError(f"the gateway does not say {text!r}:\n{self.log.text()}")
        return json.loads(line)

    def rss_kb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


class Backend:
    """Accepts connections and gives each to `serve(connection)` in a thread of its own."""

    def __init__(self, serve, port=None, context=None):
        self.serve = serve
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", port or harness.free_port()))
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.accepted = 0
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.accepted += 1
                threading.Thread(target=self.run, args=(connection,), daemon=True).start()

    def run(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.settimeout(SECONDS_MAX)
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection:
                self.serve(connection)

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def digest_to_end(connection):
    digest, total = hashlib.sha256(), 0
    while piece := connection.recv(1 << 16):
        digest.update(piece)
        total += len(piece)
    return digest.hexdigest(), total


def send_big(connection, half_close=True):
    digest = hashlib.sha256()
    for _ in range(BIG // len(PIECE)):
        connection.sendall(PIECE)
        digest.update(PIECE)
    if half_close:
        connection.shutdown(socket.SHUT_WR)
    return digest.hexdigest(), BIG


def say(text):
    """A backend that says one thing and leaves once the client has."""
    def serve(connection):
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    return serve


def echo(connection):
    while piece := connection.recv(1 << 16):
        connection.sendall(piece)


def heard(gateway):
    with gateway.connect() as connection:
        return connection.recv(100)


def closed_by_other(connection):
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


class Bytes(unittest.TestCase):
    def test_half_close(self):
        """The backend sees the end of the request and answers; the client still reads."""
        def serve(connection):
            connection.sendall(json.dumps(digest_to_end(connection)).encode())
        with Backend(serve) as backend, Gateway(f"--endpoints={backend.address}") as gateway, gateway.connect() as client:
            sent = send_big(client)
            with client.makefile("rb") as answer:
                self.assertEqual(json.loads(answer.read()), list(sent))

    def test_both_ways_at_once(self):
        results = queue.Queue()

        def serve(connection):
            sent = []
            sender = threading.Thread(target=lambda: sent.append(send_big(connection)))
            sender.start()
            received = digest_to_end(connection)
            sender.join()
            results.put((sent[0], received))
        with Backend(serve) as backend, Gateway(f"--endpoints={backend.address}") as gateway, gateway.connect() as client:
            answers = []
            reader = threading.Thread(target=lambda: answers.append(digest_to_end(client)))
            reader.start()
            sent = send_big(client)
            reader.join(SECONDS_MAX)
            self.assertEqual(results.get(timeout=SECONDS_MAX), (answers[0], sent))

    def test_nobody_reads(self):
        """What a client does not take stops its backend and costs the gateway no memory; others are served."""
        def serve(connection):
            connection.sendall(json.dumps(send_big(connection, half_close=False)).encode())
        with Backend(serve) as backend, Gateway(f"--endpoints={backend.address}") as gateway:
            slow = [gateway.connect() for _ in range(8)]
            with gateway.connect() as quick:
                for _ in range(8):
                    self.assertTrue(quick.recv(1 << 16))
            if not harness.SANITIZED:
                self.assertLess(gateway.rss_kb(), 64 << 10)
            digest, total = hashlib.sha256(), 0
            with slow[0] as connection:
                while total < BIG:
                    piece = connection.recv(min(1 << 16, BIG - total))
                    self.assertTrue(piece)
                    digest.update(piece)
                    total += len(piece)
                self.assertEqual(json.loads(connection.recv(1000)), [digest.hexdigest(), BIG])
            for connection in slow:
                connection.close()

    def test_small_messages(self):
        with Backend(echo) as backend, Gateway(f"--endpoints={backend.address}") as gateway:
            connections = [gateway.connect() for _ in range(20)]
            for number in range(50):
                for i, connection in enumerate(connections):
                    connection.sendall(b"%d-%d" % (number, i))
                for i, connection in enumerate(connections):
                    self.assertEqual(connection.recv(100), b"%d-%d" % (number, i))
            for connection in connections:
                connection.close()

    def test_a_reset_reaches_the_other_side(self):
        ended = threading.Event()

        def serve(connection):
            closed_by_other(connection)
            ended.set()
        with Backend(serve) as backend, Gateway(f"--endpoints={backend.address}") as gateway:
            client = gateway.connect()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            self.assertTrue(ended.wait(SECONDS_MAX))


class Backends(unittest.TestCase):
    def test_members(self):
        """One of two is killed, nobody notices but the log; when it is back it is used again."""
        with harness.Member() as first, harness.Member() as second:
            for member, value in ((first, "one"), (second, "two")):
                member.ctl("put", "who", value)
            with Gateway(f"--endpoints={first.client_url},{second.client_url}", "--retry-delay=200ms") as gateway:
                def ask():
                    answer = harness.http_request(f"http://127.0.0.1:{gateway.port}", "/v3/kv/range", "POST", '{"key":"d2hv"}')
                    return json.loads(answer[2])["kvs"][0]["value"]
                self.assertEqual({ask() for _ in range(4)}, {"b25l", "dHdv"})
                first.kill()
                self.assertEqual({ask() for _ in range(4)}, {"dHdv"})
                address = first.client_url.removeprefix("http://")
                line = gateway.expect("deactivated endpoint")
                self.assertEqual((line["level"], line["address"], line["interval"]), ("warn", address, "200ms"))
                self.assertEqual(line["error"], f"dial tcp {address}: connect: connection refused")
                line = gateway.expect("failed to activate endpoint (stay inactive for another interval)")
                self.assertEqual((line["level"], line["address"]), ("warn", address))
                first.start()
                self.assertEqual(gateway.expect('"activated"')["address"], address)
                self.assertEqual({ask() for _ in range(4)}, {"b25l", "dHdv"})
                done = harness.ctl("get", "who", "--print-value-only", endpoint=f"127.0.0.1:{gateway.port}")
                self.assertIn(done.stdout, ("one\n", "two\n"))

    def test_none_answers(self):
        with Gateway(f"--endpoints=127.0.0.1:{harness.free_port()}") as gateway:
            for _ in range(2):
                with gateway.connect() as client:
                    self.assertTrue(closed_by_other(client))
            self.assertEqual(gateway.expect("deactivated endpoint")["interval"], "1m0s")
            self.assertEqual(gateway.log.text().count("deactivated endpoint"), 1)


class Discovery(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="etcd-gateway-")
        cls.addClassCleanup(folder.cleanup)
        cls.ca = certificates.Authority(folder.name)
        cls.good = cls.ca.sign("good", "x", "DNS:example.test")
        cls.other = cls.ca.sign("other", "x", "DNS:elsewhere.test")
        cls.foreign = certificates.Authority(folder.name, "stranger").sign("foreign", "x", "DNS:example.test")

    def gateway(self, dns, *flags):
        return Gateway("--discovery-srv=example.test", "--retry-delay=200ms", *flags,
                       environment={"ETCD_DNS_SERVERS": dns.address})

    @staticmethod
    def tls(pair):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, pair))
        return context

    def test_priorities_and_weights(self):
        with contextlib.ExitStack() as stack:
            backends = {text: stack.enter_context(Backend(say(text))) for text in (b"heavy", b"light", b"spare")}
            records = [(5, 0, backends[b"spare"].port, "spare.test"), (1, 90, backends[b"heavy"].port, "heavy.test"),
                       (1, 10, backends[b"light"].port, "light.test")]
            names = {f"{name}.test": ["127.0.0.1"] for name in ("heavy", "light", "spare")}
            dns = stack.enter_context(dns_server.DnsServer({"_etcd-client-blue._tcp.example.test": records}, names))
            gateway = stack.enter_context(self.gateway(dns, "--discovery-srv-name=blue", "--insecure-discovery"))
            found = gateway.expect("discovered cluster from SRV")
            self.assertEqual(found["srv-server"], "example.test")
            urls = {f"http://{name}.test.:{backends[name.encode()].port}" for name in ("heavy", "light", "spare")}
            self.assertEqual(set(found["endpoints"]), urls)
            self.assertIn("spare", found["endpoints"][-1])
            ready = gateway.expect("ready to proxy client requests")
            self.assertEqual([f"http://{address}" for address in ready["endpoints"]], found["endpoints"])
            self.assertIn(("_etcd-client-ssl-blue._tcp.example.test", dns_server.SRV), dns.asked)
            counts = collections.Counter(heard(gateway) for _ in range(150))
            self.assertEqual(set(counts), {b"heavy", b"light"})
            self.assertGreater(counts[b"heavy"], counts[b"light"])
            backends[b"heavy"].close()
            self.assertEqual({heard(gateway) for _ in range(5)}, {b"light"})
            backends[b"light"].close()
            self.assertEqual({heard(gateway) for _ in range(5)}, {b"spare"})
            again = stack.enter_context(Backend(say(b"light"), backends[b"light"].port))
            self.assertIn("light.test.", gateway.expect('"activated"')["address"])
            self.assertEqual({heard(gateway) for _ in range(5)}, {b"light"})
            self.assertGreater(again.accepted, 5)

    def test_certificates(self):
        """Clear text and certificates that do not verify are left out; and later, on each connection."""
        with contextlib.ExitStack() as stack:
            backends = [stack.enter_context(Backend(say(name), context=self.tls(pair)))
                        for name, pair in ((b"good", self.good), (b"other", self.other), (b"foreign", self.foreign))]
            plain = stack.enter_context(Backend(say(b"plain")))
            dns = stack.enter_context(dns_server.DnsServer(
                {"_etcd-client-ssl._tcp.example.test": [(1, 1, backend.port, "host.test") for backend in backends],
                 "_etcd-client._tcp.example.test": [(1, 1, plain.port, "host.test")]}, {"host.test": ["127.0.0.1"]}))
            gateway = stack.enter_context(self.gateway(dns, f"--trusted-ca-file={self.ca.file}"))
            line = gateway.expect("failed to validate discovered endpoints")
            self.assertEqual(line["endpoints"], [f"https://host.test.:{backends[0].port}"])
            self.assertIn(f'"http://host.test.:{plain.port}" is insecure', line["error"])
            self.assertIn("x509: certificate signed by unknown authority", line["error"])
            self.assertEqual(gateway.expect("ready to proxy")["endpoints"], [f"host.test.:{backends[0].port}"])
            trusting = ssl.create_default_context(cafile=str(self.ca.file))

            def ask():
                with trusting.wrap_socket(gateway.connect(), server_hostname="example.test") as client:
                    return client.recv(100)
            self.assertEqual(ask(), b"good")
            seen = len(gateway.log.lines)
            backends[0].context = self.tls(self.foreign)

            def refused():
                with gateway.connect() as client:
                    client.settimeout(0.2)
                    with contextlib.suppress(TimeoutError):
                        return closed_by_other(client)
            harness.wait_until("the backend is left out", refused)
            self.assertIn("unknown authority", gateway.expect("deactivated endpoint", seen)["error"])
            backends[0].context = self.tls(self.good)
            gateway.expect('"activated"', seen)
            self.assertEqual(ask(), b"good")

    def test_nothing_found(self):
        with dns_server.DnsServer() as dns:
            done = harness.run_server("gateway", "start", "--discovery-srv=example.test",
                                      environment={"ETCD_DNS_SERVERS": dns.address})
        self.assertEqual(done.returncode, 1)
        where = f"on {dns.address}: no such host"
        self.assertIn(f"dns lookup errors: lookup _etcd-client-ssl._tcp.example.test {where} and "
                      f"lookup _etcd-client._tcp.example.test {where}\n", done.stderr)

    def test_unreadable_authority(self):
        """No certificate verifies: what is left are the endpoints of the flags."""
        with Backend(say(b"flag")) as backend, dns_server.DnsServer(
                {"_etcd-client-ssl._tcp.example.test": [(1, 1, 1, "host.test")]}, {"host.test": ["127.0.0.1"]}) as dns:
            with self.gateway(dns, "--trusted-ca-file=/nonexistent/ca.pem", f"--endpoints={backend.address}") as gateway:
                line = gateway.expect("failed to validate discovered endpoints")
                self.assertEqual(line["error"], "open /nonexistent/ca.pem: no such file or directory")
                self.assertEqual(heard(gateway), b"flag")


class StartAndEnd(unittest.TestCase):
    def test_refused(self):
        for flags, text in (
                (["--endpoints=infra0.example.com"], 'error parsing endpoint "infra0.example.com"'),
                (["--endpoints="], "no endpoints found\n"),
                (["--listen-addr=here"], "failed to validate listen address: here\n"),
                (["--listen-addr=nowhere.invalid:1"], "failed to resolve listen host: nowhere.invalid\n"),
                (["--endpoints=http://nowhere.invalid:2379"], "failed to resolve endpoint host: nowhere.invalid\n"),
                (["--listen-addr=127.0.0.1:23790", "--endpoints=127.0.0.1:1,http://localhost:23790"],
                 "SRV or endpoint (localhost:23790->127.0.0.1:23790) should not resolve to the gateway listen addr "
                 "(127.0.0.1:23790)\n")):
            with self.subTest(text):
                with dns_server.DnsServer(hosts={"localhost": ["127.0.0.1"]}) as dns:
                    done = harness.run_server("gateway", "start", *flags, environment={"ETCD_DNS_SERVERS": dns.address})
                self.assertEqual((done.returncode, done.stdout), (1, text))

    def test_help_and_wrong_flags(self):
        done = harness.run_server("gateway")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("Usage:\n  etcd gateway [command]\n", done.stdout)
        done = harness.run_server("gateway", "--discovery-srv=example.com")
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith("Error: unknown flag: --discovery-srv\n"))

    def test_grpc_proxy_comes_later(self):
        for words in ((), ("start",), ("start", "--endpoints=127.0.0.1:2379"), ("--help",)):
            done = harness.run_server("grpc-proxy", *words)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("grpc-proxy comes in a later version", done.stderr)

    def test_port_in_use(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = harness.run_server("gateway", "start", f"--listen-addr=127.0.0.1:{port}", "--endpoints=127.0.0.1:1")
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.endswith(f"listen tcp 127.0.0.1:{port}: bind: address already in use\n"))

    def test_end(self):
        """After SIGTERM who is silent is closed, nobody new is taken; it dies of the signal."""
        with Backend(echo) as backend, Gateway(f"--endpoints={backend.address}") as gateway:
            with gateway.connect() as client:
                client.sendall(b"x")
                self.assertEqual(client.recv(1), b"x")
                gateway.process.send_signal(signal.SIGTERM)
                gateway.expect("received signal; shutting down")
                self.assertTrue(closed_by_other(client))
            self.assertEqual(gateway.process.wait(SECONDS_MAX), -signal.SIGTERM)
            with self.assertRaises(ConnectionRefusedError):
                gateway.connect()


if __name__ == "__main__":
    harness.main()
