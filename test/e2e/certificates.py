"""Certificates made with openssl, for tests of TLS."""

import subprocess
from pathlib import Path


def openssl(*arguments, stdin=""):
    done = subprocess.run(["openssl", *map(str, arguments)], input=stdin, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"openssl {arguments}: {done.stderr}")


class Authority:
    """Signs certificates; all files are in one folder."""

    def __init__(self, folder, name="ca"):
        self.folder = Path(folder)
        self.name = name
        self.file = self.folder / f"{name}.crt"
        self.key = self.folder / f"{name}.key"
        self.serial = 1000
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
        openssl("req", "-x509", "-new", "-key", self.key, "-days", "30", "-subj", f"/CN={name}", "-out", self.file)

    def sign(self, name, common_name="", names="", usage="serverAuth,clientAuth", days=30, subject=None):
        """The certificate's file and the key's; `days` below 0: it was over before it began."""
        key, request, extensions, file = (self.folder / f"{name}.{end}" for end in ("key", "csr", "ext", "crt"))
        openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
        openssl("req", "-new", "-key", key, "-subj", subject or f"/O=test/CN={common_name}", "-out", request)
        extensions.write_text(f"extendedKeyUsage={usage}\n" + (f"subjectAltName={names}\n" if names else ""))
        self.serial += 1
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey", self.key, "-set_serial", self.serial, "-days", days,
                "-extfile", extensions, "-out", file)
        return file, key

    def revoke(self, *files):
        """A revocation list in DER that names these certificates."""
        index, config, crl = (self.folder / f"{self.name}.{end}" for end in ("index", "cnf", "crl"))
        index.write_text("")
        config.write_text(f"[ca]\ndefault_ca=x\n[x]\ndatabase={index}\ndefault_md=sha256\ndefault_crl_days=30\n"
                          "crl_extensions=y\n[y]\nauthorityKeyIdentifier=keyid:always\n")
        common = ("-config", config, "-cert", self.file, "-keyfile", self.key)
        for file in files:
            openssl("ca", *common, "-revoke", file)
        openssl("ca", *common, "-gencrl", "-out", f"{crl}.pem")
        openssl("crl", "-in", f"{crl}.pem", "-outform", "DER", "-out", crl)
        return crl
