#!/usr/bin/env python3
"""Unmodified client libraries, and etcdctl of older versions, see the same on our member as on one of real etcd.

Builds what is missing into ETCD_TEST_PROGRAMS/clients from the registries of Go, npm and Maven. A library whose tool chain is
not installed is left out, and said so. ONLY=name,name runs some: go-3.4 go-3.5 go-3.6 go-3.7 node python java etcdctl-3.4 ...
"""

import difflib
import os
import re
import shutil
import subprocess
import unittest
from pathlib import Path

import harness

SOURCES = harness.TOP / "test/e2e/clients"
BUILT = harness.PROGRAMS / "clients"
REFERENCE = Path(os.environ["ETCD_REFERENCE"])
ONLY = set(filter(None, os.environ.get("ONLY", "").split(",")))
BUILD_SECONDS_MAX = 600
STORY_SECONDS_MAX = 180

# 3.4 was never published under a version that Go's modules know; this is its commit of v3.4.13, with the gRPC it needs.
GO_3_4_MODULE = """module story
go 1.20
require go.etcd.io/etcd v0.5.0-alpha.5.0.20200910180754-dd1b699fc489
replace google.golang.org/grpc => google.golang.org/grpc v1.26.0
replace github.com/coreos/bbolt => go.etcd.io/bbolt v1.3.5
"""
GO_VERSIONS = {"3.4": None, "3.5": "v3.5.33", "3.6": "v3.6.14", "3.7": "v3.7.1"}
GO_ENVIRONMENT = {"GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}

CTL_STORY = [
    "put a 1", "put a 2 --prev-kv", "put b 2", "get a", "get a --hex", "get '' --prefix --keys-only", "get a -w fields",
    "get c",
    "get a b --limit 1", "get --from-key a --sort-by VERSION --order DESCEND", "get a --print-value-only", "del b --prev-kv",
    "lease grant 100", "lease list", "lease timetolive LEASE --keys", "put l x --lease LEASE", "get l",
    "lease timetolive LEASE --keys", "lease keep-alive LEASE --once", "lease revoke LEASE", "lease timetolive LEASE", "get l",
    "lease revoke LEASE", "txn < value(\"a\") = \"2\"\n\nput a 3\nget a\n\nput a 4\n\n",
    "txn < ver(\"a\") > \"9\"\n\nput a 3\n\nget a\n\n", "alarm list", "alarm disarm", "defrag", "endpoint health",
    "endpoint status", "compaction 3", "compaction 3", "get a --rev 2", "get a --rev 99", "put '' x", "get",
    "put a --lease 4711 x", "member list", "compaction 4 --physical", "check perf --load nonsense",
]


def run(command, seconds, **options):
    return subprocess.run([str(word) for word in command], text=True, timeout=seconds, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)


def build(command, where, environment=None):
    done = run(command, BUILD_SECONDS_MAX, cwd=where, env={**os.environ, **(environment or {})})
    if done.returncode != 0:
        raise AssertionError(f"{command} failed:\n{done.stdout[-3000:]}")


def built(name):
    """The folder of a client, and whether its build is still to be done."""
    folder = BUILT / name
    folder.mkdir(parents=True, exist_ok=True)
    source = "".join(path.read_text() for path in sorted((SOURCES / name.split("-")[0]).rglob("*")) if path.is_file()
                     ) if (SOURCES / name.split("-")[0]).is_dir() else ""
    mark = folder / ".built"
    if mark.exists() and mark.read_text() == source:
        return folder, None
    return folder, lambda: mark.write_text(source)


def go_module(folder, version, package):
    if version is None:
        (folder / "go.mod").write_text(GO_3_4_MODULE)
        build(["go", "mod", "tidy"], folder, GO_ENVIRONMENT)
    else:
        (folder / "go.mod").write_text("module story\n")
        build(["go", "get", f"{package}@{version}"], folder, GO_ENVIRONMENT)


def go_story(minor):
    folder, done = built(f"go-{minor}")
    if done:
        version = GO_VERSIONS[minor]
        package = "go.etcd.io/etcd/client/v3" if version else "go.etcd.io/etcd/clientv3"
        (folder / "main.go").write_text((SOURCES / "go/story.go").read_text().replace("CLIENT", package))
        go_module(folder, version, package)
        build(["go", "build", "-o", "story", "."], folder, GO_ENVIRONMENT)
        done()
    return [folder / "story"]


def go_ctl(minor):
    folder, done = built(f"etcdctl-{minor}")
    if done:
        version = GO_VERSIONS[minor]
        package = "go.etcd.io/etcd/etcdctl/v3" if version else "go.etcd.io/etcd/etcdctl"
        (folder / "needs.go").write_text(f'//go:build needs\n\npackage needs\n\nimport _ "{package}"\n')
        go_module(folder, version, package)
        build(["go", "build", "-o", "etcdctl", package], folder, GO_ENVIRONMENT)
        done()
    return folder / "etcdctl"


def node_story():
    folder, done = built("node")
    if done:
        for name in ("package.json", "story.js"):
            shutil.copy(SOURCES / "node" / name, folder)
        build(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], folder)
        done()
    return ["node", folder / "story.js"]


def java_story():
    folder, done = built("java")
    if done:
        shutil.copytree(SOURCES / "java", folder, dirs_exist_ok=True)
        build(["mvn", "-q", "-B", "package"], folder)
        done()
    return ["java", "-cp", f"{folder}/target/classes:{folder}/target/dependency/*", "Story"]


def python_story():
    return ["/usr/bin/python3", SOURCES / "python/story.py"]


def ctl_story(program, url):
    """What the commands print, with lease and member ids replaced by names."""
    lease = "0"
    out = []
    environment = harness.clean_environment({"ETCDCTL_API": "3"})
    for line in CTL_STORY:
        words, _, stdin = line.partition(" < ")
        arguments = [word.strip("'") for word in words.replace("LEASE", lease).split()]
        done = run([program, "--endpoints", url, *arguments], STORY_SECONDS_MAX, input=stdin, env=environment)
        if line.startswith("lease grant"):
            lease = re.search(r"lease ([0-9a-f]+) granted", done.stdout).group(1)
        text = done.stdout.replace(lease, "LEASE") if lease != "0" else done.stdout
        out.append(f"$ etcdctl {words}\n{text}exit {done.returncode}")
    return "\n".join(out)


# What may differ: addresses, ids, times, sizes, the raft term and index of a status.
UNIMPORTANT = [
    (re.compile(r'^\{"level":.*$', re.M), "LOG"), (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"\b[0-9a-f]{15,16}\b"), "ID"), (re.compile(r'("?ClusterID"?|"?MemberID"?|"?RaftTerm"?) : \d+'), r"\1 : N"),
    (re.compile(r"took = [0-9.]+[mµ]?s|took [0-9.]+[mµ]?s"), "took TIME"), (re.compile(r"[0-9.]+ [kM]?B\b"), "SIZE"),
    (re.compile(r"\b\d+%"), "N%"),
    (re.compile(r"(SIZE, true, (false, )?)\d+, \d+(, \d+)?"), r"\1N"), (re.compile(r"remaining\(\d+s\)"), "remaining(S)"),
]


def normal(text):
    for pattern, name in UNIMPORTANT:
        text = pattern.sub(name, text)
    return text


class Clients(unittest.TestCase):
    def compare(self, name, tell):
        texts = {}
        for server in ("ours", "reference"):
            harness.SERVER = str((harness.BIN if server == "ours" else REFERENCE) / "etcd")
            with harness.Member() as member:
                texts[server] = normal(tell(member.client_url))
        lines = [texts[server].splitlines() for server in ("reference", "ours")]
        difference = "\n".join(difflib.unified_diff(*lines, "real etcd", "ours", lineterm=""))
        self.assertFalse(difference, f"{name} sees a difference:\n{difference}")
        self.assertGreater(len(texts["ours"].splitlines()), 20, texts["ours"])

    def story(self, name, make, *arguments):
        if ONLY and name not in ONLY:
            self.skipTest("not asked for")
        command = make(*arguments)

        def tell(url):
            done = run([*command, url], STORY_SECONDS_MAX, env=harness.clean_environment({"HOME": os.environ.get("HOME", "/")}))
            return done.stdout + f"exit {done.returncode}\n"
        self.compare(name, tell)

    def test_node(self):
        if not shutil.which("npm"):
            self.skipTest("npm is not installed")
        self.story("node", node_story)

    def test_java(self):
        if not shutil.which("mvn"):
            self.skipTest("Maven is not installed")
        self.story("java", java_story)

    def test_python(self):
        self.story("python", python_story)


def add_versions():
    for minor in GO_VERSIONS:
        def test_library(self, minor=minor):
            self.story(f"go-{minor}", go_story, minor)

        def test_ctl(self, minor=minor):
            if ONLY and f"etcdctl-{minor}" not in ONLY:
                self.skipTest("not asked for")
            program = go_ctl(minor)
            self.compare(f"etcdctl {minor}", lambda url: ctl_story(program, url))
        setattr(Clients, f"test_go_{minor.replace('.', '_')}", test_library)
        setattr(Clients, f"test_etcdctl_{minor.replace('.', '_')}", test_ctl)


add_versions()
if __name__ == "__main__":
    harness.main()
