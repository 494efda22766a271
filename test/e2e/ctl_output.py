#!/usr/bin/env python3
"""Runs the same etcdctl commands with two programs against one server and compares what they print, byte for byte, and how they
exit. The last line is "N passed, N failed".

usage: ctl_output.py --ours PATH --reference PATH --endpoint HOST:PORT [--only TEXT]

Before each command the keys below `~ctl-output/` are set up anew, so that both programs meet the same state; revisions are
compared relative to the one before. What may differ is taken out first: times, durations, ports of this side, addresses in
memory, the prose of help texts.
"""

import argparse
import os
import re
import subprocess
import sys

KEY = "~ctl-output/"  # behind other keys, for --from-key
LEASED = "~ctl-leased"  # not below it, and before it
DEAD = "127.0.0.1:1"
FORMATS = ["simple", "fields", "json", "protobuf", "table"]
TIMEOUT_S = 20
ADD_TRIES = 12  # until both programs' new members stand on the same side of the server, whose random ids order them
TRIES = 3  # of a status: the server writes its file between two calls


class Case:
    """One command. `stdin`: what it reads; `env`: variables; `fresh`: keys are set up before each run; `endpoint`: by flag;
    `watched`: stopped after a moment; `learner`: a learner that never comes is a member, LEARNER its id; `alone`: none is.
    REVISION and LEASE stand for the revision before the keys and for a lease, SELF for the server's id."""

    def __init__(self, *args, stdin="", env=None, fresh=False, endpoint=True, loose_table=False, watched=False,
                 learner=False, alone=False):
        self.args, self.stdin, self.env, self.fresh = list(args), stdin, env or {}, fresh
        self.endpoint, self.loose_table, self.watched = endpoint, loose_table, watched
        self.learner, self.alone = learner, alone

    def __str__(self):
        env = "".join(f"{k}={v} " for k, v in self.env.items())
        text = f" <<< {self.stdin!r}" if self.stdin else ""
        return f"{env}etcdctl {' '.join(self.args)}{text}"


def key_cases():
    for form in FORMATS:
        for extra in ([], ["--hex"]):
            w = ["-w", form, *extra]
            yield Case("get", KEY + "a", *w, fresh=True)
            yield Case("get", KEY, "--prefix", *w, fresh=True)
            yield Case("get", KEY + "none", *w, fresh=True)
            yield Case("get", KEY, "--prefix", "--keys-only", *w, fresh=True)
            yield Case("get", KEY, "--prefix", "--limit", "2", *w, fresh=True)
            yield Case("put", KEY + "a", "new", *w, fresh=True)
            yield Case("put", KEY + "a", "new", "--prev-kv", *w, fresh=True)
            yield Case("put", KEY + "fresh", "new", "--prev-kv", *w, fresh=True)
            yield Case("del", KEY + "a", *w, fresh=True)
            yield Case("del", KEY, "--prefix", "--prev-kv", *w, fresh=True)
            yield Case("del", KEY + "none", "--prev-kv", *w, fresh=True)
            yield Case("txn", *w, stdin=TXN_ALL, fresh=True)
            yield Case("member", "list", *w)
            yield Case("endpoint", "status", *w)
            yield Case("endpoint", "hashkv", *w)
            yield Case("endpoint", "health", *w, loose_table=True)
        yield Case("get", KEY, "--prefix", "--count-only", "-w", form, fresh=True)
        yield Case("get", KEY, "--prefix", "--print-value-only", "-w", form, fresh=True)
        yield Case("get", KEY, "--prefix", "--stream", "-w", form, fresh=True)
        yield Case("endpoint", "status", "--cluster", "-w", form)
    for order in ("", "ASCEND", "descend"):
        for by in ("CREATE", "KEY", "MODIFY", "VALUE", "version"):
            yield Case("get", KEY, "--prefix", "--order", order, "--sort-by", by, fresh=True)
    for flags in (["--from-key"], ["--rev", "1"], ["--rev", "-3"], ["--limit=1", "--order=DESCEND"], ["--consistency", "s"],
                  ["--min-mod-rev", "1"], ["--max-mod-rev=1"], ["--min-create-rev", "0x1"], ["--max-create-rev", "0"]):
        yield Case("get", KEY + "b", *flags, fresh=True)
    yield Case("get", KEY + "a", KEY + "c", fresh=True)
    yield Case("get", KEY + "a", "", fresh=True)
    yield Case("get", KEY + "a", KEY + "b", "ignored", fresh=True)
    yield Case("get", "", "--prefix", "--limit", "1", "--keys-only")
    yield Case("get", "", "--from-key", "--limit", "1", "--keys-only")
    yield Case("get", "", "--stream", "--order", "ASCEND", "--sort-by", "VALUE")
    yield Case("put", KEY + "a", "--", "-value", fresh=True)
    yield Case("put", "--", KEY + "a", "--value", fresh=True)
    yield Case("put", KEY + "a", stdin="from\nstdin\n", fresh=True)
    yield Case("put", KEY + "a", "--ignore-value", fresh=True)
    yield Case("put", KEY + "a", "--ignore-value", "--prev-kv", "-w", "fields", fresh=True)
    yield Case("put", KEY + "none", "--ignore-value", fresh=True)
    yield Case("put", KEY + "a", "v", "--ignore-lease", fresh=True)
    yield Case("put", KEY + "a", "v", "--lease", "77")
    yield Case("put", "--prev-kv=t", KEY + "a", "x", "y", fresh=True)
    yield Case("del", KEY + "a", KEY + "c", "--range", fresh=True)
    yield Case("del", KEY + "a", KEY + "c", fresh=True)
    yield Case("del", KEY + "b", "--from-key", "--prev-kv", "-w", "json", fresh=True)
    yield Case("compaction", "99999999")
    yield Case("compact", "--physical", "99999999")
    yield Case("version")


TXN_ALL = f"""value("{KEY}a") = "1"
version("{KEY}a") > "0"
create("{KEY}none") = "0"
mod("{KEY}b") != "0"

put {KEY}a "new \\x00\\t\\"value\\"" --prev-kv
get {KEY} --prefix --keys-only
del '{KEY}b' --prev-kv
get {KEY}none

put {KEY}a failure

"""


def txn_cases():
    one = lambda line: Case("txn", stdin=f"{line}\n\n\n\n", fresh=True)
    for line in ('mod("k") > "0"', 'm("k") = "0"', 'c("k") < "1"', 'ver("k") != "9"', 'val("k") = "x" rest', "mod(`k`) = `0`",
                 'mod( "k") = "0"', 'ver("k")   =   "0"', 'mod(x) > "1"', 'mod("k")> "1"', 'mod("k") >"1"', 'mod ("k") = "1"',
                 'foo("k") = "1"', 'mod("k") = "x"', 'mod("k") = 1', 'mod("k\\q") = "1"', "mod", "mod(", 'mod("k"', 'mod("k")',
                 'mod("k") =', "mod('k') = '0'", 'mod("\\x6b\\u00e9\\n") = "0"', 'val("k") = ""',
                 'mod("k") = "99999999999999999999"'):
        yield one(line)
    request = lambda line: Case("txn", stdin=f"\n{line}\n\n\n", fresh=True)
    for line in (f"put {KEY}a b", f"p {KEY}a b", f"put {KEY}a 'x y'", f'put {KEY}a "x\\ty"', f"get {KEY}a", f"g {KEY} --prefix",
                 f"del {KEY}a", f"delete {KEY}a", f"del {KEY} --prefix --prev-kv", "put", "get", f'put "{KEY}a\\q" b',
                 "foo bar",
                 f"put {KEY}a b --lease=zz", f"get {KEY}a --order=x", f"put {KEY}a b --foo", f"get {KEY}a --limit=x",
                 f"get {KEY}a --prefix --from-key", f"put '{KEY}a b", f'put {KEY}a b"c"d', f"get {KEY}a --rev 99999999",
                 f"put {KEY}a -- -5", f"del {KEY}a {KEY}b --range"):
        yield request(line)
    yield Case("txn", "-i", stdin=TXN_ALL, fresh=True)
    yield Case("txn", "--interactive", stdin="")
    yield Case("txn", stdin="")
    yield Case("txn", stdin="\n")
    yield Case("txn", stdin="\n\n")
    yield Case("txn", stdin='mod("k") > "0"')
    yield Case("txn", stdin="\n\n\n")
    yield Case("txn", "x")
    yield Case("txn", stdin=f"\nput {KEY}a 1\nput {KEY}a 2\n\n\n")


WATCHED_S = 1  # of a watch that ends only when it is stopped


def watch_and_lease_cases():
    """Watches are stopped after a moment; a lease with keys is there (LEASE stands for its id)."""
    watch = lambda *args, **options: Case("watch", *args, watched=True, fresh=True, **options)
    for form in FORMATS:
        for extra in ([], ["--hex"]):
            w = ["-w", form, *extra]
            yield watch(KEY, "--prefix", "--prev-kv", "--rev", "REVISION", *w)
            yield watch(KEY, "--rev", "1", *w)  # compacted
            yield Case("lease", "timetolive", "LEASE", "--keys", *w)
            yield Case("lease", "timetolive", "LEASE", *w)
            yield Case("lease", "timetolive", "77", "--keys", *w)
            yield Case("lease", "keep-alive", "--once", "LEASE", *w)
            yield Case("lease", "keep-alive", "LEASE", *w, watched=True)
            yield Case("lease", "keep-alive", "77", *w)
            yield Case("lease", "revoke", "77", *w)
            yield Case("lease", "list", *w)
            yield Case("alarm", "list", *w)
            yield Case("alarm", "disarm", *w)
    for args in (["a", "--", "sh", "-c", "env | grep ETCD_WATCH_ | sort; exit 3"], ["a", "--", "nosuch"],
                 ["a", "--", "./nosuch"], ["a", "--", "sh", "-c", "kill -9 $$"], ["a", "c"], ["a", "", "--from-key"]):
        yield watch(KEY + args[0], *[KEY + a if a == "c" else a for a in args[1:2]], "--rev", "REVISION", *args[2:])
    for args in ([], ["--"], ["a", "--"], ["a", "b", "--prefix"], ["--rev", "x", "a"], ["--foo"]):
        yield Case("watch", *args)
    for env, args in (({"ETCDCTL_WATCH_KEY": KEY + "a"}, []), ({"ETCDCTL_WATCH_KEY": KEY + "a"}, ["--", "echo", "event"]),
                      ({"ETCDCTL_WATCH_KEY": KEY + "a"}, ["x"]), ({"ETCDCTL_WATCH_KEY": "a"}, ["x", "--", "echo", "1"]),
                      ({"ETCDCTL_WATCH_KEY": KEY, "ETCDCTL_WATCH_RANGE_END": KEY + "z"}, []),
                      ({"ETCDCTL_WATCH_RANGE_END": "z"}, [])):
        yield watch("--rev", "REVISION", *args, env=env)
    for lines in (f"foo\n\nwatch\nwatch a b --prefix\nwatch {KEY}a --rev REVISION\n", "", "watch a", "watch a --\n",
                  "watch --help\n", "watch --bogus a\n", 'watch "a\\q"\n', "watch --rev 1\n"):
        yield watch("-i", stdin=lines)
    quick = ["--command-timeout", "300ms"]
    for args in (["lease", "grant"], ["lease", "grant", "x"], ["lease", "grant", "9999999999999"], ["lease", "revoke"],
                 ["lease", "revoke", "zz"], ["lease", "timetolive"], ["lease", "timetolive", "zz"], ["lease", "keep-alive"],
                 ["lease", "keep-alive", "zz", "--once"], ["alarm", "list", "x"], ["alarm", "disarm", "x"],
                 ["snapshot", "save"],
                 ["snapshot", "save", "/nonexistent/x"], ["defrag"],
                 ["defrag", "--cluster"], ["check", "perf", "--load", "x"], ["check", "datascale", "--load", ""],
                 ["check", "perf", "--prefix", KEY], ["completion"], ["completion", "x"], ["completion", "bash", "zsh"]):
        yield Case(*args, fresh="--prefix" in args)
    for args in (["snapshot", "save", "x.db"], ["defrag"], ["lease", "grant", "5"], ["alarm", "list"]):
        yield Case("--endpoints", DEAD, *quick, *args, endpoint=False)
    yield Case("--endpoints", f"{DEAD},{DEAD}", "snapshot", "save", "x.db", endpoint=False)


def error_cases():
    for args in (["get"], ["put"], ["put", "k"], ["del"], ["del", "a", "b", "c"], ["compaction"], ["compaction", "x"],
                 ["compaction", "1", "2"], ["put", "k", "v", "--ignore-value"], ["put", "", "v"],
                 ["get", "a", "--prefix", "--from-key"], ["get", "a", "b", "--prefix"],
                 ["get", "a", "--keys-only", "--count-only"],
                 ["get", "a", "--order", "x"], ["get", "a", "--sort-by", "x"], ["get", "a", "--consistency", "x"],
                 ["get", "a", "--min-mod-rev", "5", "--max-mod-rev", "2"],
                 ["get", "a", "--min-create-rev", "5", "--max-create-rev", "2"], ["get", "a", "--rev", "99999999"],
                 ["put", "a", "b", "--lease", "zz"], ["put", "a", "b", "--lease", "8000000000000000"],
                 ["put", "a", "b", "--lease", ""], ["del", "a", "--prefix", "--from-key"], ["del", "a", "b", "--prefix"],
                 ["member", "list", "--consistency", "q"], ["-w", "bogus", "get", "a"],
                 ["endpoint", "hashkv", "--rev", "99999999"],
                 ["--cert", "", "get", "a"], ["--key=", "get", "a"], ["--cacert", "", "get", "a"],
                 ["--cacert", "/nonexistent", "get", "a"], ["--cert", "/nonexistent", "get", "a"],
                 ["--cert", "/nonexistent", "--key", "/nonexistent", "get", "a"],
                 ["--max-request-bytes", "10", "put", "kk", "v" * 40],
                 ["--max-recv-bytes", "10", "get", "", "--prefix"],
                 ["--max-request-bytes", "20", "--max-recv-bytes", "10", "get", "a"],
                 ["--user", "root:x", "get", "none"], ["--user", "root:", "get", "none"],
                 ["--auth-jwt-token", "x", "get", "none"],
                 ["--password", "x", "get", "none"], ["--debug", "version"], ["--hex=maybe", "get", "a"]):
        yield Case(*args)
    # Flags and command names, judged by cobra and pflag.
    for args in (["get", "--foo"], ["get", "-x"], ["get", "a", "-xy"], ["get", "a", "--limit=x"], ["get", "a", "--limit"],
                 ["get", "a", "--prefix=maybe"], ["get", "a", "--rev", "99999999999999999999"], ["get", "a", "--=x"],
                 ["get", "a", "---"],
                 ["put", "k", "-5"], ["--dial-timeout", "5", "get", "a"], ["--dial-timeout", "x", "get", "a"],
                 ["--command-timeout=1q", "get", "a"], ["-w"], ["get", "a", "-w"], ["--endpoints"], ["foo"], ["gte", "a"],
                 ["geet"],
                 ["txn", "-q"], ["txn", "-ix"], ["--foo", "bar", "get", "a"], ["get", "a", "--limit="],
                 ['--endpoints="a', "get", "a"], ['--endpoints=a"b', "get", "a"], ["compaction", "--physical=x", "1"]):
        yield Case(*args, endpoint=False)
    for args in (["-wjson", "get", "none"], ["-w=fields", "get", "none"], ["get", "-w", "json", "none"], ["--hex", "true"],
                 ["endpoint", "health", "--cluster", "-wjson"], ["en", "hash"], ["end", "status"],
                 ["get", "none", "--limit", "0x10"],
                 ["get", "none", "--limit", "1_0"], ["get", "none", "--limit", "+5"],
                 ["get", "none", "--rev=0b1", "--rev", "0"]):
        yield Case(*args)


def connection_cases(endpoint):
    quick = ["--command-timeout", "300ms"]
    for args in (["get", "a"], ["put", "a", "b"], ["del", "a"], ["compaction", "1"], ["member", "list"], ["endpoint", "status"],
                 ["endpoint", "health"], ["endpoint", "hashkv"], ["endpoint", "health", "--cluster"]):
        yield Case("--endpoints", DEAD, *quick, *args, endpoint=False)
    for form in ("json", "table", "fields"):
        yield Case("--endpoints", DEAD, *quick, "endpoint", "status", "-w", form, endpoint=False)
        yield Case("--endpoints", DEAD, *quick, "endpoint", "health", "-w", form, endpoint=False, loose_table=True)
    yield Case("--endpoints", f"http://{endpoint},http://{DEAD}", *quick, "endpoint", "status", endpoint=False)
    yield Case("--endpoints", f"http://{endpoint},{DEAD}", *quick, "endpoint", "health", endpoint=False)
    yield Case("--endpoints", f"http://{DEAD},{endpoint}", "get", "none", endpoint=False)
    yield Case("--endpoints", "", "get", "a", endpoint=False)
    yield Case("--endpoints", "", "endpoint", "health", endpoint=False)
    yield Case("--endpoints", ":" + endpoint.rsplit(":", 1)[1], "get", "none", endpoint=False)
    yield Case("--endpoints", f" {endpoint}", "get", "none", endpoint=False)
    yield Case("--endpoints", "localhost", *quick, "get", "a", endpoint=False)
    yield Case("--endpoints", f"https://{endpoint}", *quick, "get", "a", endpoint=False)
    yield Case("--insecure-transport=false", *quick, "get", "a")
    yield Case("--endpoints", DEAD, "--dial-timeout", "100ms", "--user", "a:b", "get", "a", endpoint=False)
    yield Case("get", "none", env={"ETCDCTL_ENDPOINTS": endpoint}, endpoint=False)
    yield Case("get", "none", env={"ETCDCTL_ENDPOINTS": "x"})
    yield Case("get", "none", env={"ETCDCTL_FOO": "1"})
    yield Case("get", "none", env={"ETCDCTL_API": "3"})
    yield Case("get", "none", env={"ETCDCTL_HEX": "zz"})
    yield Case("get", "none", env={"ETCDCTL_WRITE_OUT": "json"})
    yield Case("get", "none", env={"ETCDCTL_WRITE_OUT": "bogus"})
    yield Case("endpoint", "status", env={"ETCDCTL_CLUSTER": "true"})
    yield Case("version", env={"ETCDCTL_ENDPOINTS": "x"})


def member_cases(endpoint):
    nowhere = "http://NOWHERE"
    for form in FORMATS:
        w = ["-w", form]
        yield Case("member", "add", "new", "--learner", f"--peer-urls={nowhere}", *w, alone=True)
        yield Case("member", "list", *w, learner=True)
        yield Case("member", "update", "LEARNER", "--peer-urls=http://127.0.0.1:8,http://localhost:8", *w, learner=True)
        yield Case("member", "promote", "LEARNER", *w, learner=True)
        yield Case("member", "remove", "LEARNER", *w, learner=True)
        yield Case("move-leader", "SELF", *w)
        yield Case("endpoint", "hashkv", "--cluster", *w)
        yield Case("endpoint", "hashkv", "--rev", "1", *w)
        yield Case("endpoint", "health", "--cluster", *w, loose_table=True)
        yield Case("member", "list", "--hex", *w)
    for args in (["add", "second", "--learner", f"--peer-urls={nowhere}"], ["add", "x", "--learner", "--peer-urls=http://x:1"],
                 ["promote", "SELF"], ["update", "LEARNER", "--peer-urls", "127.0.0.1:8"],
                 ["update", "LEARNER", "--peer-urls", "http://127.0.0.1"]):
        yield Case("member", *args, learner=True)
    for args in ([], ["add"], ["add", "x"], ["add", "x", "y", "--peer-urls", nowhere], ["add", "x", "--peer-urls"],
                 ["add", "x", "--peer-urls", "nothing"], ["add", "x", "--peer-urls", "ftp://h:1"],
                 ["add", "x", "--peer-urls", "http://127.0.0.1"], ["add", "x", "--learner=maybe"],
                 ["add", "", "--learner", f"--peer-urls={nowhere}"],
                 ["remove"], ["remove", "zz"], ["remove", "1234"], ["remove", "1", "2"], ["update"], ["update", "zz"],
                 ["update", "1234"], ["update", "1234", "--peer-urls", nowhere], ["update", "zz", "--peer-urls", nowhere],
                 ["promote"], ["promote", "zz"], ["promote", "1234"], ["promote", "1", "2"], ["list", "x"], ["nothing"],
                 ["list", "--consistency=s"], ["list", "--consistency=l"]):
        yield Case("member", *args, alone=True)
    for args in ([], ["zz"], ["1234"], ["1", "2"], ["SELF", "SELF"]):
        yield Case("move-leader", *args)
    quick = ["--endpoints", DEAD, "--command-timeout", "300ms"]
    for args in (["member", "add", "x", "--peer-urls", nowhere], ["member", "remove", "1234"], ["member", "promote", "1234"],
                 ["member", "update", "1234", "--peer-urls", nowhere], ["move-leader", "1234"],
                 ["endpoint", "hashkv", "--cluster"], ["endpoint", "status", "--cluster"]):
        yield Case(*quick, *args, endpoint=False)
    yield Case("--endpoints", f"http://{endpoint},{endpoint}", "endpoint", "hashkv", endpoint=False)


LOG_LINE = re.compile(r'^\{"level":')
TOOK = r"(?:\d+h)?(?:\d+m)?(?:[\d.]+(?:ns|µs|ms|s))"


SELF = [""]  # the server's id, as hexadecimal; known once it was asked


def without_noise(text, base_revision, case):
    """What is compared: `text` without what differs from run to run."""
    lines = []
    for line in text.split("\n"):
        if LOG_LINE.match(line):
            line = re.sub(r'"ts":"[^"]*"', '"ts":"T"', line)
            line = re.sub(r'"caller":"[^"]*"', '"caller":"C"', line)
            line = re.sub(r',"stacktrace":"[^"]*"', "", line)
            line = re.sub(r"etcd-endpoints://0x[0-9a-f]+/", "etcd-endpoints://P/", line)
            if "trying to send message larger" in line:  # etcdctl has a connection by then, ours has not begun to make one
                line = re.sub(r'"peer":"[^"]*"', '"peer":"P"', line)
            line = re.sub(r"LocalAddr: '127\.0\.0\.1:\d+'", "LocalAddr: 'L'", line)
        line = re.sub(rf'(took = |took |"took":"|"Took" : ){TOOK}', r"\1D", line)
        if case.loose_table:
            line = re.sub(rf" {TOOK} ", " D ", line)
            line = re.sub("─+", "─", re.sub(" +", " ", line))
        lines.append(line)
    text = "\n".join(lines)
    if case.learner or case.alone:  # a member's id has the second in it in which it was added
        text = re.sub(r"127\.0\.0\.1: ?\d{3}\b", "NOWHERE", text)
        text = re.sub(rf"(?!{SELF[0]})\b[0-9a-f]{{15,16}}\b", "ID", text)
        text = re.sub(rf"(?!{int(SELF[0], 16)})\b\d{{16,20}}\b", "ID", text)
    if case.fresh:
        relative = lambda m: f"R+{int(m[0]) - base_revision}" if 0 < int(m[0]) - base_revision < 50 else m[0]
        text = re.sub(r"(?<![\w.])\d+(?![\w.])", relative, text)
    return without_prose(text)


def without_prose(text):
    """Of a usage text only the usage line and the flags' names, types and defaults stay: the words are each program's own."""
    if "Usage:" not in text:
        return text
    before, usage = text.split("Usage:", 1)
    if "[command]" in usage:  # lists commands, of which the programs have different ones
        return before if before.startswith("Error:") else ""
    lines = []
    for line in usage.split("\n"):
        flag = re.match(r"(\s+(?:-\w, )?--[\w-]+(?: \w+)?)\s{2,}.*?(\(default .*\))?$", line)
        lines.append(f"{flag[1]} {flag[2] or ''}" if flag else line)
    return before + "Usage:" + "\n".join(lines)


def wire_text(data):
    """A protobuf message as text: `1:5 2:{1:"key"}`. What parses as a message is shown as one; both programs are read alike."""
    out, at = [], 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        tag = varint()
        if tag >> 3 == 0 or tag & 7 not in (0, 2):
            raise ValueError("no message of etcd's")
        if tag & 7 == 0:
            out.append(f"{tag >> 3}:{varint()}")
            continue
        size = varint()
        if at + size > len(data):
            raise ValueError("cut off")
        inside = data[at : at + size]
        at += size
        try:
            out.append(f"{tag >> 3}:{{ {wire_text(inside)} }}" if len(inside) > 1 else f"{tag >> 3}:{inside!r}")
        except (ValueError, IndexError):
            out.append(f"{tag >> 3}:{inside!r}")
    return " ".join(out)


class Runner:
    def __init__(self, options):
        self.options = options
        self.failed = self.passed = 0
        self.revision, self.lease, self.learner = 0, "", ""
        self.port, self.nowhere = 100, "127.0.0.1:100"
        SELF[0] = self.reference("member", "list").split(",")[0]
        self.lease = self.reference("lease", "grant", "3000").split()[1]
        self.reference("put", LEASED, "v", "--lease", self.lease)  # one key: etcd lists several in any order
        revision = re.search(r'"revision":(\d+)', self.reference("get", KEY, "-w", "json"))[1]
        self.reference("compaction", revision)

    def run(self, program, case):
        args = ["--endpoints", self.options.endpoint] if case.endpoint else []
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL_")} | case.env
        concrete = lambda text: text.replace("REVISION", str(self.revision + 1)).replace("LEASE", self.lease).replace(
            "LEARNER", self.learner).replace("SELF", SELF[0]).replace("NOWHERE", self.nowhere)
        # The id of a member comes from its URLs and the second: none may be the same as that of one just removed.
        self.port = 100 + (self.port - 99) % 800
        self.nowhere = f"127.0.0.1:{self.port}"
        command = [program, *args, *map(concrete, case.args)]
        if case.watched:
            command = ["timeout", "--signal=KILL", str(WATCHED_S), *command]
        done = subprocess.run(command, input=concrete(case.stdin).encode(), env=env, capture_output=True, timeout=TIMEOUT_S)
        decode = lambda b: b.decode("utf-8", "backslashreplace")
        out = wire_text(done.stdout).replace(":", ": ") if "protobuf" in case.args else decode(done.stdout)
        return done.returncode, out, decode(done.stderr)

    def reference(self, *args, stdin=""):
        code, out, err = self.run(self.options.reference, Case(*args, stdin=stdin))
        if code != 0:
            sys.exit(f"ctl_output.py: {' '.join(args)}: {err}")
        return out

    def set_up(self):
        """Brings the keys back to where they were; returns the revision before."""
        self.reference("del", KEY, "--prefix")
        revision = int(re.search(r'"revision":(\d+)', self.reference("get", KEY, "-w", "json"))[1])
        puts = "".join(f'put {KEY}{k} "{v}"\n' for k, v in (("a", "1"), ("b", 'tab\\t"'), ("c", "z\\xff<&>")) if k != "b")
        self.reference("txn", stdin=f"\n{puts}\n\n")
        self.reference("put", KEY + "b", "tab\t\"quote'")
        self.reference("put", KEY + "a", "1")
        return revision

    def set_up_members(self, case):
        """A learner that never comes, added a moment ago, or no other member at all."""
        for line in self.reference("member", "list").splitlines():
            if not line.startswith(SELF[0]):
                self.reference("member", "remove", line.split(",")[0])
        if case.learner:
            # Members are listed by id: this one behind the server, whatever its random id.
            while True:
                added = self.reference("member", "add", "late", "--learner", "--peer-urls=http://NOWHERE")
                self.learner = added.split()[1]
                if self.learner.rjust(16, "0") > SELF[0].rjust(16, "0"):
                    break
                self.reference("member", "remove", self.learner)

    def run_both(self, case):
        results = []
        for program in (self.options.reference, self.options.ours):
            revision = self.revision = self.set_up() if case.fresh else 0
            if case.learner or case.alone:
                self.set_up_members(case)
            code, out, err = self.run(program, case)
            results.append((code, without_noise(out, revision, case), without_noise(err, revision, case)))
        return results

    def compare(self, case):
        for _ in range(ADD_TRIES if case.alone else TRIES if "status" in case.args else 1):
            results = self.run_both(case)
            if results[0] == results[1]:
                self.passed += 1
                return
        self.failed += 1
        print(f"FAILED  {case}")
        for what, expected, got in zip(("exit code", "stdout", "stderr"), *results):
            if expected != got:
                print(f"  {what}\n    reference: {expected!r}\n    ours:      {got!r}")


def main():
    parser = argparse.ArgumentParser(description="compares two etcdctl programs against one server")
    parser.add_argument("--ours", required=True)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--endpoint", required=True, help="HOST:PORT of the server (a http:// before it is taken off)")
    parser.add_argument("--only", default="", help="only commands that contain this text")
    options = parser.parse_args()
    options.endpoint = options.endpoint.removeprefix("http://")
    runner = Runner(options)
    cases = [*key_cases(), *watch_and_lease_cases(), *txn_cases(), *error_cases(), *connection_cases(options.endpoint),
             *member_cases(options.endpoint)]
    for case in cases:
        if options.only in str(case):
            runner.compare(case)
    print(f"{runner.passed} passed, {runner.failed} failed")
    sys.exit(1 if runner.failed else 0)


if __name__ == "__main__":
    main()
