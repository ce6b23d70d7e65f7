"""When TLS certificates of files and servers expire, trusted or not.

Only the validity is read, from the outermost DER elements (X.690, RFC 5280 section 4.1).
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from plumewatch.doctor.result import fault, ok, warning
from storage.bounded_call import BoundedCallError, BoundedThreads

if TYPE_CHECKING:
    from pathlib import Path

    from plumewatch.doctor.result import CheckResult

_DAY_S: Final = 86_400.0
_SOON_DAYS: Final = 30.0
_TIMEOUT_S: Final = 5.0
_UTC_TIME: Final = 0x17
_END: Final = "-----END CERTIFICATE-----"


class CertificateError(Exception):
    """There is no certificate, or it cannot be read."""


def check_file(part: str, path: Path, now: float) -> CheckResult:
    """Check when a certificate in a file expires."""
    try:
        return _validity(part, str(path), expiry_of_file(path), now)
    except CertificateError as error:
        remedy = "give a file in PEM, as in: openssl x509 -in FILE -noout -dates"
        return warning(part, str(error), remedy)


def check_server(part: str, host: str, port: int, now: float) -> CheckResult:
    """Check when the certificate of a server expires."""
    try:
        return _validity(part, f"{host}:{port}", _expiry_of_server(host, port), now)
    except CertificateError as error:
        return warning(part, str(error), "check that the port is the one of the TLS listener")


def _validity(part: str, owner: str, expires: float, now: float) -> CheckResult:
    days = (expires - now) / _DAY_S
    renew = f"renew the certificate of {owner} and restart the server that uses it"
    if days <= 0:
        return fault(part, f"{owner} expired {-days:.0f} days ago", renew)
    if days < _SOON_DAYS:
        return warning(part, f"{owner} expires in {days:.0f} days", renew)
    return ok(part, f"{owner} is valid for {days:.0f} days")


def expiry(der: bytes) -> float:
    """Return when a DER certificate expires (``notAfter``), Unix seconds."""
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
    """Return when the first certificate of a PEM file expires, Unix seconds."""
    try:
        text = path.read_text(encoding="ascii")
        pems = [part[part.index("-----BEGIN CERTIFICATE-----") :] for part in text.split(_END)[:-1]]
        return min(expiry(ssl.PEM_cert_to_DER_cert(pem + _END)) for pem in pems)
    except (OSError, ValueError) as error:
        raise CertificateError(f"{path}: no certificate in PEM can be read") from error


def _expiry_of_server(host: str, port: int) -> float:
    fetch = partial(ssl.get_server_certificate, (host, port), timeout=_TIMEOUT_S)
    try:
        pem = BoundedThreads("certificate", threads=1).call(fetch, 2 * _TIMEOUT_S)
    except (OSError, ValueError, BoundedCallError) as error:
        raise CertificateError(f"{host}:{port} does not answer in TLS: {error}") from error
    return expiry(ssl.PEM_cert_to_DER_cert(pem))
