"""Copy shipped files that pages link to, and reject resources from other servers.

A page links to a project file by its path (``../deploy/mosquitto.conf``), which works in the
repository. The site has a copy of such a file below ``files/``.

A page that would load anything from another machine fails the build, so the site works without an
internet connection and tracks nobody.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.hooks.site")

_LINK: Final = re.compile(r"(?<=\]\()(\.\./[^)#\s]+)")
_FOREIGN: Final = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\s\"'>]+"
    r"|<link\b(?=[^>]*rel=[\"']?(?:stylesheet|preconnect|preload|icon))[^>]*"
    r"href=[\"']?(?:https?:)?//[^\s\"'>]+"
    r"|@import[^;]*//|url\([\"']?(?:https?:)?//",
    re.IGNORECASE,
)


def _find_shipped(link: str, page: Path, docs: Path) -> str | None:
    """Return the project path of a linked file outside the pages; None for other links."""
    root, target = docs.parent, (page.parent / link).resolve()
    if target.is_file() and target.is_relative_to(root) and not target.is_relative_to(docs):
        return target.relative_to(root).as_posix()
    return None


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add every shipped file that a page links to."""
    docs = Path(config.docs_dir).resolve()
    wanted = {
        found
        for file in files.documentation_pages()
        if file.abs_src_path
        for link in _LINK.findall(file.content_string)
        if (found := _find_shipped(link, Path(file.abs_src_path), docs))
    }
    for path in sorted(wanted):
        files.append(File.generated(config, f"files/{path}", abs_src_path=str(docs.parent / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to shipped files at their copies."""
    del files
    docs, here = Path(config.docs_dir).resolve(), Path(page.file.abs_src_path or "")
    up = "../" * page.file.src_uri.count("/")

    def replace_link(match: re.Match[str]) -> str:
        found = _find_shipped(match[1], here, docs)
        return match[1] if found is None else f"{up}files/{found}"

    return _LINK.sub(replace_link, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Fail the build if the page loads anything from another machine."""
    del config
    for match in _FOREIGN.finditer(output):
        log.warning("%s loads from another machine: %s", page.file.src_uri, match[0][:120])
    return output
