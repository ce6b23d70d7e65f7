"""Rules for signing in by password, with a second factor, and with a provider's groups.

With a provider, only some people can use a password. If groups have roles, the first configured
group that a person belongs to decides the role. The person's groups with that role together decide
the sites. The person's own sites limit them further.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection


class Refusal(StrEnum):
    """Why a sign-in was refused, as recorded in the audit log and the service's log."""

    UNKNOWN_ACCOUNT = "unknown account"
    NO_PASSWORD = "account without a password"  # noqa: S105 - the word, not one
    WRONG_PASSWORD = "wrong password"  # noqa: S105 - the word, not one
    NOT_LOCAL = "password of an account that is not local"
    WRONG_CODE = "wrong code"
    NO_INVITE = "invite link that is unknown, used or expired"
    LOCKED = "too many failed attempts"
    NOT_AUTHENTICATED = "not authenticated by the provider"
    CANCELED = "canceled or refused at the provider"
    NO_SUCH_ADDRESS = "address that no one here has"
    NO_ROLE = "no group with a role"
    OTHER_SITES = "groups of other schools"
    OTHER_ACCOUNT = "another account with a known address"


class GroupRole(NamedTuple):
    """The role of a provider's group; `sites` contains site names, and None means all."""

    group: str
    role: str
    sites: frozenset[str] | None = None
    joins: bool = True
    """Whether people who are not in the configuration can join through this group.

    If there are several schools, only groups that name their schools let people join.
    """


class Rights(NamedTuple):
    """A role, and the names of its sites; None means all sites."""

    role: str
    sites: frozenset[str] | None = None


def fold_address(email: str) -> str:
    """Return an address for comparison, in lower case if it is ASCII.

    Other addresses are not changed, because lower case could make different addresses equal.
    """
    return email.lower() if email.isascii() else email


@dataclass(frozen=True, slots=True)
class SignInRules:
    """The rules for signing in; without a provider, everybody can use a password."""

    local: frozenset[str] | None = None
    """Ids of staff who can use a password; None means everybody."""
    second_factor: frozenset[str] = frozenset()
    """Roles that need a second factor when signing in by password."""
    groups: tuple[GroupRole, ...] = ()
    """Roles by provider group; empty if roles come from the configuration."""
    absent_s: float = 90 * 86_400.0
    """Seconds without a sign-in after which people of the directory are removed."""

    @property
    def warned_s(self) -> float:
        """Return the seconds without a sign-in after which warnings are shown."""
        return self.absent_s * 2 / 3

    def may_use_password(self, person: str) -> bool:
        """Return whether a person can sign in with a password."""
        return self.local is None or person in self.local

    def select_mapped(self, groups: Collection[str]) -> tuple[str, ...]:
        """Return the person's groups that have a role."""
        return tuple(entry.group for entry in self.groups if entry.group in groups)

    def find_joining_rights(self, groups: Collection[str]) -> Rights | None:
        """Return the rights of a person who is not in the configuration, or None."""
        of_joining = replace(self, groups=tuple(entry for entry in self.groups if entry.joins))
        return of_joining.find_rights("", groups) if of_joining.groups else None

    def find_rights(self, role: str, groups: Collection[str] | None) -> Rights | None:
        """Return the rights of a person with this configured role, or None.

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
