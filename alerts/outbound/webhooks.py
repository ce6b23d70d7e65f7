"""Send incidents to other systems as signed webhooks, through the outbox of notices.

`enqueue` reads the change feed and adds a row for each webhook to the outbox, in the transaction
that moves its cursor; the pump sends them. A receiver gets each change at least once, with the same
``webhook-id``. Changes more than an hour old come from a rebuilt database and are not sent.

Signatures follow https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md:
``webhook-signature`` is ``v1,`` and the base64 of the HMAC-SHA256 over ``id.timestamp.body``. The
secret is ``whsec_`` and base64 of 24 to 64 bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any, Final

from alerts.errors import NotifyReason
from alerts.incidents import repository
from alerts.incidents.incident import find_place
from alerts.incidents.incident_json import build_incident_json, format_iso
from alerts.notify import outbox as outbox_rows
from alerts.notify.notice import Notice, NoticeReason, Priority
from alerts.notify.post import post, raise_for_status
from alerts.policy import PAGED
from storage.sqlite import transaction

if TYPE_CHECKING:
    import asyncio
    import sqlite3
    from collections.abc import Callable

    from alerts.incidents.repository import ChangeSignal
    from alerts.policy import AlertPolicy, Webhook
    from alerts.secrets import Secret
    from storage.registry import Registry
    from storage.sqlite import RunUntilStored

READER: Final = "webhooks"
_CHANGES: Final = ("opened", "acknowledged", "resolved")
_LATEST_S: Final = 3600.0
_KEPT_TRYING_S: Final = 86_400.0
_BATCH: Final = 500
_LOOK_AGAIN_S: Final = 5.0


async def write_webhooks(
    state: sqlite3.Connection,
    policy: AlertPolicy,
    registry: Registry,
    school: str,
    changes: ChangeSignal,
    wake_outbox: asyncio.Event,
    run_until_stored: RunUntilStored,
    clock: Callable[[], float],
) -> None:
    """Put changes of incidents into the outbox until cancelled; use `state` in its thread."""

    def write() -> int:
        if repository.read_changes(state, READER, limit=1) == []:
            return 0
        with transaction(state) as tx:
            return enqueue(tx, policy, registry, school, clock())

    seen = -1
    while True:
        if await run_until_stored("webhooks", write):
            wake_outbox.set()
        seen = await changes.wait_beyond(seen, _LOOK_AGAIN_S)


def enqueue(
    tx: sqlite3.Connection, policy: AlertPolicy, registry: Registry, school: str, now: float
) -> int:
    """Put new changes into the outbox; return the number of rows added."""
    changes = repository.read_changes(tx, READER, limit=_BATCH)
    if changes is None:
        repository.advance_reader(tx, READER, repository.find_newest_change(tx))
        return 0
    count = 0
    for change in changes:
        if change.what not in _CHANGES or change.at is None or now - change.at > _LATEST_S:
            continue
        row = tx.execute(
            "SELECT ? AS seq, ? AS what, ? AS at, i.*,"
            " (SELECT id FROM alert_event WHERE incident = i.id ORDER BY onset LIMIT 1) AS event"
            " FROM incident i WHERE id = ?",
            (change.seq, change.what, change.at, change.incident),
        ).fetchone()
        if row is None:
            continue
        body = json.dumps(_build_message(tx, row, policy, registry, school), ensure_ascii=False)
        for hook in policy.webhooks:
            if row["kind"] in (hook.kinds or PAGED):
                count += outbox_rows.add_notice(
                    tx,
                    _build_notice(row, {"id": _make_id(hook, row), "body": body}),
                    person=hook.id,
                    address=hook.url,
                    now=now,
                    expires_at=now + _KEPT_TRYING_S,
                    occasion=f"{row['what']}:{row['seq']}",
                )
    if changes:
        repository.advance_reader(tx, READER, changes[-1].seq)
    return count


def _build_message(
    tx: sqlite3.Connection, row: sqlite3.Row, policy: AlertPolicy, registry: Registry, school: str
) -> dict[str, Any]:
    room = find_place(registry, row["room"])
    evidence = repository.load_evidence(tx, row["event"] or "")
    return {
        "type": f"incident.{row['what']}",
        "timestamp": format_iso(row["at"]),
        "data": {
            **build_incident_json(row, room),
            "evidence": evidence.sentence() if evidence else "",
            "school": room.shown_site or school,
            **({"site": room.site_id} if room.names_site else {}),
            "link": f"{policy.page_url}/incidents/{row['id']}" if policy.page_url else "",
        },
    }


def _build_notice(row: sqlite3.Row, message: dict[str, str]) -> Notice:
    return Notice(
        incident=row["id"],
        reason=NoticeReason.CHANGED,
        kind=row["kind"],
        room=row["room"],
        floor="",
        building="",
        since=row["onset"],
        text=json.dumps(message, ensure_ascii=False),
        priority=Priority.QUIET,
    )


class Webhooks:
    """Sends messages to the webhooks of a policy."""

    def __init__(
        self,
        policy: AlertPolicy,
        *,
        allow_private: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._secrets = {hook.url: hook.secret for hook in policy.webhooks}
        self._allow_private = allow_private
        self._clock = clock

    async def send(self, target: Secret, notice: Notice, _picture: bytes | None = None) -> None:
        """Send a message.

        Raises `PermanentNotifyError` for a forbidden address or status 410, else
        `TransientNotifyError`.
        """
        message = json.loads(notice.text)
        body, stamp = message["body"].encode(), str(int(self._clock()))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message["id"],
            "webhook-timestamp": stamp,
            "webhook-signature": sign(self._secrets[target], message["id"], stamp, body),
        }
        answer = await post(target.reveal(), body, headers, allow_private=self._allow_private)
        raise_for_status(answer, {410: NotifyReason.REFUSED})


def sign(secret: Secret, message_id: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a message by the Standard Webhooks scheme.

    >>> from alerts.secrets import Secret
    >>> secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    >>> sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    key = base64.b64decode(secret.reveal().removeprefix("whsec_"))
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def find_secret_fault(secret: str) -> str:
    """Return why a signing secret is invalid, without revealing it; empty if it is valid."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith("whsec_") or not 24 <= len(key) <= 64:
        return "must be whsec_ and base64 of 24 to 64 bytes"
    return ""


def _make_id(hook: Webhook, row: sqlite3.Row) -> str:
    identity = f"{hook.name}/{row['id']}/{row['what']}/{row['seq']}/{row['at']}"
    return "msg_" + hashlib.sha256(identity.encode()).hexdigest()[:32]
