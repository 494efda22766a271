#!/usr/bin/env python3
"""The JSON gateway: recorded answers of real etcd, streams, WebSocket, who may ask, and what must not harm it."""

import base64
import http.client
import json
import os
import socket
import struct
import time
import unittest

import gateway_cases
import harness

RECORDED = harness.TOP / "test/e2e/gateway_answers.txt"


def b64(text):
    return base64.b64encode(text.encode()).decode()


def endpoint(url):
    host, port = url.split("//")[1].split(":")
    return host, int(port)


def post(url, path, body="{}", headers=None):
    return harness.http_request(url, path, method="POST", body=body.encode(), headers=headers or {})


class WebSocket:
    """A client of RFC 6455, just enough for these tests."""

    def __init__(self, url, path, headers=()):
        self.socket = socket.create_connection(endpoint(url), timeout=10)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {key}",
                 "Sec-WebSocket-Version: 13", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        self.data = b""
        while b"\r\n\r\n" not in self.data:
            self.data += self.socket.recv(4096) or self.fail()
        self.head, self.data = self.data.split(b"\r\n\r\n", 1)

    def fail(self):
        raise AssertionError("closed")

    def send(self, payload, opcode=1, fin=True, mask=b"abcd"):
        payload = payload.encode() if isinstance(payload, str) else payload
        head = bytes([(0x80 if fin else 0) | opcode])
        marked = 0x80 if mask else 0
        if len(payload) < 126:
            head += bytes([marked | len(payload)])
        elif len(payload) < 65536:
            head += bytes([marked | 126]) + struct.pack(">H", len(payload))
        else:
            head += bytes([marked | 127]) + struct.pack(">Q", len(payload))
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)) if mask else payload
        self.socket.sendall(head + mask + masked)

    def take(self, size):
        while len(self.data) < size:
            self.data += self.socket.recv(65536) or self.fail()
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def receive(self):
        """Opcode and payload of the next frame."""
        first, second = self.take(2)
        size = second & 127
        if size == 126:
            size = struct.unpack(">H", self.take(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.take(8))[0]
        return first & 15, self.take(size)

    def json(self):
        opcode, payload = self.receive()
        assert opcode == 1, (opcode, payload)
        return json.loads(payload)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Recorded(unittest.TestCase):
    def test_answers_are_etcds(self):
        with open(RECORDED) as lines:
            expected = [json.loads(line) for line in lines]
        with harness.Member("--enable-pprof") as member:
            for want, case in zip(expected, gateway_cases.cases(), strict=True):
                with self.subTest(want["case"]):
                    got = {"case": gateway_cases.name(case), **gateway_cases.ask(member.client_url, case)}
                    self.assertEqual(json.loads(json.dumps(got)), want)


class Gateway(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.member = harness.Member("--enable-pprof").start()
        cls.addClassCleanup(cls.member.remove)
        cls.url = cls.member.client_url

    def put(self, key, value):
        self.assertEqual(post(self.url, "/v3/kv/put", json.dumps({"key": b64(key), "value": b64(value)}))[0], 200)

    def test_a_watch_goes_on_after_the_request_has_ended(self):
        connection = http.client.HTTPConnection(*endpoint(self.url), timeout=10)
        connection.request("POST", "/v3/watch", json.dumps({"create_request": {"key": b64("stream")}}))
        answer = connection.getresponse()
        self.assertEqual(answer.getheader("Transfer-Encoding"), "chunked")
        self.assertTrue(json.loads(answer.readline())["result"]["created"])
        for value in ("1", "2", "<&>"):
            self.put("stream", value)
            event = json.loads(answer.readline())["result"]["events"][0]
            self.assertEqual(base64.b64decode(event["kv"]["value"]).decode(), value)
        connection.close()

    def test_a_large_range_comes_whole(self):
        for i in range(40):
            self.put(f"large/{i:03}", "v" * 100_000)
        status, _, body = post(self.url, "/v3/kv/range", json.dumps({"key": b64("large/"), "range_end": b64("large0")}))
        answer = json.loads(body)
        self.assertEqual((status, answer["count"], len(answer["kvs"])), (200, "40", 40))
        self.assertEqual(base64.b64decode(answer["kvs"][39]["value"]), b"v" * 100_000)
        self.assertEqual(post(self.url, "/v3/kv/deleterange",
                              json.dumps({"key": b64("large/"), "range_end": b64("large0")}))[0], 200)

    def test_web_socket_watch(self):
        with WebSocket(self.url, "/v3/watch", ["Sec-WebSocket-Protocol: Bearer, token"]) as client:
            self.assertTrue(client.head.startswith(b"HTTP/1.1 101 "), client.head)
            self.assertIn(b"Sec-WebSocket-Protocol: Bearer", client.head)
            # Two documents in three frames, one of them fragmented.
            client.send('{"create_request":{"key":"' + b64("ws") + '"}}{"create_request":')
            client.send('{"key":"', fin=False)
            client.send(b64("ws2") + '"}}', opcode=0)
            self.assertTrue(client.json()["result"]["created"])
            self.assertEqual(client.json()["result"]["watch_id"], "1")
            self.put("ws", "a")
            self.assertEqual(client.json()["result"]["events"][0]["kv"]["key"], b64("ws"))
            client.send("beat", opcode=9)
            self.assertEqual(client.receive(), (10, b"beat"))
            client.send(struct.pack(">H", 1000), opcode=8)
            self.assertEqual(client.receive(), (8, struct.pack(">H", 1000)))

    def test_web_socket_unary_and_errors(self):
        with WebSocket(self.url, "/v3/kv/put") as client:
            client.send(json.dumps({"key": b64("ws3"), "value": b64("v" * 100_000)}))
            self.assertIn("header", client.json())
            self.assertEqual(client.receive()[0], 8)
        with WebSocket(self.url, "/v3/kv/put") as client:
            client.send("x")
            self.assertEqual(client.json(), {"code": 3, "message": "invalid character 'x' looking for beginning of value"})
        with WebSocket(self.url, "/v3/nothing") as client:
            self.assertEqual(client.json(), {"code": 5, "message": "Not Found"})
        broken = {"unmasked": ((b"{}",), {"mask": b""}, b"bad MASK"), "bad opcode": ((b"{}", 3), {}, b"bad opcode 3"),
                  "a long ping": ((b"x" * 126, 9), {}, b"len > 125 for control"),
                  "a continuation of nothing": ((b"{}", 0), {}, b"continuation after FIN")}
        for what, (arguments, options, reason) in broken.items():
            with self.subTest(what), WebSocket(self.url, "/v3/watch") as client:
                client.send(*arguments, **options)
                self.assertEqual(client.receive(), (8, struct.pack(">H", 1002) + reason))

    def test_web_socket_frames_are_bounded(self):
        with WebSocket(self.url, "/v3/watch") as client:
            client.socket.sendall(b"\x81\xff" + struct.pack(">Q", 1 << 62) + b"abcd")
            self.assertEqual(client.receive(), (8, struct.pack(">H", 1009)))

    def test_web_socket_handshake(self):
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "12", "Sec-WebSocket-Key": "x"}
        status, answered, _ = harness.http_request(self.url, "/v3/watch", headers=headers)
        self.assertEqual((status, answered["Sec-Websocket-Version"]), (400, "13"))

    def test_hostile_documents_are_refused_in_bounded_memory(self):
        for body in ('{"success":[' * 200_000, "[" * 1_000_000, '{"success":[' + "{}," * 300_000 + "{}]}",
                     '"' + "\\u0041" * 100_000,
                     '{"a":"' + "x" * 7_000_000 + '"}'):
            self.assertIn(post(self.url, "/v3/kv/txn", body)[0], (200, 400))
        # Deeper than any handler lets through, but a document all the same.
        deep = '{"success":[{"request_txn":' * 3000 + "{}" + "}]}" * 3000
        self.assertGreaterEqual(post(self.url, "/v3/kv/txn", deep)[0], 400)
        self.assertEqual(self.member.get("/health")[0], 200)

    def test_bodies_over_the_bound_are_refused(self):
        status, _, _ = self.too_large(64 << 20)
        self.assertEqual(status, 413)

    def too_large(self, size):
        connection = http.client.HTTPConnection(*endpoint(self.url), timeout=10)
        connection.putrequest("POST", "/v3/kv/put")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def test_half_a_request_holds_up_nobody(self):
        with socket.create_connection(endpoint(self.url), timeout=10) as half:
            half.sendall(b"POST /v3/kv/range HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            self.put("after half", "x")

    def test_a_stream_of_a_client_that_went_ends(self):
        for _ in range(20):
            with socket.create_connection(endpoint(self.url), timeout=10) as client:
                body = json.dumps({"create_request": {"key": b64("gone")}}).encode()
                client.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                self.assertIn(b"created", client.recv(65536))
        deadline = time.monotonic() + 10
        while True:
            watchers = [line for line in self.member.get("/metrics")[2].decode().splitlines()
                        if line.startswith("etcd_debugging_mvcc_watcher_total ")]
            if not watchers or float(watchers[0].split()[1]) < 20:
                break
            self.assertLess(time.monotonic(), deadline, watchers)

    def test_debug_pages(self):
        variables = json.loads(self.member.get("/debug/vars")[2])
        self.assertEqual(variables["raft.status"]["raftState"], "StateLeader")
        self.assertIn("--enable-pprof", variables["cmdline"])
        self.assertGreater(variables["memstats"]["HeapAlloc"], 0)
        self.assertIn(b"profile", self.member.get("/debug/pprof/")[2])
        self.assertTrue(self.member.get("/debug/pprof/goroutine")[2].startswith(b"goroutine profile: total "))
        status, headers, profile = self.member.get("/debug/pprof/profile?seconds=1")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/octet-stream"))
        # Five words of the legacy format: 0, 3, version, period, 0.
        self.assertEqual(struct.unpack("<3Q", profile[:24]), (0, 3, 0))
        self.assertIn(b"/etcd", profile)
        self.member.ctl("put", "big", stdin="v" * 1000000)
        for name in ("heap", "allocs"):
            status, headers, profile = self.member.get("/debug/pprof/" + name)
            self.assertEqual((status, headers["Content-Type"]), (200, "application/octet-stream"))
            self.assertRegex(profile, rb"^heap profile: \d+: \d+ \[\d+: \d+\] @ heap_v2/524288\n")
            self.assertIn(b"MAPPED_LIBRARIES:\n", profile)
        self.assertEqual(self.member.get("/debug/pprof/nothing")[0], 404)


class WhoMayAsk(unittest.TestCase):
    def test_hosts_and_origins(self):
        with harness.Member("--host-whitelist=good.example,127.0.0.1", "--cors=http://app.example:8080") as member:
            def get(**headers):
                names = {name.replace("_", "-"): value for name, value in headers.items()}
                status, answered, body = harness.http_request(member.client_url, "/health", headers=names)
                return status, answered.get("Access-Control-Allow-Origin"), body
            self.assertEqual(get(Host="good.example:2379")[:2], (200, None))
            self.assertEqual(get(Host="good.example", Origin="http://app.example:8080")[:2], (200, "http://app.example:8080"))
            self.assertEqual(get(Host="good.example", Origin="http://other.example")[:2], (200, None))
            status, _, body = get(Host="evil.example")
            self.assertEqual(status, 421)
            self.assertTrue(body.startswith(b"\netcd received your request, but the Host header was unrecognized.\n"), body)
            self.assertIn(b'etcd --host-whitelist "evil.example"\n', body)
            self.assertIsNotNone(member.log.wait_for("rejecting HTTP request to prevent DNS rebinding attacks", 10))

    def test_no_gateway(self):
        with harness.Member("--enable-grpc-gateway=false") as member:
            status, _, body = post(member.client_url, "/v3/kv/range")
            self.assertEqual((status, body), (404, b"404 page not found\n"))
            self.assertEqual(member.get("/health")[0], 200)
            self.assertEqual(member.get("/debug/pprof/")[0], 404)

    def test_http_on_a_port_of_its_own(self):
        url = f"http://127.0.0.1:{harness.free_port()}"
        with harness.Member(f"--listen-client-http-urls={url}") as member:
            self.assertEqual(post(url, "/v3/kv/put", json.dumps({"key": b64("a")}))[0], 200)
            self.assertEqual(harness.http_request(url, "/version")[0], 200)
            self.assertIn("a", member.ctl("get", "a").stdout)


if __name__ == "__main__":
    harness.main()
