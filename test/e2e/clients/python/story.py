#!/usr/bin/env python3
"""python3-etcd3, unmodified, against one member: prints what it sees, line by line, without anything that differs from run to
run, so that two servers can be compared. Usage: story.py URL"""

import os
import sys
import threading

# The library's generated code is older than the installed protobuf; its pure Python form takes both.
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")

import etcd3  # noqa: E402

WAIT_SECONDS = 20


def say(name, *values):
    print(name, *values, flush=True)


def key_values(client):
    client.put("kv/a", "1")
    client.put("kv/b", "2")
    value, meta = client.get("kv/a")
    say("get", value, meta.version)
    say("missing", client.get("kv/none"))
    say("prefix", [(value, meta.key) for value, meta in client.get_prefix("kv/", sort_order="descend", sort_target="key")])
    say("keys", [meta.key for _, meta in client.get_prefix("kv/", keys_only=True)])
    say("previous", client.put("kv/a", "3", prev_kv=True).prev_kv.value)
    say("replace", client.replace("kv/a", "3", "4"), client.replace("kv/a", "3", "5"))
    say("once", client.put_if_not_exists("kv/c", "1"), client.put_if_not_exists("kv/c", "2"))
    say("deleted", client.delete_prefix("kv/").deleted)


def transactions(client):
    client.put("txn/a", "1")
    t = client.transactions
    for _ in range(2):
        ok, responses = client.transaction(compare=[t.value("txn/a") == "1", t.version("txn/a") > 0],
                                           success=[t.put("txn/a", "2"), t.get("txn/a")], failure=[t.delete("txn/a")])
        say("txn", ok, len(responses))


def watches(client):
    events, cancel = client.watch_prefix("w/", prev_kv=True)
    first = client.put("w/a", "1").header.revision
    client.put("w/a", "2")
    client.delete("w/a")
    for _ in range(3):
        event = next(events)
        say("watched", type(event).__name__, event.key, event.value, event.prev_value)
    cancel()
    events, cancel = client.watch("w/a", start_revision=first)
    for _ in range(3):
        event = next(events)
        say("past", type(event).__name__, event.key, event.value, event.mod_revision - first)
    cancel()
    client.put("w/a", "3")
    client.compact(client.get("w/a")[1].mod_revision, physical=True)
    events, cancel = client.watch("w/a", start_revision=first)
    try:
        next(events)
        say("compacted", "nothing")
    except etcd3.exceptions.RevisionCompactedError as error:
        say("compacted", error.compacted_revision - first)
    seen = threading.Event()
    identity = client.add_watch_callback("w/b", lambda response: seen.set())
    client.put("w/b", "1")
    say("called back", seen.wait(WAIT_SECONDS))
    client.cancel_watch(identity)


def leases(client):
    lease = client.lease(60)
    client.put("l/a", "1", lease=lease)
    say("lease", lease.granted_ttl, lease.remaining_ttl >= 58, lease.keys, client.get("l/a")[1].lease_id == lease.id)
    say("refreshed", [response.TTL for response in lease.refresh()])
    lease.revoke()
    say("revoked", client.get("l/a"))
    events, cancel = client.watch("l/b")
    client.put("l/b", "1", lease=client.lease(1))
    say("expiry", [type(next(events)).__name__ for _ in range(2)])
    cancel()


def locks(client):
    lock = client.lock("mutex", ttl=10)  # A second holder cannot wait: the library does not go with Debian's tenacity.
    say("lock", lock.acquire(), lock.is_acquired(), lock.release(), lock.is_acquired())


def maintenance(client):
    status = client.status()
    say("status", status.version, status.db_size > 0, status.leader.name)
    say("members", [member.name for member in client.members])
    say("alarms", list(client.list_alarms()))
    say("created", [alarm.alarm_type for alarm in client.create_alarm()])
    try:
        client.put("full", "x")
        say("put", "taken")
    except Exception as error:  # what the library makes of it is part of the story
        say("put", type(error).__name__)
    say("disarmed", [alarm.alarm_type for alarm in client.disarm_alarm()], list(client.list_alarms()))
    client.put("full", "x")
    client.defragment()
    say("hash", client.hash() != 0)
    with open(os.devnull, "wb") as sink:
        client.snapshot(sink)
    say("snapshot", "read")


def refusals(client):
    for name, call in {"empty key": lambda: client.put("", "x"), "lease": lambda: client.put("x", "1", lease=4711),
                       "revoke": lambda: client.revoke_lease(4711)}.items():
        try:
            call()
            say("refused", name, "not at all")
        except Exception as error:  # what the library makes of it is part of the story
            say("refused", name, type(error).__name__, error.details() if hasattr(error, "details") else error)


def main():
    host, port = sys.argv[1].split("//")[1].split(":")
    client = etcd3.client(host=host, port=int(port), timeout=WAIT_SECONDS)
    for chapter in (key_values, transactions, watches, leases, locks, maintenance, refusals):
        print("==", chapter.__name__)
        chapter(client)
    sys.stdout.flush()
    os._exit(0)  # The library's watch thread ends in a traceback that comes and goes.


main()
