"""Check the links of every page of the project as they work in the repository.

A link must lead to an existing file, and its anchor to a heading in that file. An outside address
must be well formed and use https; it is not requested. MkDocs checks only the site's own pages.
This also covers README.md, CHANGELOG.md, and links to files outside the site.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
_CODE: Final = re.compile(r"^( *)(```|~~~).*?^\1\2", re.DOTALL | re.MULTILINE)
_SPAN: Final = re.compile(r"`[^`\n]*`")
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_BARE: Final = re.compile(r"(?<![(\w])https?://[^\s)>\]\"'`]+")
_HEADING: Final = re.compile(r"^#+ +(.+?) *#*$", re.MULTILINE)
_HOST: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_LOOPBACK: Final = "127.0.0.1"


def list_pages() -> list[Path]:
    """Return every page that is written for people."""
    names = ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG", "ingest/decoders/README")
    folders = ("docs", "research")
    return [
        *(ROOT / f"{n}.md" for n in names),
        *(p for f in folders for p in sorted((ROOT / f).rglob("*.md"))),
    ]


def list_anchors(text: str) -> set[str]:
    """Return the anchors that Python-Markdown creates for a page's headings."""
    found: set[str] = set()
    for heading in _HEADING.findall(_CODE.sub("", text)):
        plain = re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading)
        ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())
        numbered = (f"{slug}_{n}" if n else slug for n in range(len(found) + 1))
        found.add(next(name for name in numbered if name not in found))
    return found


def _check_address(link: str) -> str:
    """Return what is wrong with an outside address, or an empty string."""
    try:
        parts = urlsplit(link)
    except ValueError as error:
        return str(error)
    if parts.hostname == _LOOPBACK:
        return ""
    if parts.scheme != "https":
        return "is not https"
    return "" if _HOST.fullmatch(parts.hostname or "") else "names no host"


def find_faults(page: Path) -> Iterator[str]:
    """Yield a sentence for each broken link of a page."""
    text = _SPAN.sub("", _CODE.sub("", page.read_text(encoding="utf-8")))
    for link in (*_LINK.findall(text), *_BARE.findall(text)):
        target, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            said = _check_address(link)
            if said:
                yield f"{link}: {said}"
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.is_relative_to(ROOT) or not file.exists():
            yield f"{link}: there is no such file"
        elif anchor and anchor not in list_anchors(file.read_text(encoding="utf-8")):
            yield f"{link}: {file.name} has no such heading"


def main() -> int:
    """Print all faults; return 1 if there are any."""
    found = [
        f"{page.relative_to(ROOT)}: {said}" for page in list_pages() for said in find_faults(page)
    ]
    sys.stderr.write("".join(f"{line}\n" for line in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
