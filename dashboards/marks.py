"""Events in charts, as annotations that the InfluxDB data source of Grafana reads."""

from __future__ import annotations

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import AnnotationQuery

from dashboards.queries import DATA_SOURCE


class EventMarks(Builder[AnnotationQuery], AnnotationQuery):
    """One set of marks.

    Parameters
    ----------
    name : str
        With which people switch it on and off.
    question : str
        InfluxQL; gives ``sentence``, ``kind`` and ``until``, its end in milliseconds.
    """

    def __init__(self, name: str, question: str, colour: str) -> None:
        super().__init__(name=name, datasource=DATA_SOURCE, icon_color=colour, enable=True)
        self.question = question

    def build(self) -> AnnotationQuery:
        """Return itself."""
        return self

    def to_json(self) -> dict[str, object]:
        """Return it with what the data source needs and the SDK does not know."""
        return {
            **super().to_json(),
            "query": self.question,
            "rawQuery": True,
            "titleColumn": "kind",
            "textColumn": "sentence",
            "tagsColumn": "kind",
            "timeEndColumn": "until",
        }
