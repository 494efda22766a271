#!/usr/bin/env python3
"""Clients that misbehave: floods, bombs, readers that do not read, lines that stay silent. Each costs fixed memory, ends in an
error or a close, and others are served meanwhile."""

import re
import socket
import struct
import time
import unittest
from pathlib import Path

import harness
from raw_grpc import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
                      Connection, call_headers, field, frame, grpc, literal)

RANGE, PUT, WATCH = "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put", "/etcdserverpb.Watch/Watch"
MB = 1024 * 1024
SERVED_WITHIN_SECONDS = 5 * harness.PATIENCE


class Hostile(unittest.TestCase):
    def setUp(self):
        self.member = harness.Member().start()
        self.addCleanup(self.member.remove)
        with Connection(self.member.client_url) as connection:
            connection.call(PUT, field(1, b"key") + field(2, b"value"))
        self.idle_kb = self.rss_kb()

    def rss_kb(self, name="VmHWM"):
        text = Path(f"/proc/{self.member.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", text)[1])

    def connection(self, **options):
        made = Connection(self.member.client_url, **options)
        self.addCleanup(made.close)
        return made

    def assert_served(self):
        begin = time.monotonic()
        with Connection(self.member.client_url) as connection:
            self.assertIn(b"value", connection.call(RANGE, field(1, b"key")))
        self.assertLess(time.monotonic() - begin, SERVED_WITHIN_SECONDS)

    def assert_grew_at_most(self, megabytes):
        if harness.SANITIZED:
            return  # what is freed is kept for a while
        self.assertLess((self.rss_kb() - self.idle_kb) / 1024, megabytes)

    def flood(self, connection, piece, times):
        """Sends it again and again without reading, until the server closes or does not take more."""
        connection.socket.settimeout(5)
        try:
            for _ in range(times):
                connection.socket.sendall(piece)
        except OSError:
            return

    @unittest.skipUnless(harness.is_ours(), "etcd keeps all of it in memory")
    def test_readers_that_do_not_read(self):
        for i in range(64):
            self.member.ctl("put", f"big/{i:02}", stdin="v" * MB)
        self.idle_kb = self.rss_kb("VmRSS")
        readers = [self.connection(window=2 ** 30) for _ in range(10)]
        for reader in readers:
            reader.start(RANGE, field(1, b"big/") + field(2, b"big0"))
        for reader in readers:
            self.assertEqual(reader.read_frame()[0], SETTINGS)  # each has been heard
        self.assert_served()
        if not harness.SANITIZED:
            self.assertLess((self.rss_kb("VmRSS") - self.idle_kb) / 1024, 60)
        # One that begins to read gets all of it.
        self.assertGreater(len(readers[0].finish(1)), 64 * MB)

    def test_floods_of_control_frames(self):
        floods = {"ping": frame(PING, 0, 0, b"12345678"), "settings": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)),
                  "settings that are answers": frame(SETTINGS, ACK, 0), "empty data": frame(DATA, 0, 1)}
        for what, piece in floods.items():
            with self.subTest(what):
                connection = self.connection()
                if what == "empty data":
                    connection.send(frame(HEADERS, END_HEADERS, 1, call_headers(RANGE)))
                self.flood(connection, piece * 1000, 200)
                self.assert_served()
        self.assert_grew_at_most(64)

    def test_rapid_reset(self):
        connection = self.connection()
        headers = call_headers(RANGE)
        for burst in range(200):
            pieces = b"".join(frame(HEADERS, END_HEADERS, stream, headers)
                              + frame(DATA, END_STREAM, stream, grpc(field(1, b"key")))
                              + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
                              for stream in range(burst * 400 + 1, burst * 400 + 401, 2))
            try:
                connection.socket.sendall(pieces)
            except OSError:
                break
        self.assert_served()
        self.assert_grew_at_most(64)

    def test_headers_without_end(self):
        connection = self.connection()
        connection.send(frame(HEADERS, 0, 1, call_headers(RANGE)))
        self.flood(connection, frame(CONTINUATION, 0, 1, literal(b"x", b"y" * 16000)), 4000)
        self.assert_served()
        self.assert_grew_at_most(32)

    def test_a_client_that_stops_sending_and_does_not_close(self):
        """Its calls end, as they do when it closes; what is done of them later goes nowhere."""
        for path, message in ((RANGE, field(1, b"key")), (PUT, field(1, b"other")), (WATCH, field(1, field(1, b"key"))),
                              (WATCH, b"\xff" * 5)):
            calls = b"".join(frame(HEADERS, END_HEADERS, stream, call_headers(path))
                             + frame(DATA, END_STREAM, stream, grpc(message)) for stream in range(1, 101, 2))
            for _ in range(50):
                connection = self.connection()
                connection.send(calls)
                connection.socket.shutdown(socket.SHUT_WR)
                self.assertTrue(connection.closed_by_server())
        self.assert_served()

    def test_a_compression_bomb(self):
        # One long field goes into the table, then each byte names it again.
        connection = self.connection()
        table = b"\x40" + b"\x01x" + b"\x7f" + bytes([(4000 - 127) & 0x7F | 0x80, (4000 - 127) >> 7]) + b"y" * 4000
        connection.send(frame(HEADERS, 0, 1, call_headers(RANGE) + table))
        self.flood(connection, frame(CONTINUATION, 0, 1, b"\xbe" * 16000), 50)
        self.assert_served()
        self.assert_grew_at_most(32)

    def test_many_streams_that_never_end(self):
        connection = self.connection()
        headers = call_headers(WATCH)
        for start in range(1, 100_001, 2000):
            try:
                connection.socket.sendall(b"".join(frame(HEADERS, END_HEADERS, stream, headers)
                                                   for stream in range(start, start + 2000, 2)))
            except OSError:
                break
        self.assert_served()
        if harness.is_ours():  # etcd keeps all of them
            self.assert_grew_at_most(256)

    def test_messages_that_announce_too_much(self):
        connection = self.connection()
        announced = b"\0\xff\xff\xff\xff" + b"x" * 1000
        connection.send(frame(HEADERS, END_HEADERS, 1, call_headers(PUT)), frame(DATA, 0, 1, announced))
        while (got := connection.read_frame()) and not (got[2] == 1 and got[1] & END_STREAM):
            self.assertNotEqual(got[0], GOAWAY)
        self.assertIsNotNone(got)
        self.assert_served()
        self.assert_grew_at_most(16)

    def test_messages_that_are_none(self):
        for message in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 200, b"\x0a" * 3001):
            for path in (RANGE, PUT, "/etcdserverpb.KV/Txn", "/etcdserverpb.KV/DeleteRange", "/etcdserverpb.Maintenance/Alarm"):
                with self.subTest(path=path, message=message[:8]), Connection(self.member.client_url) as connection:
                    stream = connection.start(path, message)
                    while (got := connection.read_frame()) and not (got[2] == stream and got[1] & END_STREAM):
                        pass
                    self.assertIsNotNone(got, "no answer")
        self.assert_served()

    def test_connections_that_say_nothing(self):
        silent = [self.connection() for _ in range(200)]
        for one in silent[:100]:
            one.socket.sendall(PREFACE[:10])
        self.assert_served()
        self.assert_grew_at_most(32)

    @unittest.skipUnless(harness.is_ours(), "etcd dies of these")
    def test_requests_that_kill_etcd(self):
        with Connection(self.member.client_url) as connection:
            alarm = connection.start("/etcdserverpb.Maintenance/Alarm", field(1, 7) + field(3, 1))
            connection.finish(alarm)
            everything = field(1, b"\0") + field(2, b"\0")
            keep = field(1, b"key") + field(5, 1)
            txn = field(2, field(3, everything)) + field(2, field(2, keep))
            connection.finish(connection.start("/etcdserverpb.KV/Txn", txn))
        self.assert_served()
        self.member.restart()
        self.assert_served()


if __name__ == "__main__":
    harness.main()
