"""Details of events, as facts: what a detector adds to probabilities and channels.

A new detail is a member of `Detail` with its sentence here, and the detector that gives it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from detection.quantities import QUANTITIES, QUANTITY_WORDS
from language.facts import Sentences
from language.messages import _, mark, mark_plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from language.facts import Fact


class Detail(StrEnum):
    """What a detector adds to an event."""

    # a device's own reports
    TAMPERED = "tampered"
    VENDOR_VAPE = "vendor_vape"
    VENDOR_BURNING = "vendor_burning"
    VENDOR_INTERFERENCE = "vendor_interference"
    BATTERY_LOW = "battery_low"
    BATTERY_AT = "battery_at"
    NO_VALID_VALUE = "no_valid_value"
    CLOCK_STANDS = "clock_stands"
    # the messages under a sensor's name
    TWO_SENDERS = "two_senders"
    REPEATED = "repeated"
    REFUSED = "refused"
    FLOODED = "flooded"
    # the service itself
    STRANGERS = "strangers"
    SESSION_LOST = "session_lost"
    SESSION_CONTENDED = "session_contended"
    QUOTA_USED_UP = "quota_used_up"
    # its readings
    FROZEN = "frozen"
    ALL_FROZEN = "all_frozen"
    MISSING = "missing"
    SATURATED = "saturated"
    NOISY = "noisy"
    COVERED = "covered"
    BLOWN = "blown"
    SPRAYED = "sprayed"
    DRIFT = "drift"
    # its silence
    SILENT = "silent"
    SAYS_OFFLINE = "says_offline"
    NEVER_SEEN = "never_seen"
    SEVERAL_SILENT = "several_silent"
    SEVERAL_NEVER_SEEN = "several_never_seen"
    BROKER_AWAY = "broker_away"
    BACK = "back"
    PARTLY_BACK = "partly_back"
    STATE_LOST = "state_lost"
    # a building
    ROSE_TOGETHER = "rose_together"


INTEGRITY: Final = (
    Detail.TWO_SENDERS,
    Detail.REPEATED,
    Detail.REFUSED,
    Detail.FLOODED,
)
"""What ingest finds about a sensor's messages; the event has the prefix ``integrity:``."""
BATTERY: Final = frozenset({Detail.BATTERY_LOW, Detail.BATTERY_AT})
UNSETTLED: Final = frozenset({Detail.PARTLY_BACK, Detail.STATE_LOST})
"""Of outages that ended while sensors may still be silent."""


def format_span(seconds: float) -> str:
    """Format a duration.

    >>> format_span(5.0), format_span(90.0), format_span(300.0), format_span(7200.0)
    ('5 s', '90 s', '5 min', '2 h')
    """
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _amount(value: float, params: Mapping[str, Any]) -> str:
    """Format a value of a quantity.

    >>> _amount(3.0, {"quantity": "pm25"}), _amount(500.0, {"quantity": "voc_index"})
    ('3.0 µg/m³', '500')
    """
    quantity = QUANTITIES[params["quantity"]]
    digits = {1.0: 0, 0.1: 1}.get(quantity.resolution, 2)
    return f"{value:.{digits}f} {quantity.unit}".rstrip()


def _sensors(names: str, params: Mapping[str, Any]) -> str:
    more = params["more"]
    return _("%(sensors)s and %(more)d more", sensors=names, more=more) if more else names


_SENTENCES: Final = Sentences(
    {
        Detail.TAMPERED: mark("the sensor reports tampering"),
        Detail.VENDOR_VAPE: mark("%(device)s's own vape alarm"),
        Detail.VENDOR_BURNING: mark("%(device)s's own burning alarm"),
        Detail.VENDOR_INTERFERENCE: mark("%(device)s reports interference"),
        Detail.BATTERY_LOW: mark("the battery is low"),
        Detail.BATTERY_AT: mark("the battery is at %(percent).0f %%"),
        Detail.NO_VALID_VALUE: mark("the sensor's %(quantity)s channel reports no valid value"),
        Detail.CLOCK_STANDS: mark(
            "the sensor's clock stands still: its readings count at their receipt"
        ),
        Detail.TWO_SENDERS: mark("a second sender uses its name"),
        Detail.REPEATED: mark("recorded readings of it are sent again"),
        Detail.REFUSED: mark("many messages under its name are no readings"),
        Detail.FLOODED: mark(
            "far too many messages come under its name: the room is not watched reliably"
        ),
        Detail.STRANGERS: mark("many sensors that nobody registered"),
        Detail.SESSION_LOST: mark(
            "the broker lost the service's session: readings queued in it may be missing"
        ),
        Detail.SESSION_CONTENDED: mark(
            "the connection is lost again and again: a bad network, or a second client with its id"
        ),
        Detail.QUOTA_USED_UP: mark(
            "the quota of the day is used up: notices go to people's next addresses until midnight"
            " UTC"
        ),
        Detail.FROZEN: mark("%(quantity)s has been exactly %(amount)s for %(time)s"),
        Detail.ALL_FROZEN: mark("every value has been exactly the same for %(time)s"),
        Detail.MISSING: mark(
            "%(quantity)s has not been reported for %(time)s, though other values are"
        ),
        Detail.SATURATED: mark(
            "%(quantity)s has stood at %(amount)s, the end of its scale, for %(time)s"
        ),
        Detail.NOISY: mark(
            "%(quantity)s has been %(times).0f times noisier than ever before for %(time)s"
        ),
        Detail.COVERED: mark(
            "for %(time)s no particles have come in and nothing has moved: the sensor may be"
            " covered or its inlet blocked"
        ),
        Detail.BLOWN: mark(
            "dust and damp air came and were gone within %(time)s: somebody blew or sprayed into it"
        ),
        Detail.SPRAYED: mark("%(quantity)s reached %(amount)s: something was sprayed into it"),
        Detail.DRIFT: mark(
            "the cleanest air of each of %(days)d days reads %(amount)s, it was %(before)s: the"
            " sensor may be dusty"
        ),
        Detail.SILENT: mark("no reading for %(time)s, it reports every %(interval)s"),
        Detail.SAYS_OFFLINE: mark("the sensor, or its gateway, says that it is offline"),
        Detail.NEVER_SEEN: mark(
            "no reading since it was registered %(time)s ago: is it installed, and is its id the"
            " one under which it publishes?"
        ),
        Detail.SEVERAL_SILENT: mark("%(n)d sensors fell silent together: %(sensors)s"),
        Detail.SEVERAL_NEVER_SEEN: mark(
            "%(n)d registered sensors never sent a reading: %(sensors)s; is it installed, and is"
            " its id the one under which it publishes?"
        ),
        Detail.BROKER_AWAY: mark("the broker cannot be reached"),
        Detail.BACK: mark("back after %(time)s"),
        Detail.PARTLY_BACK: mark_plural(
            "%(n)d of %(all)d back after %(time)s, %(away)d still silent",
            "%(n)d of %(all)d back after %(time)s, %(away)d still silent",
        ),
        Detail.STATE_LOST: mark("its state was lost, the sensor is checked again"),
        Detail.ROSE_TOGETHER: mark("the air of %(risen)d of %(n)d rooms rose together"),
    },
    {
        "device": lambda name, _params: name or _("the sensor"),
        "quantity": lambda key, _params: QUANTITY_WORDS.get(key, key),
        "amount": _amount,
        "before": _amount,
        "time": lambda seconds, _params: format_span(seconds),
        "interval": lambda seconds, _params: format_span(seconds),
        "sensors": _sensors,
    },
)


def details_text(details: Iterable[Fact]) -> str:
    """Say details one after the other."""
    return "; ".join(map(_SENTENCES.of, details))
