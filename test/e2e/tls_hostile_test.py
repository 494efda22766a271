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
from pathlib import Path

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


class Twins:
    """Authorities and leaves that all bear one name: which of them signed a leaf shows in nothing but the signature."""

    SUBJECT = "/CN=twin"
    AUTHORITY = "basicConstraints=critical,CA:TRUE\n"
    CLIENT = "extendedKeyUsage=clientAuth\n"

    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    def make(self, extensions, authority=None, days=30, bits=None, digest="sha256"):
        """(certificate, key), signed by that pair, or by itself."""
        self.count += 1
        key, request, settings, file = (self.folder / f"{self.count}.{end}" for end in ("key", "csr", "ext", "crt"))
        kind = ["RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}"] if bits else ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        settings.write_text(extensions + "subjectKeyIdentifier=none\nauthorityKeyIdentifier=none\n")  # which would tell
        certificates.openssl("genpkey", "-algorithm", *kind, "-out", key)
        certificates.openssl("req", "-new", "-key", key, "-subj", self.SUBJECT, "-out", request)
        by = ["-CA", authority[0], "-CAkey", authority[1]] if authority else ["-signkey", key]
        certificates.openssl("x509", "-req", "-in", request, *by, "-set_serial", self.count, "-days", days, f"-{digest}",
                             "-extfile", settings, "-out", file)
        return file, key

    def bundle(self, *authorities):
        file = self.folder / "bundle.crt"
        file.write_bytes(b"".join(authority[0].read_bytes() for authority in authorities))
        return file


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

    def test_who_bears_the_name_of_an_authority(self):
        """A leaf called like who signed it looks self-signed to OpenSSL. It is looked at as closely as any other."""
        folder = Path(self.folder.name) / "twins"
        folder.mkdir()
        twins = Twins(folder)
        good = twins.make(twins.AUTHORITY)
        between = twins.make(twins.AUTHORITY, good)
        signers = {
            "expired authority": twins.make(twins.AUTHORITY, days=-1),
            "no authority": twins.make("basicConstraints=critical,CA:FALSE\n"),
            "authority that may not sign": twins.make(twins.AUTHORITY + "keyUsage=critical,cRLSign\n"),
            "authority for servers": twins.make(twins.AUTHORITY + "extendedKeyUsage=serverAuth\n"),
            "weak authority": twins.make(twins.AUTHORITY, bits=1024),
            "authority with an unknown demand": twins.make(twins.AUTHORITY + "1.2.3.4=critical,ASN1:NULL\n"),
            "authority for some names": twins.make(twins.AUTHORITY + "nameConstraints=critical,permitted;DNS:x.invalid\n"),
        }
        unknown, expired = "signed by unknown authority", "has expired or is not yet valid"
        refused = {name: (twins.make(twins.CLIENT, signer, bits=2048 if "weak" in name else None), unknown)
                   for name, signer in signers.items()}
        refused |= {
            "stranger": (twins.make(twins.CLIENT, twins.make(twins.AUTHORITY)), unknown),
            "itself": (twins.make(twins.CLIENT), unknown),
            "expired leaf": (twins.make(twins.CLIENT, good, days=-1), expired),
            "for servers": (twins.make("extendedKeyUsage=serverAuth\n", good), "incompatible key usage"),
            "old digest": (twins.make(twins.CLIENT, good, digest="sha1"), ""),
            "weak key": (twins.make(twins.CLIENT, good, bits=1024), ""),
            "unknown demand": (twins.make(twins.CLIENT + "1.2.3.4=critical,ASN1:NULL\n", good), ""),
        }
        bundle = twins.bundle(*signers.values(), good, between)
        with TlsMember(*self.flags, f"--trusted-ca-file={bundle}", "--client-cert-auth") as member:
            for signer in (good, between):
                self.assertEqual(version_page(member.client_url, context_for(self.ca, twins.make(twins.CLIENT, signer))), 200)
            for name, (pair, why) in refused.items():
                with self.subTest(name):
                    seen = len(member.log.lines)
                    with self.assertRaises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
                        version_page(member.client_url, self.careless_context(pair))
                    line = member.log.wait_for("rejected connection", REQUEST_SECONDS_MAX, seen)
                    self.assertIsNotNone(line)
                    self.assertIn(why, line)

    def careless_context(self, pair):
        """Shows even a weak certificate."""
        context = context_for(self.ca)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.load_cert_chain(*map(str, pair))
        return context

    def test_a_server_that_bears_the_name_of_its_authority(self):
        folder = Path(self.folder.name) / "serving-twins"
        folder.mkdir()
        twins = Twins(folder)
        authority = twins.make(twins.AUTHORITY)
        usage = "extendedKeyUsage=serverAuth\nsubjectAltName="
        tls = [f"--cacert={authority[0]}", "--command-timeout=2s"]
        for names, believed in ((LOCAL, True), ("DNS:elsewhere.invalid,IP:192.0.2.7", False)):
            file, key = twins.make(usage + names + "\n", authority)
            with self.subTest(names), TlsMember(f"--cert-file={file}", f"--key-file={key}") as member:
                self.assertEqual(member.ctl("get", "a", *tls, check=False).returncode == 0, believed)

    def test_who_is_trusted_by_file(self):
        """An authority whose own is not in the file, and a leaf alone: as in Go, to be in the file is enough."""
        folder = Path(self.folder.name) / "trusted"
        folder.mkdir()
        twins = Twins(folder)
        root = certificates.Authority(folder, "root")
        between = twins.make(twins.AUTHORITY, (root.file, root.key))
        leaf, other = (root.sign(name, name, usage="clientAuth") for name in ("leaf", "other"))
        below = twins.make(twins.CLIENT, between)
        with TlsMember(*self.flags, f"--trusted-ca-file={twins.bundle(between, leaf)}", "--client-cert-auth") as member:
            for pair in (below, leaf):
                self.assertEqual(version_page(member.client_url, context_for(self.ca, pair)), 200)
            with self.assertRaises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
                version_page(member.client_url, context_for(self.ca, other))
            self.assertIsNotNone(member.log.wait_for("signed by unknown authority", REQUEST_SECONDS_MAX))

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
