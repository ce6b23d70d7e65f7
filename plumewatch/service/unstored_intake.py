"""Messages that the disk refuses, decoded for alerts from memory; nothing is acknowledged."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ingest.errors import BrokerError
from ingest.intake import Intake
from ingest.mqtt import live_messages
from ingest.states import States

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.broker import BrokerSettings
    from ingest.intake import IntakeConfig
    from ingest.message import Message
    from storage.reading import Reading

_TAP_AGAIN_S: Final = 5.0
_POLL_S: Final = 0.2


class UnstoredIntake:
    """An intake of its own beside the one that stores.

    Parameters
    ----------
    config : IntakeConfig
        Of the intake that stores; the states of decoders are not shared with it.
    topics : sequence of str
        Filters of the tap, a session beside the one that acknowledges.
    is_failing : callable
        Whether the journal refuses readings.
    on_readings : callable
        Given what was decoded.
    """

    def __init__(
        self,
        config: IntakeConfig,
        broker: BrokerSettings,
        topics: Sequence[str],
        is_failing: Callable[[], bool],
        on_readings: Callable[[Sequence[Reading]], None],
        clock: Callable[[], float],
    ) -> None:
        self._intake = Intake(replace(config, context=replace(config.context, states=States())))
        self._broker = broker
        self._topics = topics
        self._is_failing = is_failing
        self._on_readings = on_readings
        self._clock = clock

    def on_message(
        self,
        message: Message,
        decoder: str = "",
        permits: Callable[[str, str | None], bool] | None = None,
    ) -> None:
        """Decode a message that cannot be stored. Parameters as in `Intake`."""
        self._on_readings(self._intake.on_message(message, decoder, permits).readings)
        self._on_readings(self._intake.on_time(message.received))

    async def listen(self) -> None:
        """Keep the tap open while the journal refuses, until cancelled."""
        while True:
            if self._is_failing():
                with suppress(BrokerError):  # the session that stores logs it
                    await live_messages(self._broker, self._topics, self.on_message, self._clock)
            await asyncio.sleep(_TAP_AGAIN_S if self._is_failing() else _POLL_S)
