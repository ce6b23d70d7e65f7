"""Words of the templates for codes."""

from __future__ import annotations

from typing import Final

from language.messages import Words, mark

WORDS: Final = {
    "span": Words({"day": mark("Day"), "week": mark("Week"), "month": mark("Month")}),
    "status": Words(
        {
            "open": mark("Open"),
            "notified": mark("Staff notified"),
            "acknowledged": mark("Acknowledged"),
            "resolved": mark("Resolved"),
        }
    ),
    "state": Words(
        {
            "needs_responder": mark("Needs a responder"),
            "responding": mark("Responding"),
            "answered": mark("Answered"),
            "nobody_responded": mark("Nobody responded"),
            "responded": mark("Not reported yet"),
            "suppressed": mark("Suppressed, recorded only"),
            "resolved": mark("Resolved"),
        }
    ),
    "phase": Words(
        {"alerted": mark("ongoing"), "updated": mark("ongoing"), "ended": mark("ended")}
    ),
    "life": Words(
        {
            "alive": mark("alive"),
            "silent": mark("silent"),
            "offline": mark("offline"),
            "never heard": mark("never heard"),
            "not checked yet": mark("not checked yet"),
        }
    ),
    # what became of a notice
    "delivery": Words(
        {
            "sent": mark("sent"),
            "due": mark("waiting"),
            "leased": mark("being sent"),
            "failed": mark("failed"),
            "cancelled": mark("no longer needed"),
        }
    ),
    # data problems of a sensor
    "noted": Words(
        {
            "duplicate": mark("duplicate"),
            "clock": mark("wrong clock"),
            "late": mark("late"),
            "retained": mark("kept by the broker"),
            "backfill": mark("sent later from the device's memory"),
            "missing": mark("missing"),
            "fault": mark("faulty value"),
            "unjudged": mark("out of order"),
            "cached": mark("repeated by a bridge"),
            "simulated": mark("console test"),
            "maintenance": mark("during self-cleaning"),
            "undecoded": mark("not decoded by the network server"),
            "bad_firmware": mark("firmware version rejected"),
            "unread": mark("a value of unknown unit left out"),
            "repaired": mark("faulty JSON repaired"),
            "waiting": mark("waiting for a description"),
        }
    ),
    # why a message was rejected, by `ingest.errors.Reason`
    "rejected": Words(
        {
            "malformed": mark("not readable"),
            "too_large": mark("too large"),
            "too_deep": mark("nested too deeply"),
            "too_many_keys": mark("too many keys"),
            "wrong_type": mark("a value of the wrong type"),
            "bad_time": mark("unusable time stamp"),
            "bad_topic": mark("unusable topic"),
            "bad_id": mark("unusable sensor name"),
            "id_mismatch": mark("sensor name differs from the topic"),
            "bad_frame": mark("damaged frame"),
            "unknown_topic": mark("unknown format"),
            "unknown_device": mark("unknown device"),
            "not_allowed": mark("not allowed"),
            "no_measurement": mark("no measured value"),
            "guard_not_met": mark("condition of the mapping not met"),
            "decoder_failed": mark("fault in the decoder"),
        }
    ),
    # what was done to an entry of the settings
    "change": Words(
        {
            "added": mark("added"),
            "changed": mark("changed"),
            "removed": mark("removed"),
            "undone": mark("undone"),
        }
    ),
}
"""By table and code, in the reader's language."""
