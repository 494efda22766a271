#!/usr/bin/env python3
"""kill -9 at random moments under load: nothing acknowledged is lost, no revision goes back, the hash survives the replay.

KILLS=500 makes it long (default 30), SEED=n repeats one. What is checked after each restart is in crash_client.cc.
"""

import os
import random
import shutil
import subprocess
import unittest

import harness

KILLS = int(os.environ.get("KILLS", "30"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
WORKERS = 64
ACKS_BEFORE_KILL_MAX = 3000
ANSWER_SECONDS_MAX = 60


class Client:
    """The compiled client, driven line by line."""

    def __init__(self, url, seed):
        command = [harness.PROGRAMS / "crash_client", url, str(seed), str(WORKERS)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.output = harness.Output(self.process.stdout)
        self.seen = 0

    def say(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def hear(self, word):
        """The next line; it must start with `word`."""
        line = self.output.wait_for("", ANSWER_SECONDS_MAX, self.seen)
        self.seen += 1
        if line is None or not line.startswith(word):
            raise AssertionError(f"wanted {word!r}, the client says {line!r}")
        return line

    def close(self):
        self.process.stdin.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Kill(unittest.TestCase):
    def crash(self, kills, *flags):
        print(f"seed {SEED}, {kills} kills", flush=True)
        choose = random.Random(SEED)
        acknowledged = 0
        with harness.Member(*flags) as member:
            client = Client(member.client_url, SEED)
            self.addCleanup(client.close)
            for number in range(kills):
                with self.subTest(seed=SEED, kill=number):
                    # A moment told by progress, not by a clock: so many writes acknowledged, the next ones in flight.
                    client.say(f"load {choose.randrange(1, ACKS_BEFORE_KILL_MAX)}")
                    client.hear("acked")
                    member.kill()
                    acknowledged += int(client.hear("stopped").split()[1])
                    if choose.random() < 0.2:  # killed again while it recovers
                        member.launch()
                        member.log.wait_for("starting an etcd server", harness.START_SECONDS_MAX)
                        member.kill()
                    member.start()
                    client.say("verify")
                    client.hear("verified")
                    if choose.random() < 0.2:
                        client.say("compact")
                        client.hear("compacted")
        print(f"{acknowledged} writes acknowledged", flush=True)
        self.assertGreater(acknowledged, kills)

    def test_nothing_acknowledged_is_lost(self):
        self.crash(KILLS)

    def test_with_snapshots_and_small_batches(self):
        # Frequent snapshots release log segments; frequent commits move the point from which the log is replayed.
        self.crash(max(KILLS // 3, 3), "--snapshot-count=200", "--snapshot-catchup-entries=50", "--backend-batch-limit=100",
                   "--backend-batch-interval=5ms")

    def test_the_checker_sees_a_loss(self):
        with harness.Member() as member:
            client = Client(member.client_url, SEED)
            self.addCleanup(client.close)
            for number in range(2):
                client.say("load 300")
                client.hear("acked")
                member.kill()
                client.hear("stopped")
                if number == 0:
                    shutil.copytree(member.data_dir, member.root / "before")
                    member.start()
                    client.say("verify")
                    client.hear("verified")
            shutil.rmtree(member.data_dir)
            (member.root / "before").rename(member.data_dir)
            member.start()
            client.say("verify")
            client.hear("LOST")


if __name__ == "__main__":
    harness.main()
