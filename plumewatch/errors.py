"""Errors that end a command with their own exit code."""

from __future__ import annotations


class UsageError(Exception):
    """Bad usage; the message explains what is allowed."""


class UnreachableError(Exception):
    """A required service does not answer; the message names it and explains why."""
