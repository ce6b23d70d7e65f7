"""Who may sign in how: by password, with a second factor, and with which groups of a provider.

With a provider, only local accounts may use a password. Where groups have roles, the first entry of
which a person is a member decides the role, and the sites are those of all their entries with that
role, of those that the person has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection


class Refusal(StrEnum):
    """Why somebody was not signed in, as the audit log and the log of the service have it."""

    UNKNOWN_ACCOUNT = "unknown account"
    NO_PASSWORD = "account without a password"  # noqa: S105 - the word, not one
    WRONG_PASSWORD = "wrong password"  # noqa: S105 - the word, not one
    NOT_LOCAL = "password of an account that is not local"
    WRONG_CODE = "wrong code"
    USED_CODE = "used code"
    NO_INVITE = "invite link that is unknown, used or expired"
    LOCKED = "too many failed attempts"
    NOT_VOUCHED_FOR = "not vouched for by the provider"
    CANCELED = "canceled or refused at the provider"
    NO_SUCH_ADDRESS = "address of nobody here"
    NO_ROLE = "no group with a role"
    OTHER_SITES = "groups of other schools"


class GroupRole(NamedTuple):
    """What members of a group of the provider are here; `sites` are names, None is all."""

    group: str
    role: str
    sites: frozenset[str] | None = None
    joins: bool = True
    """Whether it makes people whom the configuration does not name: with several schools, those of
    a group that names its schools."""


class Rights(NamedTuple):
    """A role, and the names of the sites that it is limited to; None for no limit."""

    role: str
    sites: frozenset[str] | None = None


def fold_address(email: str) -> str:
    """Return an address as it is compared: lower case if ASCII; other letters have look-alikes."""
    return email.lower() if email.isascii() else email


@dataclass(frozen=True, slots=True)
class SignInRules:
    """The rules; without a provider, everybody may use a password."""

    local: frozenset[str] | None = None
    """Ids of staff who may use a password; None is everybody."""
    second_factor: frozenset[str] = frozenset()
    """Roles whose passwords need a second factor."""
    groups: tuple[GroupRole, ...] = ()
    """Roles by group of the provider; empty if roles are those of the configuration."""

    def may_use_password(self, person: str) -> bool:
        """Whether a person may sign in with a password."""
        return self.local is None or person in self.local

    def select_mapped(self, groups: Collection[str]) -> tuple[str, ...]:
        """Return those of a person's groups that have a role."""
        return tuple(entry.group for entry in self.groups if entry.group in groups)

    def find_joining_rights(self, groups: Collection[str]) -> Rights | None:
        """Return the rights of a person whom the configuration does not name; None for nobody."""
        of_joining = replace(self, groups=tuple(entry for entry in self.groups if entry.joins))
        return of_joining.find_rights("", groups) if of_joining.groups else None

    def find_rights(self, role: str, groups: Collection[str] | None) -> Rights | None:
        """Return the rights of a person with this role in the configuration; None for none at all.

        `groups` are None after a sign-in by password.
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
