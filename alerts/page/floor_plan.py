"""The floor plan of the wall view: an uploaded picture, and where rooms are on it.

A PNG or JPEG is decoded and written anew as PNG, so nothing else of what was uploaded is kept.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Final

from PIL import Image, UnidentifiedImageError

from language.messages import _
from storage.files import write_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_BYTES: Final = 4_000_000
_MAX_PIXELS: Final = 24_000_000
_MAX_SIDE: Final = 2400


class PictureError(ValueError):
    """The picture is not accepted; the message is for people."""


class FloorPlan:
    """Picture and places in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._picture = folder / "plan.png"
        self._places = folder / "places.json"

    def picture(self) -> bytes | None:
        """Return the picture, a PNG; None without one."""
        return self._picture.read_bytes() if self.has_picture() else None

    def has_picture(self) -> bool:
        """Whether there is a picture."""
        return self._picture.exists()

    def save_picture(self, raw: bytes) -> None:
        """Check and keep a picture; raises `PictureError`."""
        if len(raw) > MAX_BYTES:
            raise PictureError(_("The picture is larger than 4 MB."))
        content = _redrawn(raw)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._picture, content)

    def remove_picture(self) -> None:
        """Delete the picture; places stay for the next one."""
        self._picture.unlink(missing_ok=True)

    def places(self) -> dict[str, tuple[float, float]]:
        """Return where rooms are, as shares of width and height, by room."""
        try:
            found = json.loads(self._places.read_bytes())
            return {str(room): (float(x), float(y)) for room, (x, y) in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def save_places(self, places: Mapping[str, tuple[float, float]]) -> None:
        """Keep where rooms are."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._places, json.dumps(dict(places)).encode())


def _redrawn(raw: bytes) -> bytes:
    try:
        with Image.open(io.BytesIO(raw), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise PictureError(_("The picture has too many pixels: at most 24 million."))
            drawn = image.convert("RGBA")
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(_("This is no PNG or JPEG picture.")) from error
    drawn.thumbnail((_MAX_SIDE, _MAX_SIDE))
    out = io.BytesIO()
    drawn.save(out, "PNG")
    return out.getvalue()
