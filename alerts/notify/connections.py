"""What a sending thread may connect to, checked at the moment of the connection.

An audit hook on ``socket.connect`` sees every connection of the process and judges those of
threads inside `guarded` alone: a name that resolves inwards, or that changes its mind after a
check, reaches no machine inside. Link-local addresses, where clouds keep their metadata, are
refused always. The hook cannot be taken out again; it is installed once a process.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

import apprise

if TYPE_CHECKING:
    from collections.abc import Iterator


class _ForbiddenAddressError(OSError):
    """A connection that the guard refused."""


class _Guard(threading.local):
    """What the current thread may connect to; inactive in all threads but those that send."""

    active = False
    allow_private = False
    private_only = False
    refused = False


_GUARD: Final = _Guard()
_INSTALL_LOCK: Final = threading.Lock()
_installed: list[bool] = []


@contextlib.contextmanager
def guarded(*, allow_private: bool, private_only: bool) -> Iterator[_Guard]:
    """Hold what this thread connects to inside to the rules; says whether any was refused."""
    _GUARD.allow_private = allow_private
    _GUARD.private_only = private_only
    _GUARD.refused = False
    _GUARD.active = True
    try:
        yield _GUARD
    finally:
        _GUARD.active = False


def install_guard() -> None:
    """Load apprise's plug-ins, install the audit hook and the log filters; once a process."""
    with _INSTALL_LOCK:
        if _installed:
            return
        _installed.append(True)
        logger = logging.getLogger("apprise")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        logger.setLevel(logging.DEBUG)  # its own capture of a send hears what the root must not
        for name in ("urllib3.connectionpool", "urllib3.util.retry", "urllib3.connection"):
            logging.getLogger(name).addFilter(lambda _record: not _GUARD.active)
        sys.addaudithook(_audit)
        with warnings.catch_warnings():
            # its mail plug-in imports a module that Python has since dropped
            warnings.simplefilter("ignore", DeprecationWarning)
            apprise.Apprise.instantiate("json://localhost")  # loads all plug-ins, once


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "socket.connect" or not _GUARD.active:
        return
    address = arguments[1]
    host = address[0] if isinstance(address, tuple) else None
    if not may_connect(host):
        _GUARD.refused = True
        raise _ForbiddenAddressError("address refused")


def may_connect(host: object) -> bool:
    """Whether the calling thread, which is guarded, may connect to an address."""
    if not isinstance(host, str):
        return False
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False  # a name at this point would be resolved out of our sight
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if inner is None and ip in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        ip = inner or ip
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return False
    if ip.is_reserved and not ip.is_loopback:
        return False
    if not ip.is_global:
        return _GUARD.allow_private
    return not _GUARD.private_only
