#!/usr/bin/env python3
"""The same calls to our server and to real etcd, then their /metrics pages side by side: names, types, label sets, buckets, and
every value that does not depend on time, sizes or who counts. What may differ stands in the tables below, each with its reason.
The series that etcd's own dashboards and alert rules query must be there. Debian's python3 has Prometheus' own parser."""

import os
import re
import struct
import time
import unittest

from prometheus_client.parser import text_string_to_metric_families

import harness
from lease_test import KeepAlive
from raw_grpc import END_HEADERS, HEADERS, RST_STREAM, Connection, call_headers, field, frame
from watch_client import NOPUT, PROGRESS, Watch, cancel, create, put_op, txn_of

REFERENCE = os.path.join(os.environ["ETCD_REFERENCE"], "etcd")
SETTLE_SECONDS_MAX = 8  # gauges of either side may lag; the pages are read again until they agree
CATCH_UP_SECONDS = 0.3  # real etcd looks after watchers that are behind every 100 ms
REQUEST_BYTES_MAX = 4096

# Families of real etcd that we do not have: pattern -> why.
MISSING = {
    r"go_gc_.*|go_sched_.*|go_info": "no Go runtime, no collector",
    r"go_memstats_(?!alloc_bytes$|heap_(alloc|inuse|idle|sys)_bytes$|sys_bytes$).*": "figures of Go's allocator alone",
    r"etcd_debugging_auth_revision": "comes with users and roles",
}
# Label values only one side can have: the label is left out of the comparison.
OWN_VALUES = {"server_go_version", "server_id", "Local", "Remote"}
# Values that need not be equal: pattern -> why. Of histograms only the counts are compared, but for those in FREE_COUNTS.
FREE = {
    r"(go|process)_.*|os_fd_.*": "figures of the process",
    r"etcd_mvcc_db_total_size.*": "another storage engine",
    r"etcd_disk_wal_write_bytes_total": "how many bytes a batch has depends on time",
    r"etcd_network_client_grpc_(received|sent)_bytes_total": "frames and header tables are the library's choice",
    r"etcd_debugging_mvcc_db_compaction_last": "a time",
    r"etcd_debugging_mvcc_pending_events_total": "what was in the queues at that moment",
    r"promhttp_metric_handler_requests_total": "pages are read until they agree",
}
# Histograms whose count depends on how work was batched or cut into steps.
FREE_COUNTS = {
    r"etcd_disk_wal_(fsync|write)_duration_seconds": "entries share one sync",
    r"etcd_disk_backend_commit_duration_seconds|etcd_debugging_disk_backend_commit_.*": "a commit every 100 ms or when full",
    r"etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds": "steps of different size",
    r"etcd_debugging_server_watch_send_loop_watch_stream_.*": "events share responses",
}
DASHBOARDS = (  # contrib/mixin of etcd 3.7.1: every series its dashboards and alert rules read, with the labels they choose by
    ("etcd_disk_backend_commit_duration_seconds_bucket", {}),
    ("etcd_disk_wal_fsync_duration_seconds_bucket", {}),
    ("etcd_mvcc_db_total_size_in_bytes", {}),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", {}),
    ("etcd_network_client_grpc_received_bytes_total", {}),
    ("etcd_network_client_grpc_sent_bytes_total", {}),
    ("etcd_server_has_leader", {}),
    ("etcd_server_leader_changes_seen_total", {}),
    ("etcd_server_proposals_applied_total", {}),
    ("etcd_server_proposals_committed_total", {}),
    ("etcd_server_proposals_failed_total", {}),
    ("etcd_server_proposals_pending", {}),
    ("etcd_server_quota_backend_bytes", {}),
    ("grpc_server_handled_total", {"grpc_type": "unary", "grpc_code": "OK"}),
    ("grpc_server_handled_total", {"grpc_type": "unary", "grpc_code": "Unavailable"}),
    ("grpc_server_handled_total", {"grpc_service": "etcdserverpb.Watch", "grpc_type": "bidi_stream"}),
    ("grpc_server_handled_total", {"grpc_service": "etcdserverpb.Lease", "grpc_type": "bidi_stream"}),
    ("grpc_server_started_total", {"grpc_type": "unary"}),
    ("grpc_server_started_total", {"grpc_service": "etcdserverpb.Watch", "grpc_type": "bidi_stream"}),
    ("grpc_server_started_total", {"grpc_service": "etcdserverpb.Lease", "grpc_type": "bidi_stream"}),
    ("grpc_server_handling_seconds_bucket", {"grpc_type": "unary"}),  # --metrics=extensive
    ("process_resident_memory_bytes", {}),
)
# The peer series of the same dashboards are there once a member has a peer: a cluster's test looks at them.

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Page:
    """families: {name: type}; samples: {family: {(sample name, labels): value}}"""

    def __init__(self, text):
        self.text = text
        self.families, self.samples, self.helps = {}, {}, {}
        family = None
        for line in text.splitlines():
            if line.startswith("# HELP "):
                _, _, family, help_text = line.split(" ", 3)
                assert family not in self.helps, f"twice: {family}"
                self.helps[family] = help_text
                continue
            if line.startswith("# TYPE "):
                assert line.split()[2] == family, line
                self.families[family] = line.split()[3]
                self.samples[family] = {}
                continue
            name, labels, value = SAMPLE.fullmatch(line).groups()
            assert name.startswith(family), line
            chosen = frozenset((key, "*" if key in OWN_VALUES else one) for key, one in LABEL.findall(labels or ""))
            assert (name, chosen) not in self.samples[family], f"twice: {line}"
            self.samples[family][name, chosen] = float(value)

    def has(self, sample, labels):
        return any(name == sample and labels.items() <= dict(chosen).items()
                   for rows in self.samples.values() for name, chosen in rows)


def matches(table, name):
    return any(re.fullmatch(pattern, name) for pattern in table)


def shown(key):
    name, labels = key
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in sorted(labels)) + "}"


def differences(ours, real):
    """Lines that say what is not as it must be."""
    out = []
    for name in sorted(set(ours.families) | set(real.families)):
        if name not in ours.families:
            if not matches(MISSING, name):
                out.append(f"missing: {name}")
            continue
        if name not in real.families:
            out.append(f"not etcd's: {name}")
            continue
        if ours.families[name] != real.families[name]:
            out.append(f"type of {name}: {ours.families[name]} instead of {real.families[name]}")
        mine, theirs = ours.samples[name], real.samples[name]
        out += [f"missing: {shown(key)} {theirs[key]}" for key in sorted(set(theirs) - set(mine), key=shown)]
        out += [f"not etcd's: {shown(key)} {mine[key]}" for key in sorted(set(mine) - set(theirs), key=shown)]
        if matches(FREE, name):
            continue
        for key in sorted(set(mine) & set(theirs), key=shown):
            if real.families[name] == "histogram":
                if not key[0].endswith("_count") or matches(FREE_COUNTS, name):
                    continue
            if mine[key] != theirs[key]:
                out.append(f"{shown(key)}: {mine[key]} instead of {theirs[key]}")
    return out


def lease_field(number, lease):
    return field(number, lease & (2 ** 64 - 1))


def range_of(key, *more):
    return field(1, key) + b"".join(more)


KV, LEASE = "/etcdserverpb.KV/", "/etcdserverpb.Lease/"
CLUSTER, MAINTENANCE = "/etcdserverpb.Cluster/", "/etcdserverpb.Maintenance/"
FUTURE, REVISION, LIMIT, SERIALIZABLE, COUNT_ONLY = field(4, 1 << 40), field(4, 3), field(3, 1), field(7, 1), field(9, 1)
TXN_TWICE = field(2, field(2, field(1, b"x"))) * 2


class Side:
    """One member under the calls; `kept` are streams that stay open."""

    def __init__(self, program, *flags):
        harness.SERVER, usual = program, harness.SERVER
        try:
            self.member = harness.Member(f"--max-request-bytes={REQUEST_BYTES_MAX}", *flags).start()
        finally:
            harness.SERVER = usual
        self.calls = Connection(self.member.client_url, window=1 << 30)
        self.kept = []

    def page(self):
        return Page(self.member.get("/metrics")[2].decode())

    def call(self, path, message=b"", extra=()):
        """The first message of the answer; None when the call failed."""
        try:
            data = self.calls.finish(self.calls.start(path, message, extra))
        except AssertionError:
            return None
        return data[5:5 + struct.unpack(">I", data[1:5])[0]] if data else None

    def close(self):
        for stream in self.kept:
            stream.close()
        self.calls.close()
        self.member.remove()


def keys(side):
    version = ((b"client-api-version", b"3.7.1"),)
    for i in range(12):
        side.call(KV + "Put", field(1, b"key%d" % i) + field(2, b"v" * i), version if i % 2 else ())
    side.call(KV + "Put", field(1, b"key1") + field(2, b"new") + field(4, 1))  # with prev_kv
    side.call(KV + "Put", field(1, b"key1") + field(5, 1))  # ignore_value
    for request in (range_of(b"key1"), range_of(b"key", field(2, b"kez")), range_of(b"a", field(2, b"\0"), LIMIT),
                    range_of(b"key1", REVISION), range_of(b"key1", SERIALIZABLE),
                    range_of(b"key", field(2, b"kez"), COUNT_ONLY)):
        side.call(KV + "Range", request)
    side.call(KV + "RangeStream", range_of(b"key", field(2, b"kez")))
    side.call(KV + "DeleteRange", range_of(b"key2"))
    side.call(KV + "DeleteRange", range_of(b"key3", field(2, b"key6"), field(3, 1)))
    side.call(KV + "DeleteRange", range_of(b"absent"))
    side.call(KV + "Txn", txn_of([(b"t1", b"1"), (b"t2", b"2")], [(b"key7", b"")]))
    compare = field(1, field(1, 0) + field(2, 0) + field(3, b"key1") + field(4, 99))
    read = field(3, field(1, field(1, b"key1")))
    side.call(KV + "Txn", compare + read)
    side.call(KV + "Txn", field(2, field(1, field(1, b"key1"))))  # reads only
    side.call(KV + "Txn", field(2, field(1, field(1, b"key1") + SERIALIZABLE)))
    nested = field(4, field(2, field(2, field(1, b"t3"))))
    side.call(KV + "Txn", field(2, nested))


def failures(side):
    for path, message in (
            (KV + "Put", b""), (KV + "Put", field(1, b"x") + field(3, 12345)), (KV + "Put", field(1, b"absent") + field(5, 1)),
            (KV + "Put", field(1, b"x") + field(5, 1) + field(2, b"v")), (KV + "Put", field(1, b"big") + field(2, b"v" * 4100)),
            (KV + "Range", b""), (KV + "Range", range_of(b"key", FUTURE)), (KV + "Range", range_of(b"key") + field(5, 9)),
            (KV + "RangeStream", b""), (KV + "RangeStream", range_of(b"key", FUTURE)),
            (KV + "DeleteRange", b""), (KV + "Txn", TXN_TWICE),
            (KV + "Txn", field(2, field(1, field(1, b"key1") + FUTURE))),
            (KV + "Txn", field(2, field(2, field(1, b"k") + field(3, 777)))),
            (KV + "Compact", field(1, 1 << 40)), (LEASE + "LeaseRevoke", field(1, 99)),
            (LEASE + "LeaseTimeToLive", field(1, 99)),
            (LEASE + "LeaseGrant", field(1, 1 << 40)), (LEASE + "LeaseGrant", b""),
            (MAINTENANCE + "MoveLeader", field(1, 7)), (MAINTENANCE + "HashKV", field(1, 1 << 40)),
            (KV + "Nope", b""), ("/nope.Nope/Nope", b""), ("/", b"")):
        side.call(path, message)


def leases(side):
    for lease in (1, 2, 3):
        side.call(LEASE + "LeaseGrant", field(1, 600) + field(2, lease))
    side.call(LEASE + "LeaseGrant", field(1, 600) + field(2, 1))  # exists
    side.call(KV + "Put", field(1, b"leased") + field(3, 1))
    side.call(LEASE + "LeaseTimeToLive", field(1, 1) + field(2, 1))
    side.call(LEASE + "LeaseLeases")
    keeper = KeepAlive(side.member.client_url)
    keeper.send(1)
    keeper.read()
    keeper.send(99)
    keeper.read()
    keeper.send(2, end=True)
    while keeper.read() is not None:
        pass
    keeper.close()
    side.call(LEASE + "LeaseRevoke", field(1, 1))
    side.call(LEASE + "LeaseGrant", field(1, 1) + field(2, 50))
    side.call(KV + "Put", field(1, b"fleeting") + lease_field(3, 50))


def watches(side):
    url = side.member.client_url
    ends = Watch(url, create(b"w"), create(b"w", b"x", filters=(NOPUT,)))
    ends.next(), ends.next()
    side.call(KV + "Put", put_op(b"w", b"1"))
    ends.next()
    ends.send(cancel(0))
    ends.next()
    ends.half_close()
    ends.end()
    ends.close()
    keep = Watch(url, create(b"w"), create(b"w", b"x"), create(b"old", revision=1))
    keep.next(), keep.next(), keep.next()
    time.sleep(CATCH_UP_SECONDS)  # etcd tells no progress while a watcher of the stream is behind
    keep.send(PROGRESS)
    keep.next()
    side.call(KV + "Put", put_op(b"w", b"2"))
    keep.next(), keep.next()
    side.kept.append(keep)
    gone = Watch(url, create(b"other"))
    gone.next()
    gone.connection.send(frame(RST_STREAM, 0, 1, struct.pack(">I", 8)))
    side.kept.append(gone)
    cut = Watch(url, create(b"other2"))
    cut.next()
    cut.close()
    side.kept.append(Connection(url))
    side.kept[-1].send(frame(HEADERS, END_HEADERS, 1, call_headers(LEASE + "LeaseKeepAlive")))


def maintenance(side):
    side.call(MAINTENANCE + "Status")
    side.call(MAINTENANCE + "Hash")
    side.call(MAINTENANCE + "HashKV")
    side.call(MAINTENANCE + "HashKV", field(1, 5))
    side.call(KV + "Compact", field(1, 8) + field(2, 1))
    side.call(KV + "Compact", field(1, 8))  # compacted
    side.call(KV + "Range", range_of(b"key1", REVISION))  # compacted
    side.call(MAINTENANCE + "Defragment")
    side.call(MAINTENANCE + "Snapshot")
    member = lease_field(2, side.member_id)
    for alarm in (field(1, 0), field(1, 1) + member + field(3, 1), field(1, 0)):
        side.call(MAINTENANCE + "Alarm", alarm)
    side.call(KV + "Put", put_op(b"no", b"space"))
    side.call(KV + "Txn", txn_of([(b"no", b"space")], []))
    side.call(MAINTENANCE + "Alarm", field(1, 2) + member + field(3, 1))
    side.call(CLUSTER + "MemberList")
    side.call(CLUSTER + "MemberList", field(1, 1))
    for path in ("Check", "List"):
        side.call("/grpc.health.v1.Health/" + path)
    side.call("/grpc.health.v1.Health/Check", field(1, b"nope"))


def pages(side):
    for path in ("/health", "/health?serializable=true", "/livez", "/readyz", "/livez/serializable_read", "/readyz?verbose",
                 "/version", "/readyz/data_corruption", "/nope"):
        side.member.get(path)
    for path, body in (("/v3/kv/put", b'{"key":"Zw==","value":"Zw=="}'), ("/v3/kv/range", b'{"key":"Zw=="}'),
                       ("/v3/kv/range", b'{}'), ("/v3/kv/range", b'{'), ("/v3/maintenance/status", b"{}"),
                       ("/v3/lease/leases", b"{}")):
        side.member.get(path, "POST", body)


class Pages(unittest.TestCase):
    FLAGS = ()

    @classmethod
    def setUpClass(cls):
        cls.sides = []
        for program in (harness.SERVER, REFERENCE):
            cls.sides.append(Side(program, *cls.FLAGS))
            cls.addClassCleanup(cls.sides[-1].close)
        for side in cls.sides:
            text = side.member.get("/metrics")[2].decode()
            side.member_id = int(re.search(r'server_id="([0-9a-f]+)"\} 1', text).group(1), 16)

    def compare(self):
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        while True:
            ours, real = (side.page() for side in self.sides)
            different = differences(ours, real)
            if not different or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        self.maxDiff = None
        self.assertEqual([], different, "\n" + "\n".join(different))

    def both(self, *parts):
        for side in self.sides:
            for part in parts:
                part(side)
        self.compare()

    def test_1_fresh(self):
        self.compare()

    def test_2_keys(self):
        self.both(keys)

    def test_3_failures(self):
        self.both(failures)

    def test_4_leases(self):
        self.both(leases)

    def test_5_watches(self):
        self.both(watches)

    def test_6_maintenance(self):
        self.both(maintenance)

    def test_7_pages(self):
        self.both(pages)

    def test_8_series_of_the_dashboards(self):
        for side in self.sides:
            page = side.page()
            for name, labels in DASHBOARDS:
                if name.startswith("grpc_server_handling_seconds") and not self.FLAGS:
                    continue
                self.assertTrue(page.has(name, labels), (side.member.command()[0], name, labels))

    def test_9_prometheus_reads_the_page(self):
        ours, real = ({(family.name, family.type): (family.documentation, len(family.samples))
                       for family in text_string_to_metric_families(side.page().text)} for side in self.sides)
        self.assertEqual([name for name, (text, samples) in ours.items() if not text or not samples], [])
        self.assertEqual(set(ours) - set(real), set())


class ExtensivePages(Pages):
    FLAGS = ("--metrics=extensive",)


if __name__ == "__main__":
    harness.main()
