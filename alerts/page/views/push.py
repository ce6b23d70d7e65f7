"""The page as an installable app: manifest, service worker and web push.

The service worker caches only the app shell, never data. It shows notices, with a button to
respond.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response

from alerts.access import own_channels
from alerts.access.own_channels import Subscription
from alerts.incidents.free_text import clean_text
from alerts.page.guard import get_text
from alerts.page.page_group import Access, PageGroup, serves
from alerts.page.rendering import write_unreachable
from language.messages import LANGUAGES, _, use_language
from storage.audit import AuditKind
from storage.http_client import find_url_fault

if TYPE_CHECKING:
    import sqlite3

    from starlette.requests import Request

_STATIC: Final = Path(__file__).parents[1] / "static"


class PushPages(PageGroup):
    """Manifest, service worker, and web push subscriptions."""

    @serves("/manifest.webmanifest", Access.PUBLIC)
    async def _manifest(self, _request: Request) -> Response:
        icons = [
            {"src": f"/static/icon-{size}.png", "sizes": f"{size}x{size}", "type": "image/png"}
            for size in (192, 512)
        ]
        manifest = {
            "name": self._context.settings.school.name,
            "short_name": "Plumewatch",
            "id": "/",
            "start_url": "/",
            "scope": "/",
            "display": "standalone",
            "background_color": "#f4f6f7",
            "theme_color": "#0f5c6e",
            "icons": [*icons, {**icons[1], "purpose": "maskable"}],
        }
        return JSONResponse(manifest, media_type="application/manifest+json")

    @serves("/service-worker.js", Access.PUBLIC)
    async def _service_worker(self, _request: Request) -> Response:
        # served at the root, because a service worker's path limits its scope
        return FileResponse(_STATIC / "service-worker.js", media_type="text/javascript")

    @serves("/offline", Access.PUBLIC)
    async def _offline(self, request: Request) -> Response:
        texts, phone = [], self._context.settings.help_phone
        for code in LANGUAGES:
            with use_language(code):
                sentence = write_unreachable(_("Can't reach Plumewatch."), phone)
                texts.append((code, sentence, _("Try again")))
        return await self._context.render(request, "offline.html", texts=texts)

    @serves("/push/subscribe", Access.STAFF, methods=("POST",))
    async def _subscribe(self, request: Request) -> Response:
        form, session = request.state.form, request.state.session
        settings, now = self._context.settings, self._context.settings.clock()
        if not settings.notices.push_key:
            raise HTTPException(404, _("This server cannot send to browsers."))
        found = Subscription(*(get_text(form, key) for key in Subscription._fields))
        fault = found.find_fault() or find_url_fault(found.endpoint, allow_private=False)
        if fault:
            raise HTTPException(400, _("This browser cannot get notices: %(fault)s.", fault=fault))
        self._context.count_change(request)
        label = clean_text(get_text(form, "label"))[:80] or "Browser"

        def add(tx: sqlite3.Connection) -> bool:
            is_added = own_channels.add_browser(tx, session.person, found, label, now)
            if is_added:
                self._context.record(tx, request, AuditKind.PUSH, "browser added", name=label)
            return is_added

        if not await self._context.write_people(add):
            raise HTTPException(409, _("This address belongs to another browser."))
        return Response(status_code=204)
