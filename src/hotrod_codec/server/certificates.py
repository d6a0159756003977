"""A self-signed certificate for a trial; for longer, bring one of a real authority."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["make_certificate"]

_DAYS: Final = 30
_SECONDS: Final = 30


def make_certificate(folder: Path, host: str = "127.0.0.1") -> Path:
    """Make a certificate for `host` and localhost, with its key, in one PEM file.

    Takes the openssl command.

    Args:
        folder: Where the file goes; only its owner may read the file.

    Returns:
        The file's path. Clients may trust the same file.

    Raises:
        OSError: There is no openssl, or it fails.
    """
    openssl = shutil.which("openssl")
    if openssl is None:
        raise OSError(
            "a certificate is made by the openssl command, which is not on the PATH: "
            "give the path of a certificate"
        )
    path = folder / "hotrod-certificate.pem"
    path.touch(mode=0o600)
    kind = "IP" if host.replace(".", "").isdigit() or ":" in host else "DNS"
    key, certificate = folder / "key.tmp", folder / "certificate.tmp"
    key.touch(mode=0o600)
    command = [
        *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-days", str(_DAYS), "-subj", "/CN=localhost"),
        *("-addext", f"subjectAltName=DNS:localhost,{kind}:{host}"),
        *("-keyout", str(key), "-out", str(certificate)),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
        if done.returncode != 0:
            raise OSError(f"openssl made no certificate: {done.stderr.strip()[-200:]}")
        path.write_bytes(certificate.read_bytes() + key.read_bytes())
        return path
    finally:
        key.unlink(missing_ok=True)
        certificate.unlink(missing_ok=True)
