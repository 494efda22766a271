#!/usr/bin/env python3
"""The checker bites: a made-up store that keeps its promises is found right, and each planted bug is found under its name."""

import copy
import random
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))

import harness  # noqa: E402
from history import Event, Operation, Story, Watcher, check  # noqa: E402

KEYS = ["a", "b", "c", "d"]


class Store:
    """A right store, answered to by clients at the same time: each call takes effect somewhere between begin and end."""

    def __init__(self, seed, calls=400):
        choose = random.Random(seed)
        self.events, self.operations, self.held = [], [], {}
        self.revision = 1
        times = sorted(choose.uniform(0, 100) for _ in range(calls))
        for number, moment in enumerate(times):
            begin, end = moment - choose.uniform(0, 2), moment + choose.uniform(0, 2)
            self.apply(choose, number, begin, end)
        self.watchers = [self.watcher(f"w{i}", choose.randrange(2, 100)) for i in range(3)]
        content = {key: (event.revision, event.value) for key, event in self.held.items()}
        self.members = {name: (42, dict(content)) for name in ("m0", "m1", "m2")}

    def event(self, key, value):
        self.revision += 1
        before = self.held.get(key)
        event = Event(self.revision, key, value, (before.create_revision if before else self.revision) if value else 0)
        self.events.append(event)
        if value is None:
            del self.held[key]
        else:
            self.held[key] = event

    def apply(self, choose, number, begin, end):
        kind, key = choose.choice(["put", "put", "get", "delete", "cas"]), choose.choice(KEYS)
        call = Operation(number % 5, kind, key, begin, end)
        held = self.held.get(key)
        if kind == "get" and held:
            call.value, call.mod_revision = held.value, held.revision
        elif kind == "put":
            call.value = f"v{number}"
            self.event(key, call.value)
        elif kind == "delete" and held:
            call.deleted = 1
            self.event(key, None)
        elif kind == "cas":
            call.value = f"v{number}"
            call.expected = choose.choice([0, held.revision if held else 0, 3])
            call.succeeded = call.expected == (held.revision if held else 0)
            if call.succeeded:
                self.event(key, call.value)
        call.revision = self.revision
        if choose.random() < 0.1:  # The answer was lost.
            call.end, call.revision = float("inf"), 0
            if kind == "delete":
                call.deleted = 0
        self.operations.append(call)
        if choose.random() < 0.05:
            self.operations.append(Operation(9, "put", key, begin, end, value=f"no{number}", refused=True))

    def watcher(self, name, start):
        seen = [copy.copy(event) for event in self.events if event.revision >= start]
        return Watcher(name, start, seen, [(len(seen) // 2, seen[len(seen) // 2].revision - 1)])

    def wrong(self):
        return check(Story(self.events), self.operations, self.watchers, self.members)

    def first(self, condition):
        return next(call for call in self.operations if call.known and condition(call))


class Checker(unittest.TestCase):
    def found(self, word, plant):
        """The bug is found under its name, in each of several stories; without it nothing is."""
        for seed in range(1, 6):
            with self.subTest(seed=seed):
                store = Store(seed)
                self.assertEqual(store.wrong(), [])
                plant(store)
                wrong = store.wrong()
                self.assertTrue(any(text.startswith(word) for text in wrong), f"{word} not among {wrong[:3]}")

    def test_a_right_store_is_found_right(self):
        for seed in range(100, 150):
            self.assertEqual(Store(seed).wrong(), [])

    @staticmethod
    def lease_a_key(store, over):
        """Put at 200, seen to be gone at 210; its lease may end at `over`."""
        store.event("l1", "leased")
        store.operations.append(Operation(1, "put", "l1", 200, 201, value="leased", revision=store.revision, expires=over))
        store.event("l1", None)
        store.operations.append(Operation(2, "get", "l1", 202, 210, revision=store.revision))

    def test_a_key_that_goes_with_its_lease(self):
        for over in (204, 209.9):
            store = Store(7)
            self.lease_a_key(store, over)
            self.assertEqual(store.wrong(), [])

    def test_a_lease_that_ends_early(self):
        self.found("early", lambda store: self.lease_a_key(store, 210.1))

    def test_acknowledged_before_sync(self):
        def plant(store):  # The last write vanishes; later ones take its revision.
            lost = store.first(lambda call: call.kind == "put" and call.revision > 20).revision
            store.events = [event for event in store.events if event.revision != lost]
            for event in store.events:
                event.revision -= event.revision > lost
        self.found("lost", plant)

    def test_a_write_of_another_value(self):
        def plant(store):
            store.first(lambda call: call.kind == "put").value = "other"
        self.found("lost", plant)

    def test_a_retried_write_happens_twice(self):
        def plant(store):
            event = copy.copy(next(event for event in store.events if event.value))
            event.revision = store.events[-1].revision + 1
            store.events.append(event)
        self.found("invented", plant)

    def test_a_refused_write_happens(self):
        def plant(store):
            call = next(call for call in store.operations if call.refused)
            store.events.append(Event(store.events[-1].revision + 1, call.key, call.value))
        self.found("invented", plant)

    def test_a_key_deleted_by_nobody(self):
        def plant(store):
            event = next(event for event in reversed(store.events) if event.value)
            store.events.append(Event(store.events[-1].revision + 1, event.key, None))
            store.operations = [call for call in store.operations if call.kind != "delete" or call.known]
        self.found("invented", plant)

    def test_a_stale_read_of_a_leader_that_is_none(self):
        def plant(store):  # The answer is right for a moment long before its begin.
            call = store.first(lambda call: call.kind == "get" and call.revision > 50)
            event = Story(store.events).holds(call.key, 10)
            call.revision = 10
            call.value, call.mod_revision = (event.value, event.revision) if event else (None, 0)
        self.found("time", plant)

    def test_a_read_of_what_is_not_yet_there(self):
        def plant(store):
            call = store.first(lambda call: call.kind == "get" and call.revision < store.events[-40].revision)
            later = next(event for event in store.events
                         if event.revision > call.revision and event.key == call.key and event.value)
            call.value, call.mod_revision = later.value, later.revision
        self.found("stale", plant)

    def test_a_read_without_the_newest_write(self):
        def plant(store):
            call = store.first(lambda call: call.kind == "get" and call.mod_revision)
            call.value, call.mod_revision = None, 0
        self.found("stale", plant)

    def test_two_comparisons_of_the_same_revision_hold(self):
        def plant(store):
            call = store.first(lambda call: call.kind == "cas" and call.succeeded and call.expected)
            call.expected -= 1
        self.found("stale", plant)

    def test_a_comparison_that_should_have_held(self):
        def plant(store):
            call = store.first(lambda call: call.kind == "cas" and not call.succeeded)
            event = Story(store.events).holds(call.key, call.revision)
            call.expected = event.revision if event else 0
        self.found("stale", plant)

    def test_a_delete_that_counts_wrong(self):
        def plant(store):
            store.first(lambda call: call.kind == "delete" and not call.deleted).deleted = 1
        self.found("", plant)

    def test_a_revision_that_goes_back(self):
        def plant(store):
            store.events[30].revision = store.events[29].revision
        self.found("watch", plant)

    def test_an_event_left_out(self):
        self.found("watch", lambda store: store.watchers[0].events.pop(7))

    def test_an_event_seen_twice(self):
        self.found("watch", lambda store: store.watchers[1].events.insert(5, store.watchers[1].events[4]))

    def test_resumed_one_revision_late(self):
        def plant(store):
            del store.watchers[2].events[0]
        self.found("watch", plant)

    def test_progress_before_events(self):
        def plant(store):
            watcher = store.watchers[0]
            watcher.progress.append((3, watcher.events[6].revision))
        self.found("watch", plant)

    def test_a_wrong_create_revision(self):
        def plant(store):
            overwritten = next(event for event in store.events if event.value and event.create_revision != event.revision)
            overwritten.create_revision += 1
        self.found("watch", plant)

    def test_a_member_without_the_last_write(self):
        def plant(store):
            store.members["m1"][1].popitem()
        self.found("members", plant)

    def test_a_member_with_another_hash(self):
        def plant(store):
            store.members["m2"] = (43, store.members["m2"][1])
        self.found("members", plant)


if __name__ == "__main__":
    harness.main()
