"""Rows as JSON or CSV."""

from __future__ import annotations

import csv
import io
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response

from alerts.page.api.operation import CSV, JSON
from reports.text import inert

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def rows_response(
    names: Sequence[str], rows: Iterable[Sequence[Any]], kind: str, **about: object
) -> Response:
    """Return rows of these columns, as JSON below what else there is to say, or as CSV.

    No cell of the CSV is a formula.
    """
    if kind == "csv":
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(names)
        writer.writerows([_cell(value) for value in row] for row in rows)
        return Response(text.getvalue(), media_type=CSV)
    items = [dict(zip(names, row, strict=True)) for row in rows]
    return Response(msgspec.json.encode({**about, "items": items}), media_type=JSON)


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return msgspec.to_builtins(value)
    return inert(value) if isinstance(value, str) else value
