#!/usr/bin/env python3
"""Three members under load, and everything that can happen to a machine: is what they promised kept?

usage: test/torture/torture.py [--server PROGRAM] [--seed N] [--seconds N] [--kills N] [--size N] [--namespaces] [--out DIR]
                               [--only NAME,NAME] [--patience X] [--flag=--member-flag=x]...
       or make torture SECONDS=n KILLS=n SEED=n

It ends after SECONDS, or when KILLS processes were killed (0: no matter), whatever comes first. Clients put, delete, compare
and read over the JSON gateway of all members and write down what they saw; watchers resume where they were cut off. Then all
heals, and history.py judges. The store is compacted now and then, up to what all watchers have seen. The same seed gives the
same faults in the same order; the moments are the machine's. The report is printed and kept in DIR/report.json; if something
is wrong, the history is kept beside it. --patience: times all limits of waiting, for a machine that is busy with other things.
"""

import argparse
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from gateway import Gateway, Refused, Unknown, decode, encode, revision_of
from history import FOR_EVER, Event, Operation, Story, Watcher, check
from members import Loopback, Member, Namespaces

CLIENTS = 8
WATCHERS = 3
KEYS = 40                      # k0, k1, ...; those under a lease are l<client>.<number>, each written once
FIRST, BEHIND = "k", "m"       # what is watched and compared
LEASE_SECONDS = 3
ANSWER_SECONDS_MAX = 10        # longer than the servers let anybody wait
WATCH_SILENCE_SECONDS_MAX = 5  # then a watcher tries another member
PROGRESS_SECONDS_MAX = 60      # after healing, until writes are acknowledged again (times --patience, as the next two)
WRITES_BETWEEN_FAULTS = 20     # so many acknowledged before the next one: the cluster lived
SETTLE_SECONDS_MAX = 60        # at the end, until all members hold the same
PAUSE_AFTER_ERROR_SECONDS = 0.05
LATE_DEATH_SECONDS_MAX = 30    # after a fault of disk, memory or descriptors is over
COMPACTION_DISTANCE_MAX = 3000  # revisions that are kept behind what all watchers have seen, at most
HOPELESS = 20                  # findings that are printed


class Client(threading.Thread):
    def __init__(self, number, run, seed):
        super().__init__(daemon=True)
        self.number, self.run_, self.choose = number, run, random.Random(seed)
        self.operations = []
        self.seen = {}  # key -> mod_revision, to compare with
        self.written = 0
        self.gateway = None

    def run(self):
        while not self.run_.over.is_set():
            if self.gateway is None:
                member = self.choose.choice(self.run_.members)
                self.gateway = Gateway(member.host, member.client_port, ANSWER_SECONDS_MAX)
            try:
                self.step()
            except (Unknown, Refused):
                self.gateway.close()
                self.gateway = None
                self.run_.over.wait(PAUSE_AFTER_ERROR_SECONDS)

    def step(self):
        kind = self.choose.choices(["put", "cas", "delete", "get", "leased"], [50, 30, 10, 30, 2])[0]
        key = f"k{self.choose.randrange(KEYS)}"
        if kind == "leased":
            return self.put_leased()
        call = Operation(self.number, kind, key, time.monotonic())
        if kind in ("put", "cas"):
            self.written += 1
            call.value = f"{self.number}.{self.written}"
        if kind == "cas":
            call.expected = self.seen.get(key, 0)
        self.operations.append(call)
        try:
            answer = getattr(self, kind)(call)
        except Refused:
            call.refused = True
            raise
        call.revision = revision_of(answer)
        call.end = time.monotonic()
        if kind != "get" and call.changed:
            self.seen[key] = call.revision if call.value else 0
            self.run_.acknowledged[self.number] += 1

    def put(self, call):
        return self.gateway.call("kv/put", {"key": encode(call.key), "value": encode(call.value)})

    def put_leased(self):
        began = time.monotonic()
        lease = self.gateway.call("lease/grant", {"TTL": str(LEASE_SECONDS)})
        self.written += 1
        call = Operation(self.number, "put", f"l{self.number}.{self.written}", time.monotonic(),
                         value=f"{self.number}.{self.written}", expires=began + int(lease["TTL"]))
        self.operations.append(call)
        answer = self.gateway.call("kv/put", {"key": encode(call.key), "value": encode(call.value), "lease": lease["ID"]})
        call.revision = revision_of(answer)
        call.end = time.monotonic()
        self.run_.leased += 1

    def get(self, call):
        answer = self.gateway.call("kv/range", {"key": encode(call.key)})
        for pair in answer.get("kvs", []):
            call.value, call.mod_revision = decode(pair["value"]), int(pair["mod_revision"])
        self.seen[call.key] = call.mod_revision
        return answer

    def delete(self, call):
        answer = self.gateway.call("kv/deleterange", {"key": encode(call.key)})
        call.deleted = int(answer.get("deleted", 0))
        return answer

    def cas(self, call):
        key = encode(call.key)
        answer = self.gateway.call("kv/txn", {
            "compare": [{"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": str(call.expected)}],
            "success": [{"request_put": {"key": key, "value": encode(call.value)}}],
            "failure": [{"request_range": {"key": key}}]})
        call.succeeded = answer.get("succeeded", False)
        if not call.succeeded:
            pairs = answer["responses"][0]["response_range"].get("kvs", [])
            self.seen[call.key] = int(pairs[0]["mod_revision"]) if pairs else 0
        return answer


def event_of(message):
    pair = message["kv"]
    gone = message.get("type") == "DELETE"
    return Event(int(pair["mod_revision"]), decode(pair["key"]), None if gone else decode(pair.get("value")),
                 0 if gone else int(pair["create_revision"]))


class Looker(threading.Thread):
    """A watcher that goes on, at any member, where it was cut off."""

    def __init__(self, name, run, seed, start=2):
        super().__init__(daemon=True)
        self.run_, self.choose = run, random.Random(seed)
        self.watcher = Watcher(name, start)
        self.next, self.resumes = start, 0

    def run(self):
        while not self.run_.watched_enough(self):
            member = self.choose.choice(self.run_.members)
            try:
                self.follow(Gateway(member.host, member.client_port, WATCH_SILENCE_SECONDS_MAX))
            except Unknown:
                time.sleep(PAUSE_AFTER_ERROR_SECONDS)

    def follow(self, gateway):
        self.resumes += 1
        request = {"create_request": {"key": encode(FIRST), "range_end": encode(BEHIND), "start_revision": str(self.next),
                                      "progress_notify": True}}
        for message in gateway.stream("watch", request):
            result = message.get("result", {})
            if "error" in message or result.get("canceled"):
                raise Unknown(str(message))
            events = [event_of(event) for event in result.get("events", [])]
            if not events and not result.get("created"):
                self.watcher.progress.append((len(self.watcher.events), revision_of(result)))
            for event in events:
                self.watcher.events.append(event)
                self.next = event.revision + 1
            if self.run_.watched_enough(self):
                return


class Faults:
    """Each method is one: it hurts, waits, heals what does not heal by itself. Names are what --only takes."""

    def __init__(self, run):
        self.run, self.choose = run, run.choose

    def some(self, count=1):
        return self.choose.sample(self.run.members, count)

    def revive(self, members):
        for member in members:
            if not member.alive():
                self.run.ended(member)
                member.start(self.run.members)
        for member in members:
            member.wait_ready()

    def kill(self):
        """One, two or all at once, back at once or after a while."""
        victims = self.some(self.choose.choice([1, 1, 1, 2, self.run.options.size]))
        for victim in victims:
            victim.kill()
        self.run.killed += len(victims)
        self.run.wait(self.choose.choice([0, 0, 0.3, 2]))
        for victim in victims:
            victim.start(self.run.members)
        self.run.wait(self.choose.choice([0, 0, 0.05, 0.4]))
        if self.choose.random() < 0.2:  # Again, while it is still starting.
            victims[0].kill()
            self.run.killed += 1
            victims[0].start(self.run.members)
        self.revive(victims)

    def kill_leader(self):
        leader = self.run.leader()
        if leader is None:
            return
        leader.kill()
        self.run.killed += 1
        self.run.wait(self.choose.choice([0, 1.5]))
        leader.start(self.run.members)
        self.revive([leader])

    def freeze(self):
        victims = self.some(self.choose.choice([1, 1, 2]))
        for victim in victims:
            victim.freeze()
        self.run.wait(self.choose.choice([0.2, 1.2, 3]))
        for victim in victims:
            if self.choose.random() < 0.3:
                victim.kill()
                self.run.killed += 1
            victim.thaw()
        self.revive(victims)

    def disk_told(self, which, value, seconds):
        victims = self.some(self.choose.choice([1, 1, 2]))
        for victim in victims:
            victim.faults[which] = value
        self.run.wait(seconds)
        for victim in victims:
            victim.faults[which] = 0
        self.excuse(victims)
        self.revive(victims)

    @staticmethod
    def excuse(victims):
        """What failed in the background may be noticed later."""
        for victim in victims:
            victim.excused_until = time.monotonic() + LATE_DEATH_SECONDS_MAX * victim.options.patience

    def sync_fails(self):
        self.disk_told(0, 1, self.choose.choice([0.2, 1]))

    def disk_full(self):
        self.disk_told(1, 1, self.choose.choice([0.2, 1, 3]))

    def slow_disk(self):
        self.disk_told(2, self.choose.choice([5, 30, 120]), self.choose.choice([1, 4]))

    def few_descriptors(self):
        victim = self.some()[0]
        victim.limit(resource.RLIMIT_NOFILE, victim.open_files() + self.choose.choice([0, 2]))
        self.run.wait(2)
        victim.limit(resource.RLIMIT_NOFILE, None)
        self.excuse([victim])
        self.revive([victim])

    def little_memory(self):
        victim = self.some()[0]
        victim.limit(resource.RLIMIT_AS, victim.status("VmSize") + self.choose.choice([0, 1 << 20, 32 << 20]))
        self.run.wait(2)
        victim.limit(resource.RLIMIT_AS, None)
        self.excuse([victim])
        self.revive([victim])

    def stop(self):
        """An operator's restart, one after the other."""
        for victim in self.some(self.choose.choice([1, self.run.options.size])):
            code = victim.stop(20)
            if code not in (0, -15):
                self.run.wrong.append(f"stop: {victim.name} ended with {code} after SIGTERM")
            victim.start(self.run.members)
            self.revive([victim])

    def cut(self):
        network, size = self.run.network, self.run.options.size
        alone = self.choose.randrange(size)
        others = [number for number in range(size) if number != alone]
        shape = self.choose.choice(["alone", "deaf", "mute", "pair"])
        for other in others[:1] if shape == "pair" else others:
            if shape == "deaf":
                network.cut(other, alone, both=False)
            else:
                network.cut(alone, other, both=shape != "mute")
        self.run.wait(self.choose.choice([0.5, 2, 5]))
        victims = self.some() if self.choose.random() < 0.3 else []
        for victim in victims:
            victim.kill()
            self.run.killed += 1
            victim.start(self.run.members)
        if self.choose.random() < 0.5:
            self.run.wait(1)
        network.heal()
        self.revive(victims)

    ALL = {"kill": 8, "kill_leader": 4, "freeze": 3, "sync_fails": 1, "disk_full": 1, "slow_disk": 1, "few_descriptors": 1,
           "little_memory": 1, "stop": 1, "cut": 6}


class Run:
    def __init__(self, options):
        self.options = options
        self.choose = random.Random(options.seed)
        self.network = Namespaces(options.size) if options.namespaces else Loopback()
        self.members = [Member(number, options, self.network) for number in range(options.size)]
        self.over, self.last_revision = threading.Event(), None
        self.compactions = self.leased = 0
        self.acknowledged = [0] * CLIENTS
        self.last_operations = []
        self.wrong = []
        self.killed = 0
        self.ends = Counter()
        self.count = Counter()
        self.clients = [Client(number, self, options.seed * 1000 + number) for number in range(CLIENTS)]
        self.lookers = [Looker(f"w{number}", self, options.seed * 1000 + 500 + number) for number in range(WATCHERS)]
        self.story = Looker("the story", self, options.seed)

    @staticmethod
    def wait(seconds):
        time.sleep(seconds)

    def ended(self, member):
        """By itself: what it said last counts in the report, and is returned."""
        if member.process.returncode == -9:
            return "killed"
        said = "nothing"
        for line in member.log_since_start().decode(errors="replace").splitlines():
            if '"level":"fatal"' in line or '"level":"panic"' in line:
                said = json.loads(line)["msg"]
            elif line.strip() and not line.startswith(("{", "----")):
                said = line
        self.ends[f"exit {member.process.returncode}: " + re.sub(r"/\S*/(\w+)/[^: ]*", r"\1/...", said)[:160]] += 1
        return said

    def leader(self):
        for member in self.members:
            try:
                status = Gateway(member.host, member.client_port, 2).call("maintenance/status", {})
            except (Unknown, Refused):
                continue
            if status.get("leader") == status["header"]["member_id"]:
                return member
        return None

    def wait_for_progress(self, after):
        wanted = sum(self.acknowledged) + WRITES_BETWEEN_FAULTS
        seconds_max = PROGRESS_SECONDS_MAX * self.options.patience
        deadline = time.monotonic() + seconds_max
        while sum(self.acknowledged) < wanted:
            if time.monotonic() > deadline:
                raise AssertionError(f"progress: no {WRITES_BETWEEN_FAULTS} writes in {seconds_max:g} s after {after}")
            for member in self.members:
                if not member.alive():
                    said = self.ended(member)
                    if time.monotonic() > member.excused_until or said == "nothing":
                        self.wrong.append(f"died: {member.name} ended with {member.process.returncode} (said: {said}) although "
                                          f"nothing was done to it since {after}; see {member.log_path}")
                    member.start(self.members)
                    member.wait_ready()
            time.sleep(0.02)

    def hurt(self):
        faults = Faults(self)
        chosen = self.options.only.split(",") if self.options.only else Faults.ALL
        names = [name for name in Faults.ALL if name in chosen and (name != "cut" or self.network.can_cut)]
        end = time.monotonic() + self.options.seconds
        while time.monotonic() < end and (not self.options.kills or self.killed < self.options.kills):
            name = self.choose.choices(names, [Faults.ALL[one] for one in names])[0]
            getattr(faults, name)()
            self.count[name] += 1
            if self.choose.random() < 0.3:
                self.compact()
            self.wait_for_progress(name)

    def compact(self):
        """Somebody's: who is there, and whether it succeeds, do not matter. Nobody who watches loses anything."""
        seen = min(looker.next for looker in [self.story, *self.lookers]) - 1
        revision = seen - self.choose.randrange(COMPACTION_DISTANCE_MAX)
        member = self.choose.choice(self.members)
        if revision < 1:
            return
        gateway = Gateway(member.host, member.client_port, ANSWER_SECONDS_MAX)
        try:
            gateway.call("kv/compaction", {"revision": str(revision)})
            self.compactions += 1
        except (Unknown, Refused):
            pass
        finally:
            gateway.close()

    def watched_enough(self, looker):
        return self.last_revision is not None and looker.next > self.last_revision

    def content(self, member):
        """(hash, keys) at the last revision, from one member alone; None while it has not applied everything."""
        gateway = Gateway(member.host, member.client_port, ANSWER_SECONDS_MAX)
        at = str(self.last_revision)
        try:
            answer = gateway.call("kv/range", {"key": encode(FIRST), "range_end": encode(BEHIND), "serializable": True,
                                               "revision": at})
            digest = gateway.call("maintenance/hashkv", {"revision": at})
        except Unknown:
            return None
        finally:
            gateway.close()
        pairs = {decode(pair["key"]): (int(pair["mod_revision"]), decode(pair.get("value"))) for pair in answer.get("kvs", [])}
        return (digest["hash"], digest.get("compact_revision", 0)), pairs

    def end_writes(self):
        """One more write through each member, as a client of its own: the last of them ends the story."""
        ends = []
        for member in self.members:
            deadline = time.monotonic() + SETTLE_SECONDS_MAX * self.options.patience
            while not self.end_write(member, ends):
                if time.monotonic() > deadline:
                    self.wrong.append(f"progress: {member.name} takes no write, long after all healed; see {member.log_path}")
                    break
        if not ends:
            raise AssertionError("no member takes a write any more")
        self.last_revision = ends[-1]

    def end_write(self, member, ends):
        number = len(self.last_operations)
        call = Operation(CLIENTS, "put", "kend", time.monotonic(), value=f"end {number} {member.name}")
        gateway = Gateway(member.host, member.client_port, ANSWER_SECONDS_MAX)
        self.last_operations.append(call)
        try:
            call.revision = revision_of(gateway.call("kv/put", {"key": encode(call.key), "value": encode(call.value)}))
        except Refused:
            call.refused = True
            time.sleep(PAUSE_AFTER_ERROR_SECONDS)
            return False
        except Unknown:
            time.sleep(PAUSE_AFTER_ERROR_SECONDS)
            return False
        finally:
            gateway.close()
        call.end = time.monotonic()
        ends.append(call.revision)
        return True

    def settle(self):
        """Quiet: the story, and what each member holds."""
        self.over.set()
        for client in self.clients:
            client.join(2 * ANSWER_SECONDS_MAX)
        self.end_writes()
        for looker in [self.story, *self.lookers]:
            looker.join(SETTLE_SECONDS_MAX * self.options.patience)
            if looker.is_alive():
                self.wrong.append(f"watch: {looker.watcher.name} got to {looker.next - 1} of {self.last_revision}, no further")
        contents = {}
        deadline = time.monotonic() + SETTLE_SECONDS_MAX * self.options.patience
        for member in self.members:
            content = self.content(member)
            while content is None and time.monotonic() < deadline:
                time.sleep(0.05)
                content = self.content(member)
            if content is None:
                self.wrong.append(f"members: {member.name} has not applied {self.last_revision} for so long")
            else:
                contents[member.name] = content
        return contents

    def judge(self, contents):
        # Leases that end go on making events.
        for looker in [self.story, *self.lookers]:
            looker.watcher.events = [event for event in looker.watcher.events if event.revision <= self.last_revision]
        story = Story(self.story.watcher.events)
        operations = sorted(sum((client.operations for client in self.clients), self.last_operations),
                            key=lambda call: call.begin)
        self.wrong += check(story, operations, [looker.watcher for looker in self.lookers], contents)
        self.report = {
            "seed": self.options.seed, "seconds": round(time.monotonic() - self.began, 1), "faults": dict(self.count),
            "compactions": self.compactions, "put under leases": self.leased, "killed": self.killed,
            "starts": [member.starts for member in self.members],
            "ended by themselves": dict(self.ends),
            "events": len(story.events), "operations": len(operations),
            "acknowledged": sum(1 for call in operations if call.known and call.kind != "get" and call.changed),
            "reads": sum(1 for call in operations if call.known and call.kind == "get"),
            "of unknown end": sum(1 for call in operations if call.end == FOR_EVER and not call.refused),
            "watchers resumed": [looker.resumes for looker in self.lookers],
            "load average": [round(one, 1) for one in os.getloadavg()], "wrong": self.wrong[:HOPELESS]}
        if self.wrong:
            self.keep(story, operations)

    def keep(self, story, operations):
        history = {"events": [asdict(event) for event in story.events],
                   "operations": [{**asdict(call), "end": None if call.end == FOR_EVER else call.end} for call in operations],
                   "watchers": [asdict(looker.watcher) for looker in self.lookers]}
        Path(self.options.out, "history.json").write_text(json.dumps(history))

    def go(self):
        self.began = time.monotonic()
        for member in self.members:
            member.start(self.members)
        for member in self.members:
            member.wait_ready()
        for thread in [*self.clients, *self.lookers, self.story]:
            thread.start()
        try:
            self.wait_for_progress("the start")
            self.hurt()
        except AssertionError as error:
            self.wrong.append(str(error))
            self.network.heal()
        self.judge(self.settle())

    def remove(self):
        for member in self.members:
            member.remove()
        self.network.remove()


def shim():
    """The failing disk, compiled."""
    source = Path(__file__).with_name("faults.c")
    target = Path(tempfile.gettempdir(), f"torture-faults-{os.getuid()}-{os.getpid()}.so")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", target, source, "-ldl"], check=True)
    return str(target)


def main():
    top = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", default=str(top / "build/bin/etcd"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--size", type=int, default=3)
    parser.add_argument("--namespaces", action="store_true")
    parser.add_argument("--port", type=int, default=23100)
    parser.add_argument("--only", default="")
    parser.add_argument("--patience", type=float, default=1)
    parser.add_argument("--out", default="")
    parser.add_argument("--flag", action="append", default=[])
    options = parser.parse_args()
    options.seed = options.seed or random.SystemRandom().randrange(1, 1 << 31)
    options.out = options.out or tempfile.mkdtemp(prefix="torture-")
    options.shim = shim()
    print(f"seed {options.seed}, logs and report in {options.out}", flush=True)
    run = Run(options)
    try:
        run.go()
    finally:
        run.remove()
        os.unlink(options.shim)
    report = json.dumps(run.report, indent=1)
    Path(options.out, "report.json").write_text(report)
    print(report)
    failed = len(run.wrong)
    print(f"{run.report['acknowledged'] + run.report['reads']} answers checked, {failed} findings")
    if not failed:
        shutil.rmtree(options.out, ignore_errors=True)
    print(f"{0 if failed else 1} passed, {1 if failed else 0} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
