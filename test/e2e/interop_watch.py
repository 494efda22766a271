#!/usr/bin/env python3
"""The same random watches and writes to our server and to real etcd: every response of every watcher must be the same, in the
same order, but for who answered. OPS=150, SEEDS="1 2 3" change the run."""

import os
import random
import sys

import harness
from raw_grpc import Connection, field
from watch_client import (COMPACT, DELETE, NODELETE, NOPUT, PROGRESS, PUT, TXN, Watch, cancel, create, put_op, txn_of)

OPS = int(os.environ.get("OPS", "150"))
SEEDS = [int(seed) for seed in os.environ.get("SEEDS", "1 2 3").split()]
REFERENCE = os.path.join(os.environ["ETCD_REFERENCE"], "etcd")
QUIET_SECONDS = 0.04
CATCH_UP_SECONDS = 0.25  # real etcd looks after those that are behind every 100 ms
STREAMS = 3


class Side:
    def __init__(self, member):
        self.member = member
        self.calls = Connection(member.client_url, window=2 ** 30)
        self.streams = [Watch(member.client_url) for _ in range(STREAMS)]

    def call(self, path, message):
        stream = self.calls.start(path, message)
        try:
            self.calls.finish(stream)
        except AssertionError:
            pass  # an error without a body, on both sides

    def close(self):
        self.calls.close()
        for stream in self.streams:
            stream.close()
        self.member.remove()


class Maker:
    """What to do next, as a function of a side; and how long its echo may take."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.revision = 1

    def key(self):
        if self.random.random() < 0.04:
            return b""
        return bytes([self.random.choice(b"abcdef")]) + self.random.choice((b"", b"", b"x", b"\xff"))

    def range_end(self, key):
        after = key[:-1] + bytes([min(255, key[-1] + 1)]) if key else b"b"
        return self.random.choice((b"", b"", b"\0", key + b"\0", after, self.key()))

    def write(self):
        kind = self.random.random()
        key = self.key() or b"a"
        if kind < 0.6:
            self.revision += 1
            message = put_op(key, self.random.randbytes(self.random.randrange(20)))
            return lambda side: side.call(PUT, message)
        if kind < 0.8:
            message = field(1, key) + field(2, self.range_end(key))
            return lambda side: side.call(DELETE, message)
        keys = sorted({self.key() or b"b" for _ in range(4)})
        message = txn_of([(key, b"t") for key in keys[1:]], [(keys[0], b"")])
        return lambda side: side.call(TXN, message)

    def watch(self):
        stream = self.random.randrange(STREAMS)
        key = self.key()
        revision = self.random.choice((0, 0, 1, 2, self.revision, self.revision + 1, self.revision + 3, -1, -5,
                                       self.random.randrange(1, self.revision + 1)))
        filters = self.random.choice(((), (), (NOPUT,), (NODELETE,), (NOPUT, NODELETE), (7,)))
        message = create(key, self.range_end(key), revision, filters=filters, prev=self.random.random() < 0.5,
                         watch_id=self.random.choice((0, 0, 0, 1, 2, 7, -4)), fragment=self.random.random() < 0.3)
        return lambda side: side.streams[stream].send(message)

    def next(self):
        kind = self.random.random()
        stream = self.random.randrange(STREAMS)
        if kind < 0.55:
            return self.write(), QUIET_SECONDS
        if kind < 0.80:
            return self.watch(), CATCH_UP_SECONDS
        if kind < 0.88:
            watch_id = self.random.randrange(-5, 12)
            return lambda side: side.streams[stream].send(cancel(watch_id)), QUIET_SECONDS
        if kind < 0.95:
            return lambda side: side.streams[stream].send(PROGRESS), QUIET_SECONDS
        if kind < 0.97:
            return lambda side: side.streams[stream].send(b"", field(9, b"?")), QUIET_SECONDS
        revision = max(1, self.revision - self.random.randrange(15))
        return lambda side: side.call(COMPACT, field(1, revision) + field(2, 1)), QUIET_SECONDS


def heard(side, seconds):
    """Per stream and watcher what came, in its order; which watcher comes first is nobody's promise."""
    out = []
    for stream in side.streams:
        by_id = {}
        for response in stream.until_quiet(seconds):
            by_id.setdefault(response.id, []).append(response.told())
        out.append(by_id)
    return out


def compare(seed, reference_flags=()):
    """(responses compared, the first difference or None)"""
    mine = harness.SERVER
    sides = []
    try:
        sides.append(Side(harness.Member().start()))
        harness.SERVER = REFERENCE
        try:
            sides.append(Side(harness.Member(*reference_flags).start()))
        finally:
            harness.SERVER = mine
        maker, compared = Maker(seed), 0
        for step in range(OPS):
            act, seconds = maker.next()
            for side in sides:
                act(side)
            ours, real = (heard(side, seconds) for side in sides)
            if ours != real:
                return compared, f"seed {seed}, step {step}\n-- ours\n{ours}\n-- etcd\n{real}"
            for stream in ours:
                for responses in stream.values():
                    compared += len(responses)
                    maker.revision = max([maker.revision] + [response[1] for response in responses])
        return compared, None
    finally:
        for side in sides:
            side.close()


if __name__ == "__main__":
    sys.exit(harness.compare_seeds(SEEDS, compare, "responses"))
