"""Topics that nothing reads, for the staff page: the list, and what each suggests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from alerts.page.settings import MappingSuggestion, UnmatchedTopic
from ingest.intake import likely_decoders
from ingest.mapping.draft import SuggestError, toml_value
from ingest.mapping.suggest_ha import suggest_any
from ingest.message import Message
from ingest.states import States

if TYPE_CHECKING:
    from ingest.intake import Intake


def unmatched_topics(intake: Intake) -> list[UnmatchedTopic]:
    """Return the topics that nothing reads, heard last first."""
    newest = reversed(intake.unmatched.values())
    return [UnmatchedTopic(q.name, q.first_seen, q.last_seen, q.count) for q in newest]


def suggestion_for(intake: Intake, topic: str) -> MappingSuggestion | None:
    """Return what the last payload under an unmatched topic suggests; None if there is none.

    A discovery message about the topic tells what its names and units do not.
    """
    heard = intake.unmatched.get(topic)
    if heard is None:
        return None
    context = replace(intake.config.context, states=States())
    message = Message(topic, heard.sample, heard.last_seen)
    likely = [name for name in likely_decoders(message, context) if name != "generic"]
    route = "".join(
        f"[[route]]\ntopic = {toml_value(topic)}\ndecoder = {toml_value(name)}\n\n"
        for name in likely[:3]
    )
    told = intake.config.context.states.discoveries.get(topic, [])
    try:
        text = suggest_any(
            topic, [heard.sample, *told], received=float(round(heard.last_seen)), zone=context.zone
        )
    except SuggestError as error:
        cut = len(heard.sample) >= intake.config.sample_bytes
        reason = f"{error}; only the beginning of the payload was kept" if cut else str(error)
        return MappingSuggestion(heard.sample, "", reason, route.strip())
    return MappingSuggestion(heard.sample, text, "", route.strip())
