"""Send test notices to staff addresses."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from alerts.errors import NotifyError
from alerts.notify.notice import Notice, NoticeReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerts.notify.channels.apprise_notifier import Notifier
    from alerts.policy import AlertPolicy, StaffMember
    from alerts.secrets import Secret

_TIMEOUT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class TrialNotice:
    """Outcome of a test notice to a person's address `number`, counted from 1.

    `error` is None if the notice was delivered.
    """

    person: str
    number: int
    error: NotifyError | None


async def send_trials(
    notifier: Notifier, staff: Sequence[StaffMember], policy: AlertPolicy, site: str, now: float
) -> list[TrialNotice]:
    """Send a test notice to each address of `staff`, concurrently, in each person's language."""

    async def send(member: StaffMember, number: int, target: Secret) -> TrialNotice:
        notice = Notice(
            incident="test",
            reason=NoticeReason.TEST,
            kind="vape",
            building=site,
            since=now,
            zone=policy.zone,
            language=member.language or policy.language,
        )
        try:
            await notifier.send(target, notice, timeout_s=_TIMEOUT_S)
        except NotifyError as error:
            return TrialNotice(member.id, number, error)
        return TrialNotice(member.id, number, None)

    trials = (
        send(member, number, target)
        for member in staff
        for number, target in enumerate(member.targets, start=1)
    )
    return await asyncio.gather(*trials)
