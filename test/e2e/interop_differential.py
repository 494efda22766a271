#!/usr/bin/env python3
"""The same random calls to our server and to real etcd: see differential_client.cc. OPS=10000, SEEDS="1 2 3" change the run."""

import os
import subprocess
import sys

import harness

OPS = int(os.environ.get("OPS", "10000"))
SEEDS = [int(seed) for seed in os.environ.get("SEEDS", "1 2 3").split()]
REFERENCE = os.path.join(os.environ["ETCD_REFERENCE"], "etcd")


def main():
    passed = failed = 0
    for seed in SEEDS:
        ours, real = harness.Member(), harness.Member()
        try:
            ours.start()
            mine, harness.SERVER = harness.SERVER, REFERENCE
            try:
                real.start()
            finally:
                harness.SERVER = mine
            done = subprocess.run([harness.PROGRAMS / "differential_client", "--a", ours.client_url, "--b", real.client_url,
                                   "--seed", str(seed), "--ops", str(OPS)], capture_output=True, text=True, errors="replace")
            print(done.stdout + done.stderr, flush=True)
            total = done.stdout.strip().splitlines()[-1].split() if done.stdout.strip() else []
            passed += int(total[0]) if done.returncode in (0, 1) and total[1:2] == ["passed,"] else 0
            failed += done.returncode != 0
        finally:
            ours.remove()
            real.remove()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
