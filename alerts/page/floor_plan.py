"""The floor plan of the wall view: an uploaded picture, and where rooms are on it.

PNG and JPEG are decoded and written anew; an SVG with anything active in it is refused.
"""

from __future__ import annotations

import io
import json
import re
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
_TYPES: Final = {"png": "image/png", "jpg": "image/jpeg", "svg": "image/svg+xml"}
_ACTIVE: Final = re.compile(
    rb"<!doctype|<!entity|<\?xml-stylesheet|<\s*(?:\w+:)?(?:script|foreignobject|iframe|embed|object"
    rb"|handler|animate|set|use\s[^>]*href\s*=\s*[\"'](?!#))|\son\w+\s*=|javascript:|@import|url\("
    rb"\s*[\"']?(?!#)|href\s*=\s*[\"']?\s*(?!#|[\"']?data:image/(?:png|jpeg))[^\s#\"']",
    re.IGNORECASE,
)


class PictureError(ValueError):
    """The picture is not accepted; the message is for people."""


class FloorPlan:
    """Picture and places in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places = folder / "places.json"

    def picture(self) -> tuple[bytes, str] | None:
        """Return the picture and its media type; None without one."""
        for suffix, media_type in _TYPES.items():
            path = self._folder / f"plan.{suffix}"
            if path.exists():
                return path.read_bytes(), media_type
        return None

    def has_picture(self) -> bool:
        """Whether there is a picture."""
        return any((self._folder / f"plan.{suffix}").exists() for suffix in _TYPES)

    def save_picture(self, raw: bytes) -> None:
        """Check and keep a picture; raises `PictureError`."""
        if len(raw) > MAX_BYTES:
            raise PictureError(_("The picture is larger than 4 MB."))
        suffix, content = ("svg", _safe_svg(raw)) if b"<svg" in raw[:2000] else _redrawn(raw)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.remove_picture()
        write_private(self._folder / f"plan.{suffix}", content)

    def remove_picture(self) -> None:
        """Delete the picture; places stay for the next one."""
        for suffix in _TYPES:
            (self._folder / f"plan.{suffix}").unlink(missing_ok=True)

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


def _redrawn(raw: bytes) -> tuple[str, bytes]:
    try:
        with Image.open(io.BytesIO(raw), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise PictureError(_("The picture has too many pixels: at most 24 million."))
            is_png = image.format == "PNG"
            drawn = image.convert("RGBA" if is_png else "RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(_("This is no PNG, JPEG or SVG picture.")) from error
    drawn.thumbnail((_MAX_SIDE, _MAX_SIDE))
    out = io.BytesIO()
    drawn.save(out, "PNG" if is_png else "JPEG")
    return "png" if is_png else "jpg", out.getvalue()


def _safe_svg(raw: bytes) -> bytes:
    """Return an SVG as it is; raises `PictureError` if anything in it is active or outside."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PictureError(_("The SVG must be in UTF-8.")) from error
    if _ACTIVE.search(raw):
        raise PictureError(
            _("The SVG contains scripts, links or parts from elsewhere. Export it as PNG instead.")
        )
    return raw
