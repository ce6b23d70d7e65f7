"""Where the events of a stream go: files, and the broker of an alert engine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import polars as pl
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from scale.errors import ScaleError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["EVENT_COLUMNS", "EventFiles", "EventPublisher"]

EVENT_COLUMNS: Final = ("id", "sensor", "kind", "phase", "time", "event")
_KINDS: Final = {name: pl.Float64() if name == "time" else pl.String() for name in EVENT_COLUMNS}
_WAIT_S: Final = 30.0


class EventFiles:
    """Writes the events of each trigger to a Parquet file named after it, whole or not at all.

    The same trigger again replaces its file, so the folder holds each word once.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def take(self, said: Sequence[tuple[object, ...]], number: int) -> None:
        """Write the events of a trigger; a trigger that said nothing leaves no file."""
        path = self._folder / f"trigger-{number:012d}.parquet"
        if not said:
            path.unlink(missing_ok=True)
            return
        draft = path.with_name(f"_{path.name}.draft")
        with draft.open("wb") as file:
            pl.DataFrame(said, schema=_KINDS, orient="row").write_parquet(file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)


class EventPublisher:
    """Publishes events at QoS 1 to ``plumewatch/v1/SENSOR/event``.

    Parameters
    ----------
    address : str
        ``HOST[:PORT]``.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        if not host or (port and not port.isdecimal()):
            raise ScaleError(f"--mqtt {address}: HOST or HOST:PORT")
        self._host, self._port = host, int(port or 1883)

    def take(self, said: Sequence[tuple[object, ...]], number: int) -> None:
        """Publish the events of a trigger, in order, and wait until the broker has them all.

        Raises
        ------
        ScaleError
            If it does not take them; the trigger then comes again.
        """
        if not said:
            return
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        try:
            client.connect(self._host, self._port)
            client.loop_start()
            sent = [
                client.publish(f"plumewatch/v1/{row[1]}/event", str(row[5]), qos=1) for row in said
            ]
            for message in sent:
                message.wait_for_publish(_WAIT_S)
            if not all(message.is_published() for message in sent):
                raise ScaleError(f"trigger {number}: the broker did not take all events")
        except (OSError, ValueError, RuntimeError) as error:
            raise ScaleError(f"trigger {number}: {self._host}:{self._port}: {error}") from error
        finally:
            client.disconnect()
            client.loop_stop()
