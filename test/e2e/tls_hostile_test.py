#!/usr/bin/env python3
"""TLS under attack: sessions resumed and not, handshakes that never end, too large or weak ones; faults that are named."""

import http.client
import os
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

import certificates
import harness
from tls_test import LOCAL, REQUEST_SECONDS_MAX, TlsMember, context_for, version_page

HANDSHAKE_SECONDS = 10
CLOSED_SECONDS_MAX = 60  # of a slow machine
REQUEST = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def address_of(member):
    return "127.0.0.1", int(member.client_url.rsplit(":", 1)[1])


def client_hello():
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        ssl._create_unverified_context().wrap_bio(into, out).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def seconds_until_closed(connection):
    begin = time.monotonic()
    connection.settimeout(CLOSED_SECONDS_MAX)
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - begin


class Hostile(unittest.TestCase):
    @classmethod
    def make_files(cls):
        """Before the first test; tests run side by side, without setUpClass."""
        cls.folder = tempfile.TemporaryDirectory(prefix="etcd-tls-")
        cls.ca = certificates.Authority(cls.folder.name)
        cls.server = cls.ca.sign("server", "server", LOCAL)
        cls.client = cls.ca.sign("client", "alice", usage="clientAuth")
        cls.flags = [f"--cert-file={cls.server[0]}", f"--key-file={cls.server[1]}"]
        cls.demanding = [*cls.flags, f"--trusted-ca-file={cls.ca.file}", "--client-cert-auth"]

    def ask(self, member, context, session=None):
        """(was it resumed, the session it left)"""
        with context.wrap_socket(socket.create_connection(address_of(member), REQUEST_SECONDS_MAX),
                                 server_hostname="localhost", session=session) as tls:
            tls.sendall(REQUEST)
            answer = b""
            while piece := tls.recv(65536):
                answer += piece
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "))
            return tls.session_reused, tls.session

    def test_sessions_are_resumed(self):
        with TlsMember(*self.demanding) as member:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(version):
                    context = context_for(self.ca, self.client, version)
                    fresh, session = self.ask(member, context)
                    again, _ = self.ask(member, context, session)
                    self.assertEqual((fresh, again), (False, True))

    def test_a_revoked_client_resumes_nothing(self):
        crl = self.ca.revoke()
        with TlsMember(*self.demanding, f"--client-crl-file={crl}") as member:
            context = context_for(self.ca, self.client)
            _, session = self.ask(member, context)
            self.ca.revoke(self.client[0])
            with self.assertRaises((ssl.SSLError, ConnectionError, AssertionError)):
                self.ask(member, context, session)
            self.assertIsNotNone(member.log.wait_for("revoked", REQUEST_SECONDS_MAX))

    def test_handshakes_end_at_the_deadline(self):
        hello = client_hello()
        with TlsMember(*self.flags) as member:
            crowd = [socket.create_connection(address_of(member)) for _ in range(40)]
            for number, connection in enumerate(crowd):
                connection.sendall((b"", hello[:100], hello, b"\x16\3\1")[number % 4])
            self.assertEqual(version_page(member.client_url, context_for(self.ca)), 200)
            waited = [seconds_until_closed(connection) for connection in crowd]
            self.assertGreater(max(waited), HANDSHAKE_SECONDS / 4)  # they were given time
            self.assertEqual(version_page(member.client_url, context_for(self.ca)), 200)
            for connection in crowd:
                connection.close()

    def test_too_large(self):
        """What is announced costs nothing before it comes; a certificate of 100 KB nobody needs."""
        names = ",".join(f"DNS:host{number}.example.test" for number in range(4000))
        big = self.ca.sign("big", "alice", names)
        with TlsMember(*self.demanding) as member:
            with socket.create_connection(address_of(member), REQUEST_SECONDS_MAX) as connection:
                connection.sendall(b"\x16\3\1\x40\0\1\1\0\0\3\3" + bytes(1000))
                seconds_until_closed(connection)
            self.assertIsNotNone(member.log.wait_for("exceeds maximum", REQUEST_SECONDS_MAX))
            with self.assertRaises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
                version_page(member.client_url, context_for(self.ca, big))
            self.assertEqual(version_page(member.client_url, context_for(self.ca, self.client)), 200)

    def test_the_other_protocol(self):
        with TlsMember(*self.flags) as member, socket.create_connection(address_of(member)) as plain:
            plain.sendall(REQUEST)
            seconds_until_closed(plain)
            self.assertEqual(version_page(member.client_url, context_for(self.ca)), 200)
        with harness.Member() as member, socket.create_connection(address_of(member)) as secure:
            secure.sendall(client_hello())
            seconds_until_closed(secure)
            self.assertEqual(member.get("/version")[0], 200)

    def test_nothing_weak(self):
        """Versions and suites that Go's TLS has not either."""
        with TlsMember(*self.flags) as member:
            target = ["-connect", "%s:%d" % address_of(member)]
            for arguments in (["-tls1"], ["-tls1_1"], ["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
                              ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"],
                              ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM"],
                              ["-tls1_2", "-cipher", "aNULL:eNULL"], ["-tls1_3", "-groups", "ffdhe2048"]):
                arguments = [word + ":@SECLEVEL=0" if "-" in word[1:] or "NULL" in word else word for word in arguments]
                with self.subTest(arguments):
                    done = subprocess.run(["openssl", "s_client", *target, *arguments], stdin=subprocess.DEVNULL,
                                          capture_output=True, text=True, timeout=REQUEST_SECONDS_MAX)
                    self.assertNotIn("Cipher is TLS", done.stdout)
                    self.assertNotIn("Cipher is ECDHE", done.stdout)
                    self.assertNotIn("Cipher is AES", done.stdout)
                    self.assertNotEqual(done.returncode, 0)
            done = subprocess.run(["openssl", "s_client", *target], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=REQUEST_SECONDS_MAX)
            self.assertIn("Cipher is TLS_AES_128_GCM_SHA256", done.stdout)

    def test_no_renegotiation(self):
        with TlsMember(*self.flags) as member:
            done = subprocess.run(["openssl", "s_client", "-connect", "%s:%d" % address_of(member), "-tls1_2"], input="R\n",
                                  capture_output=True, text=True, timeout=REQUEST_SECONDS_MAX)
            self.assertIn("RENEGOTIATING", done.stdout + done.stderr)
            self.assertNotIn("verify return:1", (done.stdout + done.stderr).split("RENEGOTIATING")[1])
            self.assertEqual(version_page(member.client_url, context_for(self.ca)), 200)

    def test_files_name_themselves(self):
        folder = self.folder.name
        for flags, text in (([f"--cert-file={self.server[0]}", f"--key-file={folder}/none.key"],
                             f"open {folder}/none.key: no such file or directory"),
                            ([f"--cert-file={self.server[0]}", f"--key-file={folder}"], f"read {folder}: is a directory"),
                            ([*self.flags, f"--trusted-ca-file={folder}"], f"read {folder}: is a directory"),
                            ([*self.demanding, f"--client-crl-file={folder}/none.crl"],
                             f"open {folder}/none.crl: no such file or directory")):
            with self.subTest(text):
                member = TlsMember(*flags)
                self.addCleanup(member.remove)
                member.launch()
                self.assertNotEqual(member.wait(), 0)
                self.assertIn(text, member.log.text())

    def test_descriptors(self):
        """As Go's, the server takes as many as it may have."""
        def few():
            import resource
            _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
        member = TlsMember(*self.flags)
        member.limits = few
        with member:
            with open(f"/proc/{member.process.pid}/limits", encoding="ascii") as limits:
                soft, hard = next(line.split()[3:5] for line in limits if line.startswith("Max open files"))
            self.assertEqual(soft, hard)


if __name__ == "__main__":
    Hostile.make_files()
    harness.main(at_a_time=3)
