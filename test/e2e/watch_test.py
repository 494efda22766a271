#!/usr/bin/env python3
"""Watch streams from a client's side: what no other test reaches: fragments, progress by time, closed halves, broken requests,
readers that do not read, crowds of watchers, a stop of the server."""

import re
import time
import unittest
from pathlib import Path

import harness
from raw_grpc import (ACK, DATA, END_HEADERS, END_STREAM, HEADERS, SETTINGS, WINDOW_UPDATE, Connection, call_headers, field,
                      frame, grpc)
from watch_client import DELETE, PROGRESS, PUT, Watch, cancel, create, put_op

MB = 1024 * 1024
GRPC_STATUS = {"internal": b"13", "unavailable": b"14"}


class WatchStreams(unittest.TestCase):
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.member = harness.Member(*cls.flags).start()
        cls.addClassCleanup(cls.member.remove)

    def setUp(self):
        self.calls = Connection(self.member.client_url, window=2 ** 30)
        self.addCleanup(self.calls.close)
        self.assertEqual(self.calls.read_frame()[0], SETTINGS)
        self.calls.send(frame(SETTINGS, ACK, 0))

    def call(self, path, message):
        """One that may be bigger than a frame. REQUIRES: it fits the first window of a stream, 65535."""
        stream = self.calls.next_stream
        self.calls.next_stream += 2
        body = grpc(message)
        self.calls.send(frame(HEADERS, END_HEADERS, stream, call_headers(path)),
                        *(frame(DATA, END_STREAM if at + 16000 >= len(body) else 0, stream, body[at:at + 16000])
                          for at in range(0, len(body), 16000)))
        return self.calls.finish(stream)

    def put(self, key, value=b"v"):
        self.call(PUT, put_op(key, value))

    def watch(self, *requests, **options):
        made = Watch(self.member.client_url, *requests, **options)
        self.addCleanup(made.close)
        return made

    def rss_mb(self):
        text = Path(f"/proc/{self.member.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024

    def metric(self, name):
        return float(re.search(rf"^{name} (\S+)$", self.member.get("/metrics")[2].decode(), re.MULTILINE)[1])


class Semantics(WatchStreams):
    flags = ("--watch-progress-notify-interval=300ms",)

    def test_fragments_of_a_big_revision(self):
        watch = self.watch(create(b"big", b"bih", fragment=True, prev=True), create(b"big", b"bih", prev=True))
        self.assertTrue(watch.next().created and watch.next().created)
        for i in range(60):
            self.put(b"big%02d" % i, b"v" * 60 * 1000)
            for response in (watch.next(), watch.next()):
                self.assertEqual((len(response.events), response.fragment), (1, False))
        # 60 pairs before in one revision are 3.6 MB; who asks for fragments gets 2 MB at most in one.
        self.call(DELETE, field(1, b"big") + field(2, b"bih"))
        got = {0: [], 1: []}
        while not got[0] or got[0][-1].fragment or not got[1]:
            response = watch.next()
            got[response.id].append(response)
        self.assertEqual([response.fragment for response in got[0]], [True] * (len(got[0]) - 1) + [False])
        self.assertGreater(len(got[0]), 1)
        self.assertLess(max(response.bytes for response in got[0]), 2 * MB)
        self.assertEqual(len(got[1]), 1)
        self.assertEqual([event for response in got[0] for event in response.events], got[1][0].events)
        self.assertEqual([event[2][0] for event in got[1][0].events], [b"big%02d" % i for i in range(60)])

    def test_filters_add_up(self):
        watch = self.watch(create(b"filtered", filters=(0, 1)), create(b"filtered"))
        self.assertTrue(watch.next().created and watch.next().created)
        self.put(b"filtered")
        self.call(DELETE, field(1, b"filtered"))
        self.assertEqual([watch.next().id, watch.next().id], [1, 1])

    def test_progress_by_time_only_to_the_silent(self):
        watch = self.watch(create(b"quiet", progress=True), create(b"quiet"))
        self.assertTrue(watch.next().created and watch.next().created)
        for _ in range(2):
            response = watch.next(2)
            self.assertEqual((response.id, response.events, response.created), (0, [], False))
            self.assertGreater(response.revision, 0)

    def test_a_closed_half_still_hears(self):
        watch = self.watch(create(b"half"))
        self.assertTrue(watch.next().created)
        watch.half_close()
        for i in range(3):
            self.put(b"half")
            self.assertEqual(len(watch.next().events), 1)

    def test_broken_requests_end_the_stream(self):
        for message in (b"\xff\xff\xff", b"\x0a\x05ab", b"\x0b"):
            watch = self.watch(message)
            self.assertIn(GRPC_STATUS["internal"], watch.end() or b"")

    def test_what_asks_for_nothing_is_ignored(self):
        watch = self.watch(b"", field(17, b"x"), cancel(3), PROGRESS, create(b"k"))
        self.assertTrue(watch.next().created)

    def test_leader_metadata_and_a_served_stream(self):
        watch = self.watch(create(b"k"), extra=((b"hasleader", b"true"),))
        self.assertTrue(watch.next().created)

    def test_metrics(self):
        before = self.metric("etcd_debugging_mvcc_events_total")
        watch = self.watch(create(b"m"), create(b"m"))
        self.assertTrue(watch.next().created and watch.next().created)
        self.assertGreaterEqual(self.metric("etcd_debugging_mvcc_watcher_total"), 2)
        self.assertGreaterEqual(self.metric("etcd_debugging_mvcc_watch_stream_total"), 1)
        self.put(b"m")
        self.assertEqual(len(watch.next().events + watch.next().events), 2)
        self.assertEqual(self.metric("etcd_debugging_mvcc_events_total") - before, 2)


class Load(WatchStreams):
    @unittest.skipUnless(harness.is_ours(), "etcd's bounds are others")
    def test_readers_that_do_not_read_cost_a_queue_and_catch_up(self):
        readers = [self.watch(create(b"flood"), window=65535) for _ in range(20)]
        for reader in readers:
            self.assertTrue(reader.next().created)
        before = self.rss_mb()
        count, value = 800, b"v" * 60 * 1000  # 48 MB for each of them
        begin = time.monotonic()
        for _ in range(count):
            self.put(b"flood", value)
        self.assertLess(time.monotonic() - begin, 60)
        if not harness.SANITIZED:
            self.assertLess(self.rss_mb() - before, 200)
        self.assertEqual(self.metric("etcd_debugging_mvcc_slow_watcher_total"), len(readers))
        # One begins to read: everything comes, in order.
        late = readers[0]
        seen = []
        while len(seen) < count:
            more = (1 << 20).to_bytes(4, "big")
            late.connection.send(frame(WINDOW_UPDATE, 0, 0, more), frame(WINDOW_UPDATE, 0, late.stream, more))
            response = late.next(5)
            self.assertIsNotNone(response)
            seen += [event[1][3] for event in response.events]
        self.assertEqual(seen, list(range(seen[0], seen[0] + count)))

    @unittest.skipUnless(harness.is_ours(), "etcd has no bound")
    def test_a_crowd_of_watchers_on_one_stream_is_bounded(self):
        watch = self.watch()
        before = self.rss_mb()
        bound, tried = 2 ** 18, 0
        request = create(b"crowd")
        refused = None
        while refused is None and tried < bound + 5000:
            tried += 2000
            watch.send_many([request] * 2000)
            for _ in range(2000):
                response = watch.next()
                if response.canceled:
                    refused = response
        self.assertIn("too many watchers", refused.reason)
        self.assertEqual(refused.id, -1)
        if not harness.SANITIZED:
            self.assertLess(self.rss_mb() - before, 100)
        self.put(b"other")  # served meanwhile
        watch.close()

    def test_the_server_stops_at_once(self):
        member = harness.Member().start()
        self.addCleanup(member.remove)
        with Watch(member.client_url, create(b"k")) as watch:
            self.assertTrue(watch.next().created)
            begin = time.monotonic()
            member.process.terminate()
            if harness.is_ours():
                self.assertIn(GRPC_STATUS["unavailable"], watch.end())
                self.assertLess(time.monotonic() - begin, 2)
            else:
                self.assertIsNone(watch.end(20))


if __name__ == "__main__":
    harness.main()
