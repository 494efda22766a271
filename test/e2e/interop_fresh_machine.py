#!/usr/bin/env python3
"""The README's two commands, each alone, on a bare Debian 12: a debootstrap folder with make, git and the certificates.

usage: interop_fresh_machine.py [run|test]...     needs root, debootstrap and the default ports; nothing named: both

The folder has a clone of HEAD, so what is not committed does not count. MIRROR=url names another Debian mirror, KEEP=1 leaves
the folders below build/fresh. Last line: N passed, N failed.
"""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time

import harness

BASE = harness.TOP / "build/fresh"
MIRROR = os.environ.get("MIRROR", "http://deb.debian.org/debian")
SECONDS_MAX = 2400
ENVIRONMENT = {"HOME": "/root", "TERM": "dumb", "LC_ALL": "C.UTF-8",
               "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def call(*command, **options):
    subprocess.run(command, check=True, **options)


# What a machine's kernel gives, in a mount namespace of the command's own: nothing of this machine's is bound in, and all of it
# is gone when the command ends.
MOUNTS = """
set -e
mount -t proc proc "$0/proc"
mount -t tmpfs -o mode=755 tmpfs "$0/dev"
mkdir "$0/dev/pts" "$0/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$0/dev/pts"
mount -t tmpfs tmpfs "$0/dev/shm"
ln -s pts/ptmx "$0/dev/ptmx"
ln -s /proc/self/fd "$0/dev/fd"
mknod -m 666 "$0/dev/null" c 1 3
mknod -m 666 "$0/dev/zero" c 1 5
mknod -m 666 "$0/dev/full" c 1 7
mknod -m 666 "$0/dev/random" c 1 8
mknod -m 666 "$0/dev/urandom" c 1 9
mknod -m 666 "$0/dev/tty" c 5 0
exec chroot "$0" sh -c "cd /etcd && $1"
"""


def remove(root):
    """Deletes the folder; refuses if anything is mounted in it, and never leaves its file system."""
    for line in open("/proc/mounts"):
        if line.split()[1].startswith(f"{root}/"):
            raise AssertionError(f"still mounted: {line.split()[1]}")
    call("rm", "-rf", "--one-file-system", root)


def machine(name):
    """A bare Debian below BASE with a clone of HEAD in /etcd."""
    bare, root = BASE / "debian", BASE / name
    if not (bare / "etc/debian_version").exists():
        remove(bare)
        with open(BASE / "debootstrap.log", "wb") as log:
            call("debootstrap", "--variant=minbase", "--include=make,git,ca-certificates", "bookworm", bare, MIRROR,
                 stdout=log, stderr=log)
        security = MIRROR.removesuffix("/debian") + "/debian-security"
        (bare / "etc/apt/sources.list").write_text(f"deb {MIRROR} bookworm main\ndeb {MIRROR} bookworm-updates main\n"
                                                   f"deb {security} bookworm-security main\n")
    remove(root)
    call("cp", "-a", bare, root)
    for path in ("etc/resolv.conf", "etc/hosts"):
        shutil.copy("/" + path, root / path)
    call("git", "clone", "-q", "--no-hardlinks", f"file://{harness.TOP}", root / "etcd")
    return root


def readme_command(name):
    """The command in the README's block after the line <!-- NAME -->."""
    found = re.search(rf"<!-- {name} -->\s*```sh\n(.*?)```", (harness.TOP / "README.md").read_text(), re.DOTALL)
    return found[1].strip()


def inside(root, command):
    """Starts it as a user of that machine would; what it starts dies with it."""
    environment = ENVIRONMENT | {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    words = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
             "sh", "-c", MOUNTS, root, command]
    return subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def client(root, *arguments):
    return subprocess.run(["chroot", root, "/etcd/build/bin/etcdctl", *arguments], env=ENVIRONMENT, capture_output=True,
                          text=True).stdout


def try_run(root):
    """Ends with a member that serves: its log says so, its client puts and gets, then it is told to stop."""
    process = inside(root, readme_command("run"))
    output = harness.Output(process.stdout)
    try:
        served = output.wait_for(harness.READY, SECONDS_MAX)
        works = served and client(root, "put", "fresh", "machine") == "OK\n" \
            and client(root, "get", "fresh", "--print-value-only") == "machine\n" \
            and (root / "etcd/default.etcd/member").is_dir()
        if not works:
            print("\n".join(output.text().splitlines()[-60:]))
        return bool(works)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def try_test(root):
    process = inside(root, readme_command("test"))
    output = harness.Output(process.stdout)
    code = process.wait(SECONDS_MAX)
    output.thread.join()
    lines = output.text().splitlines()
    print("\n".join(lines[-60:] if code else lines[-1:]))
    return code == 0 and re.fullmatch(r"[1-9]\d* passed, 0 failed", lines[-1]) is not None


def main():
    wanted = sys.argv[1:] or ["run", "test"]
    BASE.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in wanted:
        start = time.monotonic()
        root = machine(name)
        good = {"run": try_run, "test": try_test}[name](root)
        failed += not good
        print(f"the README's command {name} on a bare Debian 12: {'passed' if good else 'FAILED'} after "
              f"{time.monotonic() - start:.0f} s", flush=True)
        if not os.environ.get("KEEP"):
            remove(root)
    print(f"{len(wanted) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
