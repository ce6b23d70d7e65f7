"""Personal links in notices that ask for a response, created as the notice is sent.

The token is only in the notice: rows of the outbox have the plain link.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from alerts.access.action_tokens import Action, issue

if TYPE_CHECKING:
    import sqlite3

    from alerts.notify.outbox import OutboxRow

ANSWER_PATH: Final = "/answer"
_INCIDENTS: Final = "/incidents/"


def with_answer_link(tx: sqlite3.Connection, row: OutboxRow, now: float) -> OutboxRow:
    """Give a notice that asks for a response the personal link of its recipient."""
    notice = row.notice
    base, found, rest = notice.link.partition(_INCIDENTS)
    if not found or not notice.reason.asks:
        return row
    token = issue(tx, row.incident, row.person, Action.ACKNOWLEDGE, now)
    _incident, query, asked = rest.partition("?")
    link = f"{base}{ANSWER_PATH}{query}{asked}#{token}"
    return replace(row, notice=msgspec.structs.replace(notice, link=link))


def answer_of(link: str) -> tuple[str, str]:
    """Return address and token of a personal link, for a button; empty for other links.

    >>> answer_of("https://plumewatch.example/answer?lang=es#c2VjcmV0")
    ('https://plumewatch.example/answer', 'c2VjcmV0')
    >>> answer_of("https://plumewatch.example/incidents/1")
    ('', '')
    """
    page, _, token = link.partition("#")
    address = page.partition("?")[0]
    return (address, token) if token and address.endswith(ANSWER_PATH) else ("", "")
