#!/usr/bin/env python3
"""Runs the compiled Go client (GO_CLIENT, built from go_client/) against a member of ours."""

import os
import subprocess
import sys

import harness

with harness.Member() as member:
    sys.exit(subprocess.run([os.environ["GO_CLIENT"], member.client_url], timeout=harness.COMMAND_SECONDS_MAX).returncode)
