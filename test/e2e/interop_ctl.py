#!/usr/bin/env python3
"""Our ctl and real etcdctl say the same, byte for byte, about one server: ctl_output.py against a member of real etcd."""

import os
import subprocess
import sys

import harness

reference = os.environ["ETCD_REFERENCE"]
harness.SERVER = os.path.join(reference, "etcd")
with harness.Member() as member:
    command = [harness.TOP / "test/e2e/ctl_output.py", "--ours", harness.CTL, "--reference", os.path.join(reference, "etcdctl"),
               "--endpoint", member.client_url.split("//")[1]]
    sys.exit(subprocess.run(command, env=harness.clean_environment()).returncode)
