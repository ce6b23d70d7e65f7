"""Rules for signing in: by password, with a second factor, and with groups of a provider.

With a provider, only some people may use a password. If groups have roles, the first configured
group that a person is in decides their role. All their groups with that role together give their
sites, within the person's own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection


class Refusal(StrEnum):
    """Why a sign-in was refused, as written to the audit log and the service's log."""

    UNKNOWN_ACCOUNT = "unknown account"
    NO_PASSWORD = "account without a password"  # noqa: S105 - the word, not one
    WRONG_PASSWORD = "wrong password"  # noqa: S105 - the word, not one
    NOT_LOCAL = "password of an account that is not local"
    WRONG_CODE = "wrong code"
    USED_CODE = "used code"
    NO_INVITE = "invite link that is unknown, used or expired"
    LOCKED = "too many failed attempts"
    NOT_VOUCHED_FOR = "not authenticated by the provider"
    CANCELED = "canceled or refused at the provider"
    NO_SUCH_ADDRESS = "address that no one here has"
    NO_ROLE = "no group with a role"
    OTHER_SITES = "groups of other schools"


class GroupRole(NamedTuple):
    """The role of a provider's group; `sites` has names, None for all."""

    group: str
    role: str
    sites: frozenset[str] | None = None
    joins: bool = True
    """Whether people who are not in the configuration may join by it; with several schools, only by
    a group that names its schools."""


class Rights(NamedTuple):
    """A role, and the names of its sites; None for all."""

    role: str
    sites: frozenset[str] | None = None


def fold_address(email: str) -> str:
    """Return an address for comparison, in lower case if ASCII; other letters have look-alikes."""
    return email.lower() if email.isascii() else email


@dataclass(frozen=True, slots=True)
class SignInRules:
    """The rules for signing in; without a provider, everybody may use a password."""

    local: frozenset[str] | None = None
    """Ids of staff who may use a password; None for everybody."""
    second_factor: frozenset[str] = frozenset()
    """Roles that need a second factor with a password."""
    groups: tuple[GroupRole, ...] = ()
    """Roles by group of the provider; empty if the configuration gives roles."""

    def may_use_password(self, person: str) -> bool:
        """Return whether a person may sign in with a password."""
        return self.local is None or person in self.local

    def select_mapped(self, groups: Collection[str]) -> tuple[str, ...]:
        """Return the person's groups that have a role."""
        return tuple(entry.group for entry in self.groups if entry.group in groups)

    def find_joining_rights(self, groups: Collection[str]) -> Rights | None:
        """Return the rights of a person who is not in the configuration; None without any."""
        of_joining = replace(self, groups=tuple(entry for entry in self.groups if entry.joins))
        return of_joining.find_rights("", groups) if of_joining.groups else None

    def find_rights(self, role: str, groups: Collection[str] | None) -> Rights | None:
        """Return the rights of a person with this configured role; None without any.

        `groups` is None after a sign-in by password.
        """
        if groups is None or not self.groups:
            return Rights(role)
        own = [entry for entry in self.groups if entry.group in groups]
        own = [entry for entry in own if entry.role == own[0].role]
        if not own:
            return None
        limits = [entry.sites for entry in own if entry.sites is not None]
        sites = frozenset().union(*limits) if len(limits) == len(own) else None
        return Rights(own[0].role, sites)
