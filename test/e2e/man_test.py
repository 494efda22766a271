#!/usr/bin/env python3
"""The manual pages and the programs agree: each flag of --help stands in the page, and the page names no other."""

import re
import subprocess
import unittest

import harness

MAN = harness.TOP / "man"
# Shown by the help of etcd, as by real etcd, but not accepted: the page leaves them out.
LISTED_ONLY = {"--discovery", "--discovery-proxy"}
# The page names them; a help need not.
HELP_ITSELF = {"--help", "--version", "--config-file"}
# Flags that real etcd does not have: left out when the page is held against it.
OURS = {"--net-threads"}


def plain(page):
    """Text of a page without its markup."""
    text = (MAN / page).read_text().replace("\\-", "-")
    return re.sub(r"\\f[BIPR]", "", re.sub(r'^\.\\".*$', "", text, flags=re.MULTILINE))


def tags(text):
    """The flags that have an entry: those of the lines after .TP."""
    found = set()
    for line in re.findall(r"^\.TP\n(.*)$", text, re.MULTILINE):
        found |= set(re.findall(r"--[a-z][a-z0-9-]*", line))
    return found


def listed(text):
    """The flags that a help text lists, one a line, perhaps after a short form."""
    return set(re.findall(r"^\s+(?:-\w, )?(--[a-z][a-z0-9-]*)", text, re.MULTILINE))


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, env=harness.clean_environment())
    return done.stdout + done.stderr


def described_flags():
    is_ours = "C++" in run(harness.SERVER, "--version")
    return tags(plain("etcd.1")) - (set() if is_ours else OURS)


class Man(unittest.TestCase):
    def test_etcd(self):
        shown = listed(run(harness.SERVER, "--help")) - LISTED_ONLY
        described = described_flags()
        self.assertGreater(len(shown), 100)
        self.assertEqual(sorted(shown - described), [], "missing in the page")
        self.assertEqual(sorted(described - shown - HELP_ITSELF), [], "only in the page")

    def test_each_flag_of_the_page_is_accepted(self):
        # An unknown flag is told as such before anything else; here the value is what is wrong, or nothing is.
        for flag in sorted(described_flags()):
            with self.subTest(flag):
                self.assertNotIn("flag provided but not defined", run(harness.SERVER, flag + "=", "--version"))

    def test_etcdctl(self):
        page = plain("etcdctl.1")
        sections = dict(re.findall(r"^\.S[SH] (.*)\n((?:(?!\.S[SH] ).*\n)*)", page, re.MULTILINE))
        self.assertEqual(sorted(tags(sections.pop("GLOBAL FLAGS"))), sorted(listed(run(harness.CTL, "options"))))
        commands = {}
        for title, text in sections.items():
            if title[0].islower():  # "put [flags] key [value]"
                commands[re.sub(r" (\[|key|revision|ttl|id|file|bash|name).*", "", title)] = tags(text)
        for name in ("endpoint health", "endpoint status", "endpoint hashkv"):
            commands[name].add("--cluster")
        overview = run(harness.CTL, "--help")
        for name, described in commands.items():
            with self.subTest(name):
                self.assertIn(name.split()[0], overview)
                self.assertEqual(sorted(listed(run(harness.CTL, *name.split(), "--help")) - {"--help"}), sorted(described))

    def test_benchmark(self):
        program = harness.CTL.removesuffix("etcdctl") + "benchmark"
        page = plain("benchmark.1")
        sections = dict(re.findall(r"^\.S[SH] (.*)\n((?:(?!\.S[SH] ).*\n)*)", page, re.MULTILINE))
        overall = tags(sections.pop("GLOBAL FLAGS"))
        self.assertEqual(sorted(overall), sorted(listed(run(program, "--help")) - {"--help"}))
        described = {title.split()[0]: tags(text) for title, text in sections.items() if title[0].islower()}
        names = re.findall(r"^  ([a-z][a-z-]*) ", run(program, "--help").split("Available Commands")[1], re.MULTILINE)
        self.assertEqual(sorted(described), sorted(set(names) - {"help", "completion"}))
        for name, flags in described.items():
            with self.subTest(name):
                words = ["mvcc", "put"] if name == "mvcc" else [name]
                local = run(program, *words, "--help").split("Global Flags")[0]
                self.assertEqual(sorted(listed(local) - {"--help"}), sorted(flags))

    def test_gateway(self):
        shown = listed(run(harness.SERVER, "gateway", "start", "--help")) - {"--help"}
        self.assertEqual(sorted(shown), sorted(tags(plain("etcd-gateway.1"))))

    def test_etcdutl(self):
        program = harness.CTL.removesuffix("etcdctl") + "etcdutl"
        sections = dict(re.findall(r"^\.S[SH] (.*)\n((?:(?!\.S[SH] ).*\n)*)", plain("etcdutl.1"), re.MULTILINE))
        overall = tags(sections.pop("GLOBAL FLAGS"))
        commands = {re.sub(r" [A-Z]+$", "", title): tags(text) for title, text in sections.items() if title[0].islower()}
        names = re.findall(r"^  ([a-z][a-z-]*) ", run(program, "--help").split("Available Commands")[1], re.MULTILINE)
        self.assertEqual({name.split()[0] for name in commands}, set(names) - {"help"} | ({"check"} - set(names)))
        for name, described in commands.items():
            if name in ("check", "completion", "version") and not harness.is_ours():
                continue
            with self.subTest(name):
                shown, handed_down = run(program, *name.split(), "--help").split("Global Flags")
                self.assertEqual(sorted(listed(shown) - {"--help"}), sorted(described))
                self.assertEqual(sorted(listed(handed_down)), sorted(overall))

    @unittest.skipUnless(harness.is_ours(), "real etcdctl has commands of later issues")
    def test_each_command_stands_in_the_page(self):
        commands = run(harness.CTL, "--help").split("Key-value commands")[1]
        names = re.findall(r"^  ([a-z][a-z-]*) ", commands, re.MULTILINE)
        self.assertIn("put", names)
        page = plain("etcdctl.1")
        for name in names:
            with self.subTest(name):
                self.assertIsNotNone(re.search(rf"(?m)^\.SS {re.escape(name)}\b", page))


if __name__ == "__main__":
    harness.main()
