#!/usr/bin/env python3
"""What the README says is so: its commands are targets, its paths exist, its put and get work as written."""

import os
import re
import shlex
import subprocess
import unittest

import harness

README = (harness.TOP / "README.md").read_text()


def blocks():
    return re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


class Readme(unittest.TestCase):
    def test_every_make_command_is_a_target(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        commands = re.findall(r"`((?:[A-Z]+=\S+ )*make [^`]*)`", README.replace("\n", " ")) + \
            [line for block in blocks() for line in block.splitlines() if line.startswith("make ")]
        self.assertGreater(len(commands), 10)
        for command in commands:
            command = command.replace("unit-MOD", "unit-base").replace("script-MOD", "script-raft")
            words = [word for word in shlex.split(command) if "=" not in word][1:]
            for target in words:
                with self.subTest(command):
                    asked = subprocess.run(["make", "-C", harness.TOP, "-n", "-q", target], env=environment, text=True,
                                           capture_output=True)
                    self.assertNotIn("No rule to make target", asked.stderr)

    def test_paths_exist(self):
        for path in re.findall(r"\]\(([^)#:]+)\)", README):
            self.assertTrue((harness.TOP / path).exists(), path)
        for path in re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.(?:cc|h))`", README):
            self.assertTrue((harness.TOP / "src" / path).exists() or (harness.TOP / path).exists(), path)

    def test_every_folder_of_src_is_in_the_tour(self):
        for folder in (harness.TOP / "src").iterdir():
            if folder.is_dir():
                self.assertIn(f"`src/{folder.name}`", README)

    def test_put_and_get_as_written(self):
        block = next(block for block in blocks() if "etcdctl" in block)
        with harness.Member() as member:
            printed = ""
            for line in block.strip().splitlines():
                words = line.split()
                self.assertEqual(words[0], "build/bin/etcdctl")
                printed += member.ctl(*words[1:]).stdout
        self.assertEqual(printed, "OK\ngreeting\nhello\n")


if __name__ == "__main__":
    harness.main()
