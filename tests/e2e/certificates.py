"""An authority and a certificate of its own, made with `openssl`."""

import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificates(NamedTuple):
    """PEM files."""

    authority: Path
    certificate: Path
    key: Path


def make(directory: Path, *names: str) -> Certificates:
    """A certificate for DNS `names` and 127.0.0.1, from a new authority that only `authority` vouches for."""
    directory.mkdir(parents=True, exist_ok=True)
    authority, authority_key = directory / "authority.pem", directory / "authority.key"
    certificate, key, request = directory / "server.pem", directory / "server.key", directory / "server.csr"
    extensions = directory / "extensions"
    alternatives = ",".join(["IP:127.0.0.1", *(f"DNS:{name}" for name in names)])
    extensions.write_text(f"subjectAltName={alternatives}\nbasicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    signing = ("-subj", "/CN=authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl("req", "-x509", *new, "-keyout", authority_key, "-out", authority, "-days", "2", *signing)
    _openssl("req", *new, "-keyout", key, "-out", request, "-subj", "/CN=server")
    signed_by = ("-CA", authority, "-CAkey", authority_key, "-CAcreateserial", "-extfile", extensions)
    _openssl("x509", "-req", "-in", request, "-out", certificate, "-days", "2", *signed_by)
    return Certificates(authority, certificate, key)


def _openssl(*argv: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, argv)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
