"""A notifier that records notices."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alerts.errors import NotifyError, NotifyReason, TransientNotifyError
from alerts.notify.notice import Notice, render
from alerts.secrets import find_scheme

if TYPE_CHECKING:
    from alerts.secrets import Secret


@dataclass(frozen=True, slots=True)
class SentNotice:
    """A notice that a `RecordingNotifier` delivered."""

    target: Secret
    notice: Notice
    title: str
    body: str
    picture: bytes | None = None


@dataclass(slots=True)
class RecordingNotifier:
    """A notifier that records notices; `script` has the outcomes of the next sends."""

    script: list[NotifyError | None] = field(default_factory=list)
    sent: list[SentNotice] = field(default_factory=list)
    attempts: int = 0

    async def send(
        self, target: Secret, notice: Notice, *, timeout_s: float, picture: bytes | None = None
    ) -> None:
        """Return the script's next outcome, or record the notice; a timeout of zero or less
        fails."""
        self.attempts += 1
        await asyncio.sleep(0)
        outcome = self.script.pop(0) if self.script else None
        if outcome is not None:
            raise outcome
        if timeout_s <= 0:
            raise TransientNotifyError(NotifyReason.TIMEOUT)
        self.sent.append(SentNotice(target, notice, *render(notice, find_scheme(target)), picture))

    def accepts_picture(self, target: Secret) -> bool:  # noqa: ARG002 - all do
        """Accept every picture."""
        return True

    def find_busy_channels(self) -> frozenset[str]:
        """Return no channels."""
        return frozenset()
