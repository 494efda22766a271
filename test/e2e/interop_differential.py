#!/usr/bin/env python3
"""The same random calls to our server and to real etcd: see differential_client.cc. OPS=10000, SEEDS="1 2 3" change the run."""

import os
import re
import subprocess
import sys

import harness

OPS = int(os.environ.get("OPS", "10000"))
SEEDS = [int(seed) for seed in os.environ.get("SEEDS", "1 2 3").split()]
REFERENCE = os.path.join(os.environ["ETCD_REFERENCE"], "etcd")


def compare(seed, ops, *reference_flags):
    """The finished client, after the same calls to a member of each."""
    ours, real = harness.Member(), harness.Member(*reference_flags)
    try:
        ours.start()
        mine, harness.SERVER = harness.SERVER, REFERENCE
        try:
            real.start()
        finally:
            harness.SERVER = mine
        return subprocess.run([harness.PROGRAMS / "differential_client", "--a", ours.client_url, "--b", real.client_url,
                               "--seed", str(seed), "--ops", str(ops)], capture_output=True, text=True, errors="replace")
    finally:
        ours.remove()
        real.remove()


def main():
    passed = failed = 0
    for seed in SEEDS:
        done = compare(seed, OPS)
        print(done.stdout + done.stderr, flush=True)
        total = re.search(r"^(\d+) passed, (\d+) failed$", done.stdout, re.MULTILINE)
        passed += int(total[1]) if total else 0
        failed += done.returncode != 0
    # The comparison bites: a reference that allows fewer operations in a transaction is told from ours.
    different = compare(SEEDS[0], 2000, "--max-txn-ops=2").returncode == 1
    print("a different server", "was told from ours" if different else "WENT UNNOTICED")
    print(f"{passed + different} passed, {failed + (not different)} failed")
    return 1 if failed or not different else 0


if __name__ == "__main__":
    sys.exit(main())
