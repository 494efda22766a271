#!/usr/bin/env python3
"""`make install` puts everything where a system looks for it, `make deb` makes a package of the same."""

import os
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness

OUT = harness.BIN.parent


def make(*words):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make", "-C", harness.TOP, f"OUT={OUT}", *words], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)


@unittest.skipUnless((OUT / "lib").is_dir(), "the programs are not from a build folder of ours")
class Install(unittest.TestCase):
    def test_install_and_uninstall(self):
        with tempfile.TemporaryDirectory(prefix="etcd-install-") as root:
            make("install", f"DESTDIR={root}", "PREFIX=/opt/etcd")
            prefix = Path(root, "opt/etcd")
            for name in ("etcdctl", "benchmark"):
                self.assertEqual(os.readlink(prefix / "bin" / name), "etcd")
            version = subprocess.run([prefix / "bin/etcdctl", "version"], capture_output=True, text=True, check=True).stdout
            self.assertIn("3.7.1", version)
            for page in ("etcd.1", "etcd-gateway.1", "etcdctl.1", "benchmark.1"):
                self.assertEqual((prefix / "share/man/man1" / page).read_text(), (harness.TOP / "man" / page).read_text())
            unit = (prefix / "lib/systemd/system/etcd.service").read_text()
            self.assertIn("ExecStart=/opt/etcd/bin/etcd\n", unit)
            self.assertNotRegex(unit, "@[A-Za-z_]+@")
            self.assertIn("u etcd ", (prefix / "lib/sysusers.d/etcd.conf").read_text())
            make("uninstall", f"DESTDIR={root}", "PREFIX=/opt/etcd")
            self.assertEqual([path for path in prefix.rglob("*") if not path.is_dir()], [])

    def test_package(self):
        make("deb")
        packages = sorted(OUT.glob("etcd_*.deb"))
        self.assertEqual(len(packages), 1)
        listed = subprocess.run(["dpkg-deb", "--contents", packages[0]], capture_output=True, text=True, check=True).stdout
        for path in ("./usr/bin/etcd", "./usr/bin/etcdctl -> etcd", "./usr/share/man/man1/etcd.1.gz",
                     "./usr/lib/systemd/system/etcd.service"):
            self.assertIn(path, listed)
        needs = subprocess.run(["dpkg-deb", "--field", packages[0], "Depends"], capture_output=True, text=True,
                               check=True).stdout
        for package in ("libc6", "libprotobuf32", "libleveldb1d", "libssl3"):
            self.assertIn(package, needs)
        with tempfile.TemporaryDirectory(prefix="etcd-install-") as root:
            subprocess.run(["dpkg-deb", "--extract", packages[0], root], check=True)
            program = Path(root, "usr/bin/etcd")
            self.assertEqual(stat.S_IMODE(program.stat().st_mode), 0o755)
            version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
            self.assertIn("etcd Version: 3.7.1", version)


if __name__ == "__main__":
    harness.main()
