"""Create a certificate for 127.0.0.1."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.support.needs import need

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["certificate"]


def certificate(folder: Path, days: int = 2) -> tuple[Path, Path]:
    """Create a certificate and its key; return both files."""
    need("openssl")
    cert_file, key_file = folder / "http.crt", folder / "http.key"
    subject = ["-subj", "/CN=plumewatch", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key_file), "-out", str(cert_file)]
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]  # made faster than RSA
    subprocess.run(
        ["openssl", "req", "-x509", *kind, "-nodes", "-days", str(days), *subject, *files],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return cert_file, key_file
