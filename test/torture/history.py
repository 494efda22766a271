"""What clients did and saw, and whether a store with etcd's promises can have answered so. Pure: no clock, no files.

Every change of the store has a revision, and every answer names one, so nothing has to be searched: the order of the revisions
must fit the order of time, and each answer must be what the store held at the revision it names. The cost is n log n.

The story of the store (all events in order, from one complete watch) is taken for true, and everything else is held against it:
  lost          an acknowledged write is at its revision in the story, once, with its key and value
  invented      each event is a write somebody began, no write happened twice, none that was refused
  time          what began after an answer has a revision above it (a write) or not below it (a read); no event before its begin
  stale         a read, a failed comparison and a delete's count are as the store was at the revision they name
  early         a key that went with its lease was there until the lease's time was over (that it goes at all is not looked at)
  watch         each watcher saw the story's events from where it began, in order, none twice, none left out
  members       at the end every member holds what the story says, with equal hashes
"""

import bisect
from dataclasses import dataclass, field

FOR_EVER = float("inf")


@dataclass
class Event:
    revision: int
    key: str
    value: str | None  # None: deleted
    create_revision: int = 0


@dataclass
class Operation:
    """One call. `end` is when its answer was there; FOR_EVER: nobody knows whether it happened."""
    client: int
    kind: str  # put, delete, cas, get
    key: str
    begin: float
    end: float = FOR_EVER
    value: str | None = None       # put, cas: what is written; get: what was found
    revision: int = 0              # of the answer's header
    expected: int = 0              # cas: the mod_revision that is compared; 0: the key must not be there
    succeeded: bool = True         # cas: the comparison held
    deleted: int = 0               # delete: how many
    mod_revision: int = 0          # get: of what was found; 0: nothing
    refused: bool = False          # certainly did not happen
    expires: float = 0             # put: under a lease of its own whose time is not over before this; 0: for ever

    @property
    def known(self):
        return self.end != FOR_EVER and not self.refused

    @property
    def changed(self):
        """Whether a known one made an event."""
        return self.kind == "put" or (self.kind == "cas" and self.succeeded) or (self.kind == "delete" and self.deleted > 0)


@dataclass
class Watcher:
    name: str
    start: int
    events: list = field(default_factory=list)
    progress: list = field(default_factory=list)  # (events seen before, revision) of each notification of progress


@dataclass
class Story:
    events: list

    def __post_init__(self):
        self.of_key = {}
        for event in self.events:
            self.of_key.setdefault(event.key, []).append(event)
        self.revisions = {key: [event.revision for event in events] for key, events in self.of_key.items()}
        self.last = self.events[-1].revision if self.events else 1

    def at(self, key, revision):
        """The newest event of `key` up to `revision`; None: there is none."""
        place = bisect.bisect_right(self.revisions.get(key, []), revision)
        return self.of_key[key][place - 1] if place else None

    def holds(self, key, revision):
        event = self.at(key, revision)
        return event if event and event.value is not None else None


def check_story(story):
    for before, after in zip(story.events, story.events[1:]):
        if after.revision <= before.revision:
            yield f"watch: revision {after.revision} after {before.revision} in the story"
        elif after.revision != before.revision + 1:
            yield f"watch: no event between {before.revision} and {after.revision}, and each write makes one"
    for key, events in story.of_key.items():
        alive = 0
        for event in events:
            if event.value is None:
                if not alive:
                    yield f"invented: {key} deleted at {event.revision}, and was not there"
                alive = 0
            else:
                alive = alive or event.revision
                if event.create_revision and event.create_revision != alive:
                    yield f"watch: {key} at {event.revision} was created at {alive}, not {event.create_revision}"


def check_writes(story, operations):
    """(revision -> whose write that event is, what is wrong). An expiry is an operation that begins when it may happen."""
    leased = {operation.key: operation for operation in operations if operation.expires}
    by_revision = {event.revision: event for event in story.events}
    by_value = {}
    owner, wrong = {}, []
    for operation in operations:
        if operation.kind in ("put", "cas"):
            by_value[operation.value] = operation
        if operation.known and operation.kind != "get" and operation.changed:
            event = by_revision.get(operation.revision)
            wanted = None if operation.kind == "delete" else operation.value
            if event is None or (event.key, event.value) != (operation.key, wanted):
                wrong.append(f"lost: {operation} was acknowledged, at its revision is {event}")
            elif operation.revision in owner:
                wrong.append(f"invented: {operation} and {owner[operation.revision]} share a revision")
            owner[operation.revision] = operation
    seen = set()
    open_deletes = {}
    for operation in operations:
        if operation.kind == "delete" and not operation.known and not operation.refused:
            open_deletes.setdefault(operation.key, []).append(operation)
    for event in story.events:
        if event.value is None:
            if event.revision not in owner:
                # Somebody's of whom nothing was heard again: there must be one that had begun.
                candidates = open_deletes.get(event.key, [])
                if event.key in leased:
                    lessee = leased[event.key]
                    owner[event.revision] = Operation(lessee.client, "expiry", event.key, lessee.expires)
                elif not candidates:
                    wrong.append(f"invented: nobody deleted {event.key} at {event.revision}")
                else:
                    owner[event.revision] = candidates.pop(0)
            continue
        writer = by_value.get(event.value)
        if writer is None or writer.key != event.key:
            wrong.append(f"invented: nobody wrote {event}")
        elif event.value in seen:
            wrong.append(f"invented: {event} happened twice")
        elif writer.refused:
            wrong.append(f"invented: {event} was refused")
        elif writer.known and (writer.revision != event.revision or not writer.changed):
            wrong.append(f"invented: {event} is of {writer}")
        else:
            seen.add(event.value)
            owner[event.revision] = writer
    return owner, wrong


def check_time(owner, operations):
    """An answer's revision is a lower bound for all that begins after it."""
    points = [(operation.end, 1, operation.revision, operation) for operation in operations if operation.known]
    revision_of = {id(operation): revision for revision, operation in owner.items()}
    for operation in operations:
        if operation.refused:
            continue
        revision = operation.revision if operation.known else revision_of.get(id(operation), 0)
        # A delete of unknown end is told from others like it only by its key: its event may be another's.
        if revision and not (operation.kind == "delete" and not operation.known):
            points.append((operation.begin, 0, revision, operation))
    newest, by = 0, None
    for _, is_end, revision, operation in sorted(points, key=lambda point: (point[0], point[1])):
        if is_end:
            if revision > newest:
                newest, by = revision, operation
        elif revision < newest or (revision == newest and operation.kind != "get" and
                                   (operation.kind == "expiry" or (operation.changed and operation.known))):
            promise = "early" if operation.kind == "expiry" else "time"
            yield f"{promise}: {operation} is at {revision}, after {by} had been answered at {newest}"


def check_reads(story, operations):
    for operation in operations:
        if not operation.known:
            continue
        if operation.revision > story.last:
            yield f"stale: {operation} is at a revision that never was, the last is {story.last}"
        elif operation.kind == "get":
            event = story.holds(operation.key, operation.revision)
            found = (event.revision, event.value) if event else (0, None)
            if found != (operation.mod_revision, operation.value):
                yield f"stale: {operation}, the store held {event}"
        elif operation.kind == "cas":
            at = operation.revision - (1 if operation.succeeded else 0)
            event = story.holds(operation.key, at)
            if ((event.revision if event else 0) == operation.expected) != operation.succeeded:
                yield f"stale: {operation}, the store held {event}"
        elif operation.kind == "delete":
            event = story.holds(operation.key, operation.revision - (1 if operation.deleted else 0))
            if (1 if event else 0) != operation.deleted:
                yield f"stale: {operation}, the store held {event}"


def check_watchers(story, watchers):
    """A watcher may end early; what it saw up to there must be everything."""
    revisions = [event.revision for event in story.events]
    for watcher in watchers:
        first = bisect.bisect_left(revisions, watcher.start)
        for number, seen in enumerate(watcher.events):
            wanted = story.events[first + number] if first + number < len(story.events) else None
            if wanted is None or (seen.revision, seen.key, seen.value) != (wanted.revision, wanted.key, wanted.value):
                yield f"watch: {watcher.name} saw {seen} where the story has {wanted}"
                break
        for count, revision in watcher.progress:
            following = first + count
            if following < len(story.events) and story.events[following].revision <= revision:
                yield f"watch: {watcher.name} was told of progress to {revision} before it saw {story.events[following]}"
                break


def check_members(story, members):
    """members: name -> (hash, {key: (mod_revision, value)}) at the story's end."""
    wanted = {key: (events[-1].revision, events[-1].value) for key, events in story.of_key.items()
              if events[-1].value is not None}
    hashes = {}
    for name, (digest, content) in members.items():
        hashes.setdefault(digest, []).append(name)
        for key in sorted(set(wanted) | set(content)):
            if wanted.get(key) != content.get(key):
                yield f"members: {name} holds {content.get(key)} of {key}, the story says {wanted.get(key)}"
                break
    if len(hashes) > 1:
        yield f"members: hashes differ: {hashes}"


def check(story, operations, watchers=(), members=None):
    """Everything that is wrong, as texts that begin with the promise that is broken."""
    wrong = list(check_story(story))
    owner, of_writes = check_writes(story, operations)
    wrong += of_writes
    expiries = [operation for operation in owner.values() if operation.kind == "expiry"]
    wrong += check_time(owner, operations + expiries)
    wrong += check_reads(story, operations)
    wrong += check_watchers(story, watchers)
    wrong += check_members(story, members or {})
    return wrong
