#!/usr/bin/env python3
"""The HTTP pages of the client port: version, health, liveness, metrics, and what answers to anything else."""

import json
import re
import socket
import unittest

import harness

SAMPLE = re.compile(r'^[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_]\w*="(\\.|[^"\\])*",?)*\})? (NaN|[+-]?Inf|[-+.0-9e]+)$')

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.member = harness.Member().start()
        cls.addClassCleanup(cls.member.remove)

    def test_version(self):
        status, headers, body = self.member.get("/version")
        self.assertEqual(status, 200)
        self.assertEqual(headers["Content-Type"], "application/json")
        versions = json.loads(body)
        self.assertEqual(versions["etcdserver"], "3.7.1")
        for text in versions.values():
            self.assertRegex(text, r"^\d+\.\d+\.\d+$")

    def test_health(self):
        status, _, body = self.member.get("/health")
        self.assertEqual((status, json.loads(body)), (200, {"health": "true", "reason": ""}))
        self.assertEqual(self.member.get("/health?serializable=true")[0], 200)
        self.assertEqual(self.member.get("/health", method="POST")[0], 405)

    def test_livez_and_readyz(self):
        for path in ("/livez", "/readyz"):
            status, _, body = self.member.get(path)
            self.assertEqual((status, body), (200, b"ok\n"))
        self.assertIn(b"[+]serializable_read ok", self.member.get("/livez?verbose")[2])

    def test_metrics_are_prometheus_text(self):
        self.member.ctl("put", "a", "b")
        status, headers, body = self.member.get("/metrics")
        self.assertEqual(status, 200)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"), headers["Content-Type"])
        lines = body.decode().splitlines()
        for line in lines:
            if not line.startswith("#"):
                self.assertRegex(line, SAMPLE)
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        self.assertEqual(float(values["etcd_server_has_leader"]), 1)
        self.assertEqual(float(values["etcd_server_is_leader"]), 1)
        self.assertGreater(float(values["etcd_server_proposals_committed_total"]), 0)
        self.assertGreater(float(values["etcd_disk_wal_fsync_duration_seconds_count"]), 0)
        self.assertGreater(float(values["etcd_mvcc_put_total"]), 0)
        self.assertGreater(float(values["process_resident_memory_bytes"]), 0)

    def test_unknown_path(self):
        self.assertEqual(self.member.get("/nothing/here")[0], 404)

    def test_keep_alive_answers_two_requests_on_one_connection(self):
        host, port = self.member.client_url.split("//")[1].split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
            data = b""
            while data.count(b"etcdserver") < 2:
                data += connection.recv(65536) or self.fail(f"closed after {data!r}")
        self.assertEqual(data.count(b"HTTP/1.1 200 OK"), 2)

    def test_hostile_bytes_close_only_their_own_connection(self):
        host, port = self.member.client_url.split("//")[1].split(":")
        hostile = {
            "not a protocol": b"\x00\xff\x00\xff" * 64,
            "a preface and then garbage": PREFACE + b"\xff" * 512,
            "a frame longer than allowed": PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 4096,
            "a header without an end": b"GET / HTTP/1.1\r\nX: " + b"y" * (2 * 1024 * 1024),
            "two lengths": b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        }
        for what, data in hostile.items():
            with self.subTest(what), socket.create_connection((host, int(port)), timeout=30) as connection:
                try:
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
                except OSError:  # reset while we still write: a close too
                    pass
        self.assertEqual(self.member.get("/version")[0], 200)


class MetricsListener(unittest.TestCase):
    def test_pages_on_a_port_of_their_own(self):
        url = f"http://127.0.0.1:{harness.free_port()}"
        with harness.Member(f"--listen-metrics-urls={url}") as member:
            self.assertEqual(harness.http_request(url, "/health")[0], 200)
            self.assertIn(b"etcd_server_version", harness.http_request(url, "/metrics")[2])
            self.assertEqual(harness.http_request(url, "/version")[0], 404)


if __name__ == "__main__":
    harness.main()
