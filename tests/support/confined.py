"""Run a command under the limits of a systemd unit, without systemd.

``python -m tests.support.confined UNIT COMMAND ...`` applies the unit's `SystemCallFilter=`,
`NoNewPrivileges=`, `MemoryDenyWriteExecute=` and an empty `CapabilityBoundingSet=`, and then runs
the command. Limits that systemd implements with namespaces (read-only folders, hidden processes)
are not applied. Needs Linux 6.3, libseccomp and `systemd-analyze`.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

_NO_NEW_PRIVS, _SET_MDWE, _CAPBSET_DROP = 38, 65, 24
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LAST_CAPABILITY = 40


@functools.cache
def _groups() -> dict[str, list[str]]:
    """Return all groups of system calls of the installed systemd, by name."""
    listing = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    listing = re.sub(r"\x1b\[[0-9;]*m", "", listing)
    groups: dict[str, list[str]] = {}
    members: list[str] = []
    for line in listing.splitlines():
        if line.startswith("@"):
            members = groups.setdefault(line.strip(), [])
        elif line.startswith("    ") and not line.lstrip().startswith("#"):
            members.append(line.strip())
    return groups


def _calls(names: list[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        found |= _calls(_groups()[name]) if name.startswith("@") else {name}
    return found


def confine(unit: Path) -> None:
    """Apply a unit's limits to this process and its child processes.

    Raises
    ------
    OSError
        If the kernel refuses a limit.
    """
    lines = [line.partition("=") for line in unit.read_text().splitlines() if "=" in line]
    filters = [value.strip() for key, _, value in lines if key == "SystemCallFilter"]
    limits = {key: value.strip() for key, _, value in lines}
    allowed: set[str] = set()
    for entry in filters:
        if entry.startswith("~"):
            allowed -= _calls(entry[1:].split())
        else:
            allowed |= _calls(entry.split())
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(seccomp.seccomp_init(_ERRNO | errno.EPERM))
    for call in sorted(allowed):
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if number >= 0:
            seccomp.seccomp_rule_add(context, _ALLOW, number, 0)
    if limits["CapabilityBoundingSet"] == "" and os.geteuid() == 0:
        for capability in range(_LAST_CAPABILITY + 1):
            _checked(libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0))
    if limits["NoNewPrivileges"] == "yes":
        _checked(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0))
    if limits.get("MemoryDenyWriteExecute") == "yes":
        _checked(libc.prctl(_SET_MDWE, 1, 0, 0, 0))
    if (code := seccomp.seccomp_load(context)) != 0:
        raise OSError(-code, os.strerror(-code))


def _checked(code: int) -> None:
    if code != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is wanted
