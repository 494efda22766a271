#!/usr/bin/env python3
"""TLS beside real etcd's: which certificates either side believes, and what a scanner sees of the ports."""

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import certificates
import harness

REFERENCE = Path(os.environ["ETCD_REFERENCE"])
SERVERS = {"ours": harness.SERVER, "real": str(REFERENCE / "etcd")}
CTLS = {"ours": harness.CTL, "real": str(REFERENCE / "etcdctl")}
LOCAL = "DNS:localhost,IP:127.0.0.1"
SECONDS_MAX = 20
# What a scanner may see differently, and why.
SCAN_MAY_DIFFER = (
    r"^TLSv1\.2 .*(secp|x25519)",  # OpenSSL wants the certificate's own curve among the client's, Go does not
    r"^TLSv1\.\d +(rsa|ecdsa|ed)",  # the scanner finds a server's signatures by guessing
    r"^(Testing SSL server|Connected to)",
)


def intermediate(above):
    """An authority that `above` signed; what it signs is sent with its own certificate."""
    made = object.__new__(certificates.Authority)
    made.folder, made.name, made.serial = above.folder, "between", 5000
    made.file, made.key = above.folder / "between.crt", above.folder / "between.key"
    request, extensions = above.folder / "between.csr", above.folder / "between.ext"
    extensions.write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    certificates.openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", made.key)
    certificates.openssl("req", "-new", "-key", made.key, "-subj", "/CN=between", "-out", request)
    certificates.openssl("x509", "-req", "-in", request, "-CA", above.file, "-CAkey", above.key, "-set_serial", "77",
                         "-days", "30", "-extfile", extensions, "-out", made.file)
    return made


def with_chain(pair, authority):
    chain = pair[0].with_suffix(".chain.crt")
    chain.write_bytes(pair[0].read_bytes() + authority.file.read_bytes())
    return chain, pair[1]


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="etcd-tls-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.ca = certificates.Authority(cls.folder.name)
        stranger = certificates.Authority(cls.folder.name, "stranger")
        between = intermediate(cls.ca)
        sign = cls.ca.sign
        cls.server = sign("server", "server", LOCAL)
        thief = sign("thief", "mallory")
        cls.crl = cls.ca.revoke(thief[0])
        cls.clients = {
            "good": sign("good", "alice"), "expired": sign("expired", "alice", days=-1),
            "wrong CA": stranger.sign("wrong", "alice"),
            "revoked": thief, "for servers only": sign("serverish", "alice", usage="serverAuth"),
            "name of another host": sign("elsewhere", "alice", "DNS:elsewhere.invalid"),
            "address of another host": sign("there", "alice", "IP:192.0.2.7"),
            "its own address": sign("here", "alice", "IP:127.0.0.1"),
            "chain": with_chain(between.sign("leaf", "alice"), between),
            "chain without its middle": between.sign("bare", "alice"),
        }
        cls.hosts = {
            "good": cls.server, "expired": sign("s-expired", "localhost", LOCAL, days=-1),
            "wrong CA": stranger.sign("s-wrong", "localhost", LOCAL), "common name only": sign("s-cn", "localhost"),
            "name only": sign("s-name", "x", "DNS:localhost"), "address only": sign("s-address", "x", "IP:127.0.0.1"),
            "other name": sign("s-other", "x", "DNS:elsewhere.invalid"), "wildcard": sign("s-wild", "x", "DNS:*.localhost"),
            "for clients only": sign("s-client", "x", LOCAL, usage="clientAuth"),
            "chain": with_chain(between.sign("s-leaf", "x", LOCAL), between),
            "chain without its middle": between.sign("s-bare", "x", LOCAL),
        }

    def members(self, *flags):
        for name, program in SERVERS.items():
            yield name, harness.Member(*flags, program=program, client_url=f"https://127.0.0.1:{harness.free_port()}")

    def test_clients(self):
        """Who gets in, and how the log calls the reason."""
        answers = {name: {} for name in SERVERS}
        flags = [f"--cert-file={self.server[0]}", f"--key-file={self.server[1]}", f"--trusted-ca-file={self.ca.file}",
                 "--client-cert-auth", f"--client-crl-file={self.crl}"]
        for name, member in self.members(*flags):
            with member:
                for kind, pair in [*self.clients.items(), ("none", None)]:
                    answers[name][kind] = self.ask(member, pair)
        for kind in answers["real"]:
            with self.subTest(kind):
                self.assertEqual(answers["ours"][kind], answers["real"][kind])
        # Names in a client's certificate are looked at by members' ports only.
        self.assertEqual({kind for kind, answer in answers["ours"].items() if answer != "served"},
                         {"none", "expired", "wrong CA", "revoked", "for servers only", "chain without its middle"})

    def ask(self, member, pair):
        context = ssl.create_default_context(cafile=str(self.ca.file))
        if pair:
            context.load_cert_chain(*map(str, pair))
        seen = len(member.log.lines)
        try:
            address = ("127.0.0.1", int(member.client_url.rsplit(":", 1)[1]))
            with context.wrap_socket(socket.create_connection(address, SECONDS_MAX), server_hostname="localhost") as tls:
                tls.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if tls.recv(100).startswith(b"HTTP/1.1 200"):
                    return "served"
        except OSError:
            pass
        line = member.log.wait_for("rejected connection", SECONDS_MAX, seen)
        error = json.loads(line)["error"] if line else "nothing in the log"
        # What Go adds to a reason (times, numbers, the chain tried) is its own.
        error = re.sub(r"serial [0-9a-f]+", "serial X", error)
        return re.sub(r"(signed by unknown authority|expired or is not yet valid).*", r"\1", error)

    def test_hosts(self):
        """Which servers either etcdctl believes, by name and by address."""
        for kind, pair in self.hosts.items():
            url = f"https://127.0.0.1:{harness.free_port()}"
            with harness.Member(f"--cert-file={pair[0]}", f"--key-file={pair[1]}", client_url=url):
                for host in ("127.0.0.1", "localhost"):
                    codes = {}
                    for name, program in CTLS.items():
                        command = [program, f"--endpoints={url.replace('127.0.0.1', host)}", f"--cacert={self.ca.file}",
                                   "--command-timeout=2s", "get", "a"]
                        codes[name] = subprocess.run(command, capture_output=True, env=harness.clean_environment(),
                                                     timeout=SECONDS_MAX).returncode
                    with self.subTest(kind=kind, host=host):
                        self.assertEqual(codes["ours"], codes["real"])

    @unittest.skipUnless(shutil.which("sslscan"), "no sslscan")
    def test_a_scanners_view(self):
        views = {}
        for name, member in self.members(f"--cert-file={self.server[0]}", f"--key-file={self.server[1]}"):
            with member:
                command = ["sslscan", "--no-colour", "--show-sigs", member.client_url[8:]]
                text = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
            views[name] = [line for line in text.splitlines() if not any(re.search(may, line) for may in SCAN_MAY_DIFFER)]
        self.assertIn("TLSv1.1   disabled", views["ours"])
        self.assertEqual(views["ours"], views["real"])


if __name__ == "__main__":
    sys.exit(harness.main())
