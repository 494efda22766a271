#!/usr/bin/env python3
"""The pages of the peer port, asked of a member of ours and of one of etcd's in the same cluster, each as leader and as
follower: good requests and bad ones get the same status, headers and body. ETCD_REFERENCE names the folder of real etcd.

Left out, where etcd's handler dies on the request and only the connection ends: versions and peer URLs that are none, a lease
request without its inner message, and the end of the connection behind `error processing raft message`."""

import http.client
import json
import os
import re
import struct
import unittest
from pathlib import Path

import harness

REFERENCE = Path(os.environ.get("ETCD_REFERENCE", harness.TOP / "build/reference"))
METHODS = ("GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH")
PATHS = ("/", "/members", "/members/", "/members/promote", "/members/promote/", "/members/promote/x", "/members/promote/12",
         "/members/promote/18446744073709551616", "/members/promote/-1", "/members/promote/+1", "/members/promote/0012",
         "/members/promote/12/", "/members/promote//12", "/members/hashkv", "/members/hashkv/", "/members/other", "/version",
         "/version/", "/version?x=1", "/leases", "/leases/", "/leases/x", "/leases/internal/", "/downgrade/enabled",
         "/downgrade/enabled/", "/downgrade/", "/downgrade", "/raft", "/raft/", "/raft/x", "/raft/probing", "/raft/probing/",
         "/raft/snapshot", "/raft/snapshot/", "/raft/stream", "/raft/stream/", "/raft/stream/msgapp", "/raft/stream/msgapp/",
         "/raft/stream/msgapp/zz", "/raft/stream/x/1", "/raft/stream/message/1234", "/raft/stream/message/a/b", "/health",
         "/metrics", "/v3/kv/range", "/v2/keys", "/v2/members", "/debug/vars", "//members", "/./members", "/members/../version",
         "/%6dembers", "*", "/members#x", "/Members")


def number(value):
    """As protobuf's varint."""
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(tag, value):
    if isinstance(value, int):
        return number(tag << 3) + number(value)
    return number(tag << 3 | 2) + number(len(value)) + value


def ask(url, method, path, headers, body):
    """(status, headers, body): without what HTTP/1.1 lets every server choose."""
    connection = http.client.HTTPConnection(url.split("//")[1], timeout=30)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body or None)
        response = connection.getresponse()
        given = {name.lower(): value for name, value in response.getheaders() if name.lower() not in ("date", "content-length")}
        streams = response.status == 200 and path.startswith("/raft/stream/")
        return response.status, given, "" if streams else response.read().decode(errors="replace")
    finally:
        connection.close()


def plain(text, me):
    text = re.sub(r'"Now":"[^"]*"', '"Now":"TIME"', text)
    return text.replace(f"{me:x}", "ME")


class PeerPages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        real = REFERENCE / "etcd"
        cls.cluster = harness.Cluster("--pre-vote=true", programs=[real, Path(harness.SERVER), real])
        cls.enterClassContext(cls.cluster)
        cls.real, cls.ours = cls.cluster.members[:2]
        cls.cluster.put("a", "1")
        cls.lease = int(cls.cluster.ctl("lease", "grant", "600").stdout.split()[1], 16)
        cls.cluster.wait_for_equal_hashes()
        _, headers, body = ask(cls.real.peer_url, "GET", "/members", {}, None)
        cls.cluster_id = headers["x-etcd-cluster-id"]
        cls.ids = {member["name"]: member["id"] for member in json.loads(body)}
        third = cls.ids["m2"]
        cls.good = {"X-Server-Version": "3.7.1", "X-Min-Cluster-Version": "3.0.0", "X-Etcd-Cluster-ID": cls.cluster_id}
        cls.from_third = {**cls.good, "X-Server-From": f"{third:x}"}
        cls.third = third

    def answer(self, member, method, path, headers, body):
        me = self.ids[member.name]
        headers = {name: value.replace("ME", f"{me:x}") for name, value in headers.items()}
        status, given, text = ask(member.peer_url, method, path, headers, body(me) if callable(body) else body)
        return status, given, plain(text, me)

    def compare(self, method, path, headers=None, body=None):
        with self.subTest(method=method, path=path, headers=headers, body=body if not callable(body) else body(7)):
            real, ours = (self.answer(member, method, path, headers or {}, body) for member in (self.real, self.ours))
            self.assertEqual(real, ours)

    def lead(self, member):
        """Makes it the leader."""
        number = f"{self.ids[member.name]:x}"

        def moved():
            leader = self.cluster.leader()
            if leader is not member:
                leader.ctl("move-leader", number, check=False)
            return leader is member
        harness.wait_until(f"{member.name} leads", moved)

    def test_paths_and_methods(self):
        self.lead(self.cluster.members[2])
        for path in PATHS:
            for method in METHODS:
                self.compare(method, path, {}, b"" if method in ("POST", "PUT", "PATCH") else None)

    def test_headers_of_raft_requests(self):
        third = f"{self.third:x}"
        changed = {"X-Server-Version": ("2.9.9", "3.0.0", "3.6.0", "9.0.0", "3.7.1-rc.0+git", ""),
                   "X-Min-Cluster-Version": ("3.7.5", "3.8.0", "4.0.0", ""),
                   "X-Etcd-Cluster-ID": ("1", self.cluster_id.upper() + "X", "0" + self.cluster_id, ""),
                   "X-Raft-To": ("77", "zz", ""), "X-Server-From": ("zz", "1234", "")}
        variants = [{}, {"X-Etcd-Cluster-ID": self.cluster_id}, self.from_third]
        for name, values in changed.items():
            variants += [{**self.from_third, name: value} for value in values]
        for path in (f"/raft/stream/msgapp/{third}", f"/raft/stream/message/{third}", "/raft/stream/message/1234",
                     "/raft/stream/message/zz", "/raft/stream/no/1"):
            for headers in variants:
                self.compare("GET", path, {"X-Raft-To": "ME", **headers})
        for headers in variants:
            self.compare("POST", "/raft", headers, b"\xff\xff")
            self.compare("POST", "/raft/snapshot", headers, b"\xff\xff")
            self.compare("POST", "/raft/snapshot", headers, b"")

    def test_messages(self):
        def message(kind, to=None, sender=None, term=1):
            return lambda me: (field(1, kind) + field(2, to or me) + field(3, sender or self.third) + field(4, term))
        for kind in (5, 6, 8, 17):  # of an old term, as they arrive late
            self.compare("POST", "/raft", self.from_third, message(kind))
            self.compare("POST", "/raft/snapshot", self.from_third,
                         lambda me, of=message(kind): struct.pack(">Q", len(of(me))) + of(me) + b"database")
        for text in (b"\0\0", b"\xff" * 8, struct.pack(">Q", 1 << 29), struct.pack(">Q", (64 << 20) + 1) + b"abc",
                     struct.pack(">Q", 100) + b"abc", struct.pack(">Q", 100), struct.pack(">Q", 0)):
            self.compare("POST", "/raft/snapshot", self.from_third, text)

    def test_leases_at_leader_and_follower(self):
        bodies = {"/leases": [b"", b"\xff", b"hello", field(1, 4711), field(1, self.lease), field(1, -5), field(9, b"abc"),
                              b"x" * (65 << 10), b"\x08\x01" * (32 << 10), b"\x08\x01" * ((32 << 10) + 1)],
                  "/leases/internal": [b"\xff", b"hello", field(1, field(1, self.lease)), field(1, field(1, 77)), field(1, b""),
                                       field(1, field(1, self.lease) + field(2, 1)), b"x" * (65 << 10)]}
        for roles in (("lead", "follow"), ("follow", "lead")):
            answers = []
            for member, role in zip((self.real, self.ours), roles):
                self.lead(member if role == "lead" else self.cluster.members[2])
                self.cluster.wait_for_equal_hashes()
                for path, texts in bodies.items():
                    for text in texts:
                        for headers in ({}, {"X-Etcd-Cluster-ID": "1"}):
                            status, given, said = self.answer(member, "POST", path, headers, text)
                            answers.append((role, path, text[:40], status, given, said if status != 200 else said[:9]))
            half = len(answers) // 2
            self.roles = getattr(self, "roles", {}) | {("real", roles[0]): answers[:half], ("ours", roles[1]): answers[half:]}
        for role in ("lead", "follow"):
            for real, ours in zip(self.roles[("real", role)], self.roles[("ours", role)]):
                with self.subTest(role=role, path=real[1], body=real[2]):
                    self.assertEqual(real, ours)

    def test_hashes(self):
        for text in (None, b"", b"{}", b'{"revision":1}', b'{"revision":0}', b'{"revision":2}', b'{"revision":99}',
                     b'{"revision":-1}', b'{"revision":-2}', b'{"revision":-9223372036854775808}', b'{"revision":"2"}',
                     b'{"revision":2.0}', b'{"revision":2.5}', b'{"revision":2e0}', b'{"revision":9223372036854775808}',
                     b'{"revision":9223372036854775807}', b'{"revision":-9223372036854775809}', b'{"revision":null}', b"null",
                     b"[]", b"2", b'{"Revision":2}', b'{"REVISION":2}', b'{"x":[1,{}],"revision":2}', b'{"revision":2} x',
                     b'{"revision":2}\n', b'{"revision":', b'"x"', b"true", b'{"revision":true}', b' {"revision" : 2 } ',
                     b"/**/{}", b'{"x":"\x01"}', b'{"revision":{}}', b'{"revision":02}', b'{"revision":-0}'):
            self.compare("GET", "/members/hashkv", {}, text)
        for cluster_id in (self.cluster_id, "1", self.cluster_id + "0", "", "zz"):
            self.compare("GET", "/members/hashkv", {"X-Etcd-Cluster-ID": cluster_id}, b"{}")
            self.compare("GET", "/members/hashkv", {"X-Etcd-Cluster-ID": cluster_id}, b"x")


if __name__ == "__main__":
    harness.main()
