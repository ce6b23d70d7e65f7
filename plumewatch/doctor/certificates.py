"""When TLS certificates expire: of files, and of servers, trusted or not.

Only the validity is read, by walking over the outermost DER elements (X.690, RFC 5280 section 4.1):
a certificate that has expired already is refused by every client, and still says when.
"""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_UTC_TIME: Final = 0x17
_END: Final = "-----END CERTIFICATE-----"


class CertificateError(Exception):
    """There is no certificate, or it cannot be read."""


def expiry(der: bytes) -> float:
    """Return when a certificate expires (``notAfter``).

    Parameters
    ----------
    der : bytes
        The certificate in DER.

    Returns
    -------
    float
        Unix seconds.

    Raises
    ------
    CertificateError
        If it is none.
    """
    try:
        certificate = _elements(_elements(der)[0][1])
        fields = _elements(certificate[0][1])
        at = 4 if fields[0][0] == 0xA0 else 3  # without a version, serial comes first
        kind, text = _elements(fields[at][1])[1]
        form = "%y%m%d%H%M%SZ" if kind == _UTC_TIME else "%Y%m%d%H%M%SZ"
        return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC).timestamp()
    except (IndexError, ValueError) as error:
        raise CertificateError("not a certificate") from error


def _elements(data: bytes) -> list[tuple[int, bytes]]:
    """Split DER into (tag, content)."""
    found, at = [], 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(data[at : at + count], "big"), at + count
        if at + length > len(data):
            raise ValueError("cut off")
        found.append((tag, data[at : at + length]))
        at += length
    return found


def expiry_of_file(path: Path) -> float:
    """Return when the first of a file's certificates that expires does so, Unix seconds.

    Raises
    ------
    CertificateError
        If there is none in PEM, or the file cannot be read.
    """
    try:
        text = path.read_text(encoding="ascii")
        pems = [part[part.index("-----BEGIN CERTIFICATE-----") :] for part in text.split(_END)[:-1]]
        return min(expiry(ssl.PEM_cert_to_DER_cert(pem + _END)) for pem in pems)
    except (OSError, ValueError) as error:
        raise CertificateError(f"{path}: no certificate in PEM can be read") from error


def expiry_of_server(host: str, port: int, timeout_s: float = 5.0) -> float:
    """Return when the certificate that a server shows expires, trusted or not; Unix seconds.

    Raises
    ------
    CertificateError
        If nobody answers, or not in TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is only looked at
    try:
        with (
            socket.create_connection((host, port), timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=host) as link,
        ):
            shown = link.getpeercert(binary_form=True)
    except (OSError, ValueError) as error:
        raise CertificateError(f"{host}:{port} does not answer in TLS: {error}") from error
    return expiry(shown or b"")
