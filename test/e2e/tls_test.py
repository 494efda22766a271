#!/usr/bin/env python3
"""TLS on the client port: who gets in, who does not and what the log says of it; files that change; peers that say nothing."""

import http.client
import json
import os
import socket
import ssl
import tempfile
import threading
import unittest

import certificates
import harness
from raw_grpc import DATA, END_HEADERS, END_STREAM, HEADERS, Connection, field, frame, http_headers

LOCAL = "DNS:localhost,IP:127.0.0.1"
REQUEST_SECONDS_MAX = 20


class TlsMember(harness.Member):
    def __init__(self, *flags):
        super().__init__(*flags, client_url=f"https://127.0.0.1:{harness.free_port()}")


def context_for(authority, pair=None, version=None):
    context = ssl.create_default_context(cafile=str(authority.file)) if authority else ssl._create_unverified_context()
    if pair:
        context.load_cert_chain(str(pair[0]), str(pair[1]))
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def version_page(url, context):
    connection = http.client.HTTPSConnection(url.split("//")[1], context=context, timeout=REQUEST_SECONDS_MAX)
    try:
        connection.request("GET", "/version")
        return connection.getresponse().status
    finally:
        connection.close()


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="etcd-tls-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.ca = certificates.Authority(cls.folder.name)
        cls.stranger = certificates.Authority(cls.folder.name, "stranger")
        cls.server = cls.ca.sign("server", "server", LOCAL)
        cls.client = cls.ca.sign("client", "alice", usage="clientAuth")

    def flags(self, *more):
        return [f"--cert-file={self.server[0]}", f"--key-file={self.server[1]}", *more]

    def demanding(self, *more):
        return self.flags(f"--trusted-ca-file={self.ca.file}", "--client-cert-auth", *more)

    def refused(self, member, context, text):
        """The request fails, and the log says why."""
        seen = len(member.log.lines)
        with self.assertRaises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            version_page(member.client_url, context)
        line = member.log.wait_for(text, REQUEST_SECONDS_MAX, seen)
        self.assertIsNotNone(line, f"the log does not say {text!r}")
        self.assertIn("rejected connection on client endpoint", line)

    def test_server_certificate_alone(self):
        with TlsMember(*self.flags()) as member:
            self.assertEqual(version_page(member.client_url, context_for(self.ca)), 200)
            with self.assertRaises(ssl.SSLCertVerificationError):
                version_page(member.client_url, context_for(self.stranger))
            tls = [f"--cacert={self.ca.file}"]
            member.ctl("put", "a", "1", *tls)
            self.assertEqual(member.ctl("get", "a", "--print-value-only", *tls).stdout, "1\n")
            done = member.ctl("get", "a", "--command-timeout=1s", f"--cacert={self.stranger.file}", check=False)
            self.assertEqual(done.returncode, 1)

    def test_who_gets_in(self):
        expired = self.ca.sign("expired", "late", days=-1)
        foreign = self.stranger.sign("foreign", "alice")
        with TlsMember(*self.demanding()) as member:
            self.assertEqual(version_page(member.client_url, context_for(self.ca, self.client)), 200)
            self.refused(member, context_for(self.ca), "client didn't provide a certificate")
            self.refused(member, context_for(self.ca, foreign), "signed by unknown authority")
            self.refused(member, context_for(self.ca, expired), "has expired or is not yet valid")
            pair = [f"--cacert={self.ca.file}", f"--cert={self.client[0]}", f"--key={self.client[1]}"]
            member.ctl("put", "a", "1", *pair)
            plain = socket.create_connection(("127.0.0.1", int(member.client_url.rsplit(":", 1)[1])))
            with plain:
                plain.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertIsNotNone(member.log.wait_for("does not look like a TLS handshake", REQUEST_SECONDS_MAX))

    def test_allowed_names(self):
        named = self.ca.sign("named", "bob", "DNS:bob.example,IP:192.0.2.7")
        for flag, good, bad in (("--client-cert-allowed-hostname=bob.example", named, self.client),
                                ("--client-cert-allowed-hostname=nobody.example,192.0.2.7", named, self.client)):
            with self.subTest(flag), TlsMember(*self.demanding(flag)) as member:
                self.assertEqual(version_page(member.client_url, context_for(self.ca, good)), 200)
                self.refused(member, context_for(self.ca, bad), "client certificate authentication failed")

    def test_revoked(self):
        thief = self.ca.sign("thief", "mallory", usage="clientAuth")
        crl = self.ca.revoke(thief[0])
        with TlsMember(*self.demanding(f"--client-crl-file={crl}")) as member:
            self.assertEqual(version_page(member.client_url, context_for(self.ca, self.client)), 200)
            self.refused(member, context_for(self.ca, thief), "revoked")

    def test_trust_in_a_damaged_file(self):
        """As Go reads it: what is no block, or no base64, is passed over; a block must hold a certificate, whole."""
        other = self.stranger.sign("other", "bob", usage="clientAuth")
        mine, theirs = self.ca.file.read_text(), self.stranger.file.read_text()
        lines = theirs.splitlines(keepends=True)
        not_base64 = "".join([lines[0], "!!!!" + lines[1][4:], *lines[2:]])
        cut = "".join([*lines[:3], lines[-1]])
        key = self.stranger.key.read_text()
        trusted = self.folder.name + "/trusted.pem"
        for what, text, both in (("text between", mine + "words\n" + theirs + "more words", True),
                                 ("no base64", mine + not_base64, False), ("cut off", mine + theirs[:len(theirs) // 2], False)):
            with open(trusted, "w") as file:
                file.write(text)
            with self.subTest(what), TlsMember(*self.flags(f"--trusted-ca-file={trusted}", "--client-cert-auth")) as member:
                self.assertEqual(version_page(member.client_url, context_for(self.ca, self.client)), 200)
                if both:
                    self.assertEqual(version_page(member.client_url, context_for(self.ca, other)), 200)
                else:
                    self.refused(member, context_for(self.ca, other), "signed by unknown authority")
        for what, text in (("half a certificate", mine + cut), ("half a certificate first", cut + mine), ("a key", key + mine)):
            with open(trusted, "w") as file:
                file.write(text)
            member = TlsMember(*self.flags(f"--trusted-ca-file={trusted}", "--client-cert-auth")).launch()
            try:
                with self.subTest(what):
                    self.assertNotEqual(member.wait(harness.START_SECONDS_MAX), 0)
                    self.assertIn("x509: malformed", member.log.text())
            finally:
                member.remove()

    def test_pages_and_calls_over_http2(self):
        context = context_for(self.ca)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with TlsMember(*self.flags()) as member:
            wrap = lambda plain: context.wrap_socket(plain, server_hostname="127.0.0.1")
            with Connection(member.client_url, window=1 << 30, wrap=wrap) as connection:
                self.assertEqual(connection.socket.selected_alpn_protocol(), "h2")

                def ask(method, path, body=None):
                    """(the first byte of the answer's head, its body); 0x88 stands for 200, 0x8d for 404 (RFC 7541)"""
                    stream, connection.next_stream = connection.next_stream, connection.next_stream + 2
                    end = END_STREAM if body is None else 0
                    connection.send(frame(HEADERS, END_HEADERS | end, stream, http_headers(method, path)))
                    if body is not None:
                        connection.send(frame(DATA, END_STREAM, stream, body))
                    status, data = None, b""
                    while True:
                        kind, flags, number, payload = connection.read_frame()
                        if number != stream:
                            continue
                        if kind == HEADERS and status is None:
                            status = payload[0]
                        data += payload if kind == DATA else b""
                        if flags & END_STREAM:
                            return status, data

                status, body = ask(b"GET", "/version")
                self.assertEqual((status, "etcdserver" in json.loads(body)), (0x88, True))
                status, body = ask(b"POST", "/v3/kv/put", b'{"key":"Zm9v","value":"YmFy"}')
                self.assertEqual((status, json.loads(body)["header"]["revision"]), (0x88, "2"))
                status, body = ask(b"POST", "/v3/kv/range", b'{"key":"Zm9v"}')
                self.assertEqual((status, json.loads(body)["kvs"][0]["value"]), (0x88, "YmFy"))
                self.assertEqual(ask(b"GET", "/nope"), (0x8d, b"404 page not found\n"))
                status, body = ask(b"GET", "/metrics")
                self.assertEqual(status, 0x88)
                self.assertGreater(len(body), 30000)
                status, body = ask(b"HEAD", "/health")
                self.assertEqual(body, b"")
                self.assertIn(b"bar", connection.call("/etcdserverpb.KV/Range", field(1, b"foo")))
                status, body = ask(b"POST", "/v3/lease/keepalive", b'{"ID":"5"}')
                self.assertEqual((status, json.loads(body)["result"]["ID"]), (0x88, "5"))
            old = context_for(self.ca)
            old.set_alpn_protocols(["http/1.1"])
            self.assertEqual(version_page(member.client_url, old), 200)

    def test_both_on_one_port(self):
        address = f"127.0.0.1:{harness.free_port()}"
        urls = [f"http://{address}", f"https://{address}"]
        for order in (urls, urls[::-1]):
            with self.subTest(order), harness.Member(*self.flags(), client_url=",".join(order)):
                self.assertEqual(version_page(urls[1], context_for(self.ca)), 200)
                self.assertEqual(harness.http_request(urls[0], "/version")[0], 200)
                harness.ctl("put", "a", "1", endpoint=urls[0])
                got = harness.ctl("get", "a", "--print-value-only", f"--cacert={self.ca.file}", endpoint=urls[1])
                self.assertEqual(got.stdout, "1\n")

    def test_versions_and_suites(self):
        old, new = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
        with TlsMember(*self.flags("--tls-min-version=TLS1.3")) as member:
            self.assertEqual(version_page(member.client_url, context_for(self.ca, version=new)), 200)
            self.refused(member, context_for(self.ca, version=old), "unsupported versions")
        suite = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
        with TlsMember(*self.flags("--tls-max-version=TLS1.2", f"--cipher-suites={suite}")) as member:
            connection = socket.create_connection(("127.0.0.1", int(member.client_url.rsplit(":", 1)[1])))
            with context_for(self.ca).wrap_socket(connection, server_hostname="localhost") as tls:
                self.assertEqual(tls.cipher()[0], "ECDHE-ECDSA-AES256-GCM-SHA384")

    def test_self_made(self):
        with TlsMember("--auto-tls") as member:
            self.assertEqual(version_page(member.client_url, context_for(None)), 200)
            key = member.data_dir / "fixtures/client/key.pem"
            self.assertEqual(key.stat().st_mode & 0o777, 0o600)
            made = key.read_bytes()
            self.assertEqual(version_page(member.client_url, self.trusting(member)), 200)
            member.restart()
            self.assertEqual(key.read_bytes(), made)

    @staticmethod
    def trusting(member):
        return ssl.create_default_context(cafile=str(member.data_dir / "fixtures/client/cert.pem"))

    def test_files_that_do_not_fit(self):
        nothing = os.path.join(self.folder.name, "nothing.pem")
        missing = f"open {nothing}: no such file or directory"
        for flags, text in (((f"--cert-file={nothing}", f"--key-file={self.server[1]}"), missing),
                            ((f"--cert-file={self.server[0]}", f"--key-file={self.client[1]}"), "private key does not match"),
                            ((f"--cert-file={self.server[1]}", f"--key-file={self.server[1]}"), "failed to find any PEM data"),
                            (self.demanding(f"--trusted-ca-file={nothing}"), missing)):
            with self.subTest(text):
                member = TlsMember(*flags)
                self.addCleanup(member.remove)
                member.launch()
                self.assertEqual(member.wait(), 1)
                self.assertIn(text, member.log.text())

    def test_rotation(self):
        """Leaf and authority change under load; no request fails, and who was trusted before is not any more."""
        folder = tempfile.TemporaryDirectory(prefix="etcd-tls-")
        self.addCleanup(folder.cleanup)
        first, second = certificates.Authority(folder.name, "first"), certificates.Authority(folder.name, "second")
        both = os.path.join(folder.name, "both.crt")
        with open(both, "wb") as file:
            file.write(first.file.read_bytes() + second.file.read_bytes())
        pairs = [authority.sign(f"{authority.name}-leaf", "leaf", LOCAL) for authority in (first, second)]
        live = {name: os.path.join(folder.name, f"live.{name}") for name in ("crt", "key", "ca")}

        def install(pair, ca):
            for name, source in (("crt", pair[0]), ("key", pair[1]), ("ca", ca)):
                with open(live[name] + ".new", "wb") as file:
                    file.write(open(source, "rb").read())
                os.rename(live[name] + ".new", live[name])

        install(pairs[0], first.file)
        flags = [f"--cert-file={live['crt']}", f"--key-file={live['key']}", f"--trusted-ca-file={live['ca']}",
                 "--client-cert-auth"]
        with TlsMember(*flags) as member:
            old = ssl.create_default_context(cafile=both)
            old.load_cert_chain(*map(str, pairs[0]))
            new = ssl.create_default_context(cafile=both)
            new.load_cert_chain(*map(str, pairs[1]))
            failures, done = [], threading.Event()

            def load():
                while not done.is_set():
                    try:
                        version_page(member.client_url, old)
                    except OSError as error:
                        failures.append(error)
            threads = [threading.Thread(target=load) for _ in range(4)]
            for thread in threads:
                thread.start()
            try:
                install(pairs[0], both)  # the new authority is trusted beside the old one
                install(pairs[1], both)  # the leaf is the new one's
                self.assertEqual(version_page(member.client_url, new), 200)
            finally:
                done.set()
                for thread in threads:
                    thread.join()
            self.assertEqual(failures, [])
            install(pairs[1], second.file)
            self.assertEqual(version_page(member.client_url, new), 200)
            self.refused(member, old, "signed by unknown authority")
            with open(live["crt"], "w", encoding="ascii") as file:
                file.write("half a fi")
            self.assertEqual(version_page(member.client_url, new), 200)
            self.assertIn("those read before stay in use", member.log.text())

    def test_who_says_nothing(self):
        with TlsMember(*self.flags()) as member:
            port = int(member.client_url.rsplit(":", 1)[1])
            silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
            for number, connection in enumerate(silent):
                connection.sendall((b"", b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01", os.urandom(64))[number % 4])
            self.assertEqual(version_page(member.client_url, context_for(self.ca)), 200)
            for connection in silent:
                connection.close()


if __name__ == "__main__":
    harness.main()
