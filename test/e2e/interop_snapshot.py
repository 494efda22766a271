#!/usr/bin/env python3
"""Snapshots between ours and real etcd: saved from ours, checked and restored by real etcdutl, served by real etcd with the
same keys, leases and hashes; and the hash over everything is real etcd's for the same history."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
import raw_grpc
from maintenance_test import MAINTENANCE, messages

REFERENCE = Path(os.environ["ETCD_REFERENCE"])


def etcdutl(*arguments):
    done = subprocess.run([REFERENCE / "etcdutl", *arguments], capture_output=True, text=True, timeout=120,
                          env=harness.clean_environment())
    if done.returncode != 0:
        raise AssertionError(f"etcdutl {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}")
    return done.stdout


def call(member, path, message=b""):
    with raw_grpc.Connection(member.client_url, window=1 << 20) as connection:
        (answer,) = messages(connection.call(path, message))
        return dict(raw_grpc.fields(answer))


def hash_kv(member):
    """(hash, revision), without what names the member."""
    answer = call(member, MAINTENANCE + "HashKV")
    return answer[2], answer.get(4)


def write_history(member):
    """Puts of several sizes, deletions, a lease, an alarm, and a compaction that is done when this returns."""
    with raw_grpc.Connection(member.client_url, window=1 << 20) as connection:
        def put(key, value, lease=0):
            message = raw_grpc.field(1, key.encode()) + raw_grpc.field(2, value)
            connection.call("/etcdserverpb.KV/Put", message + (raw_grpc.field(3, lease) if lease else b""))

        for i in range(3000):
            put(f"key/{i % 700:04}", b"v" * (i % 400))
        for i in range(20):
            put(f"big/{i}", bytes([i]) * 15_000)
        for i in range(50):
            connection.call("/etcdserverpb.KV/DeleteRange", raw_grpc.field(1, f"key/{i * 3:04}".encode()))
        lease = raw_grpc.field(1, 100_000) + raw_grpc.field(2, 4711)
        connection.call("/etcdserverpb.Lease/LeaseGrant", lease)
        put("leased", b"x", 4711)
    # Of the header: a hash tells its revision since 3.6.
    revision = json.loads(member.ctl("get", "none", "-w", "json").stdout)["header"]["revision"]
    member.ctl("compaction", "--physical", str(revision - 500))
    for i in range(30):
        member.ctl("put", f"after/{i}", "compaction")


class Real(harness.Member):
    """A member of real etcd."""

    def command(self):
        return [str(REFERENCE / "etcd")] + super().command()[1:]


class Snapshot(unittest.TestCase):
    def test_ours_is_restored_and_served_by_real_etcd(self):
        scratch = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="etcd-e2e-")))
        with harness.Member() as ours:
            write_history(ours)
            pairs = json.loads(ours.ctl("get", "", "--prefix", "-w", "json").stdout)["kvs"]
            revision = call(ours, MAINTENANCE + "HashKV")[4]
            hashed = hash_kv(ours)
            ours.ctl("snapshot", "save", str(scratch / "ours.db"))
            leases = ours.ctl("lease", "list", check=False).stdout
        status = json.loads(etcdutl("snapshot", "status", scratch / "ours.db", "-w", "json"))
        self.assertEqual((status["revision"], status["totalKey"], status["version"]), (revision, len(pairs), "3.7.0"))
        restored = Real(data_dir=scratch / "restored")
        etcdutl("snapshot", "restore", scratch / "ours.db", "--data-dir", restored.data_dir, "--initial-cluster",
                f"default={restored.peer_url}", "--initial-advertise-peer-urls", restored.peer_url)
        with restored as real:
            self.assertEqual(json.loads(real.ctl("get", "", "--prefix", "-w", "json").stdout)["kvs"], pairs)
            self.assertEqual(hash_kv(real), hashed)
            self.assertEqual(real.ctl("lease", "list", check=False).stdout, leases)
            # bbolt goes on in our file: writes, deletions that empty pages, a compaction, a defragmentation, its own check.
            write_history(real)
            real.ctl("del", "key/", "--prefix")
            real.ctl("compaction", "--physical", str(call(real, MAINTENANCE + "HashKV")[4]))
            real.ctl("defrag")
            real.ctl("snapshot", "save", str(scratch / "again.db"))
            hashed = hash_kv(real)
        status = json.loads(etcdutl("snapshot", "status", scratch / "again.db", "-w", "json"))
        self.assertEqual(status["revision"], hashed[1])

    def test_a_snapshot_is_sound_at_every_size(self):
        scratch = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="etcd-e2e-")))
        with harness.Member() as ours:
            for size in (1, 900, 4000, 4100, 100_000, 1_400_000):
                ours.ctl("put", f"size/{size}", stdin="v" * size)
                ours.ctl("snapshot", "save", str(scratch / f"{size}.db"))
                etcdutl("snapshot", "status", scratch / f"{size}.db")  # bbolt's whole check is in it

    def test_hash_of_everything_is_that_of_real_etcd(self):
        hashes = []
        for kind in (harness.Member, Real):
            member = kind(name="same")
            # The same cluster twice: ids come from these URLs, and they are rows too.
            if hashes:
                member.peer_url, member.client_url = urls
            urls = member.peer_url, member.client_url
            with member:
                for i in range(100):
                    member.ctl("put", f"key{i % 30}", str(i))
                member.ctl("del", "key7")
                hashes.append((call(member, MAINTENANCE + "Hash")[2], hash_kv(member)))
        self.assertEqual(hashes[0][1], hashes[1][1])
        self.assertEqual(hashes[0][0], hashes[1][0])


if __name__ == "__main__":
    harness.main()
