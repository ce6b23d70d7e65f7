"""HTTP ingest: ``POST /ingest/<decoder>[/<sensor>]``, for sensors that can't use MQTT.

The answer is the acknowledgment: status 200 means that the message, or an earlier copy of it, is
durable. Messages go through the same `Intake` and `GroupCommit` as those from MQTT. docs/http.md
explains each status, and which rejected messages become dead letters.

First the address, token, content type and length of a request are checked. Then its body is read,
with limits on size and time. Signature and rate are checked next, and the intake comes last.
Nothing from an unauthenticated request is stored, not even a dead letter.

Privacy: a vendor's webhook may contain data that we must not keep (`_FOREIGN`). If such a message
has no measurements, its dead letter records only the size, not the content.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, cast

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ingest.errors import Reason, to_one_line
from ingest.http.sources import (
    SIGNATURE_WINDOW_S,
    Guesses,
    HttpSource,
    Signature,
    find_by_signature,
    find_by_token,
    make_limit,
)
from ingest.intake import OutcomeKind
from ingest.validation import Message
from storage.rate_limit import Bound, RateLimit
from storage.reading import assume_no_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.commit import GroupCommit
    from ingest.intake import Intake, Outcome
    from storage.journal import DeadLetter
    from storage.reading import StepOf

    OnUnstored = Callable[[Message, str, Callable[[str, str | None], bool]], None]

log = logging.getLogger(__name__)

_TYPES: Final = frozenset(
    {
        "",
        "application/json",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/json",
        "text/plain",
    }
)
_STATUS: Final = {Reason.TOO_LARGE: 413, Reason.NOT_ALLOWED: 403, Reason.MALFORMED: 400}
_FOREIGN: Final = frozenset({"halo", "verkada"})
_LONGEST_HEADER: Final = 1_024
_QUIET_S: Final = 60.0
"""A warning about a source or address is logged at most once in this time."""


@dataclass(frozen=True, slots=True)
class HttpIngestSettings:
    """Limits of HTTP ingest.

    `commit_s`: how long to wait for the disk before answering with status 503.
    """

    body_s: float = 10.0
    commit_s: float = 10.0
    wrong_token_s: float = 1.0
    retry_after_s: int = 5
    max_waiting: int = 500


def _make_refusal(status: int, detail: str, *, retry_after_s: float = 0.0) -> HTTPException:
    headers = {}
    if status == 401:
        headers["www-authenticate"] = 'Basic realm="plumewatch", charset="UTF-8"'
    if status == 408:
        headers["connection"] = "close"
    if retry_after_s:
        headers["retry-after"] = str(math.ceil(retry_after_s))
    return HTTPException(status, detail, headers)


def _respond(error: HTTPException) -> Response:
    content = {"outcome": "refused", "detail": error.detail}
    return JSONResponse(content, error.status_code, headers=error.headers)


class HttpIngest:
    """HTTP ingest as an ASGI application (`app`); shares `intake` and `commits` with MQTT."""

    def __init__(
        self,
        sources: Sequence[HttpSource],
        intake: Intake,
        commits: GroupCommit,
        settings: HttpIngestSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        step_of: StepOf = assume_no_step,
        monotonic: Callable[[], float] = time.monotonic,
        on_unstored: OnUnstored | None = None,
    ) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self._settings = settings or HttpIngestSettings()
        self._intake = intake
        self._commits = commits
        self._clock, self._step_of = clock, step_of
        self._monotonic = monotonic
        self._on_unstored = on_unstored
        self._sources: dict[str, list[HttpSource]] = {}
        for source in sources:
            self._sources.setdefault(source.decoder, []).append(source)
        self._limits = {source.name: make_limit(source) for source in sources}
        self._logged = RateLimit(Bound(1, _QUIET_S))
        self._guesses = Guesses()
        self._signatures = RateLimit(Bound(1, 2 * SIGNATURE_WINDOW_S))
        self.app = Starlette(
            routes=[
                Route(path, self._post, methods=["POST"])
                for path in (
                    "/ingest/{decoder}",
                    "/ingest/{decoder}/",
                    "/ingest/{decoder}/{sensor}",
                )
            ],
            exception_handlers={HTTPException: _handle_error},
        )
        self.app.router.redirect_slashes = False  # devices do not follow redirects

    async def _post(self, request: Request) -> Response:
        known: list[HttpSource] = []
        try:
            response = await self._ingest(request, known)
        except HTTPException as refused:
            response = _respond(refused)
        except ClientDisconnect:
            response = _respond(
                _make_refusal(400, "the client disconnected before its request was read")
            )
        self.answers[known[0].name if known else "", response.status_code] += 1
        return response

    async def _ingest(self, request: Request, known: list[HttpSource]) -> Response:
        """Ingest one message; add the source to `known` once it is identified."""
        decoder, sensor = request.path_params["decoder"], request.path_params.get("sensor", "")
        sources = self._sources.get(decoder)
        if sources is None:
            name = to_one_line(decoder, 64)
            raise _make_refusal(404, f"no source is configured for decoder {name!r}")
        signature = Signature.parse(_read_header(request, "verkada-signature"), self._clock())
        candidates = await self._find_sources(request, sources, signature)
        _check_type(request)
        self._check_capacity()
        body = await self._read_body(request)
        source = candidates[0]
        if source.signature is not None:
            signer = None if signature is None else find_by_signature(candidates, signature, body)
            if signer is None:
                await self._refuse_token(request)
            source = signer
        known.append(source)
        self._guesses.record_success(_find_address(request), self._monotonic())
        self._check_rate(source)
        if self._commits.failing:
            self._evaluate_unstored(source, sensor, body)
            raise self._ask_to_retry("the disk cannot store readings now")
        outcome, settled = self._enter(source, sensor, body, signature)
        await asyncio.wait((settled,), timeout=self._settings.commit_s)
        if not settled.done() or settled.cancelled():
            raise self._ask_to_retry("not stored yet")
        return _report_outcome(outcome)

    async def _find_sources(
        self, request: Request, sources: Sequence[HttpSource], signature: Signature | None
    ) -> Sequence[HttpSource]:
        """Return the source with this token, or all sources that may have signed the body."""
        address, now = _find_address(request), self._monotonic()
        wait_s = self._guesses.get_wait_s(address, now)
        if wait_s:
            detail = "too many wrong tokens from this address"
            raise _make_refusal(429, detail, retry_after_s=wait_s)
        authorization = _read_header(request, "authorization")
        if authorization:
            source = find_by_token(sources, authorization)
            if source is None:
                await self._refuse_token(request)
            return [source]
        signing = [s for s in sources if s.token is None]
        if signature is None or not signing:
            raise _make_refusal(401, "a token is needed, or a recent signature")
        return signing

    async def _refuse_token(self, request: Request) -> NoReturn:
        address = _find_address(request)
        self._guesses.count_wrong(address, now := self._monotonic())
        if not self._logged.take(f"address {address}", now):
            log.warning("HTTP: wrong token or signature from %s", to_one_line(address, 64))
        await asyncio.sleep(self._settings.wrong_token_s)
        raise _make_refusal(401, "wrong token or signature")

    def _check_capacity(self) -> None:
        if self._commits.failing:
            if self._on_unstored is None:
                raise self._ask_to_retry("the disk cannot store readings now")
            return
        if self._commits.waiting >= self._settings.max_waiting:
            raise self._ask_to_retry("readings arrive faster than they can be stored")

    def _ask_to_retry(self, detail: str) -> HTTPException:
        return _make_refusal(503, detail, retry_after_s=self._settings.retry_after_s)

    def _check_rate(self, source: HttpSource) -> None:
        now = self._monotonic()
        wait_s = self._limits[source.name].take("", now)
        if not wait_s:
            return
        if not self._logged.take(f"source {source.name}", now):
            log.warning("HTTP source %s sends more than %g/s", source.name, source.rate_per_s)
        detail = f"more than {source.rate_per_s:g} messages a second"
        raise _make_refusal(429, detail, retry_after_s=wait_s)

    async def _read_body(self, request: Request) -> bytes:
        most = self._intake.config.context.limits.payload_bytes
        too_large = _make_refusal(413, f"at most {most} bytes are accepted")
        length = _read_header(request, "content-length")
        if length.isdecimal() and int(length) > most:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.body_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > most:
                        raise too_large
        except TimeoutError as error:
            raise _make_refusal(408, "the body did not arrive in time") from error
        return bytes(body)

    def _evaluate_unstored(self, source: HttpSource, sensor: str, body: bytes) -> None:
        if self._on_unstored is not None:
            self._on_unstored(
                Message(source.build_topic(sensor), body, self._clock()),
                source.decoder,
                lambda named, known: source.permits(named, known, addressed=sensor),
            )

    def enter_polled(self, source: HttpSource, sensor: str, body: bytes) -> None:
        """Ingest the answer of a polled sensor (`ingest.http.poll`)."""
        accepted = not self._commits.failing and self._commits.waiting < self._settings.max_waiting
        self.answers[source.name, 200 if accepted else 503] += 1
        if accepted:
            self._enter(source, sensor, body, None)
        elif self._commits.failing:
            self._evaluate_unstored(source, sensor, body)

    def _enter(
        self, source: HttpSource, sensor: str, body: bytes, signature: Signature | None
    ) -> tuple[Outcome, asyncio.Future[None]]:
        """Decide the outcome of a message and queue it; there must be no await in between."""
        now, again = self._clock(), False
        if source.signature is not None and signature is not None:
            again = bool(self._signatures.take(signature.digest, now))
        topic, step = source.build_topic(sensor), self._step_of(now)
        message = Message(topic, body, now, duplicate=again, clock_step=step)
        outcome = self._intake.on_message(
            message,
            source.decoder,
            lambda named, known: source.permits(named, known, addressed=sensor),
        )
        letters = [] if outcome.dead_letter is None else [_label_letter(outcome, source, sensor)]
        return outcome, self._commits.enqueue(outcome.readings, letters)


def _label_letter(outcome: Outcome, source: HttpSource, sensor: str) -> DeadLetter:
    letter = cast("DeadLetter", outcome.dead_letter)
    place = f"POST /ingest/{source.decoder}" + (f"/{sensor}" if sensor else "")
    if source.token is None and source.signature is None:
        place = f"answer of {sensor} for {source.decoder}"
    foreign = source.decoder in _FOREIGN and letter.reason == Reason.NO_MEASUREMENT
    return msgspec.structs.replace(
        letter,
        topic=to_one_line(f"{place} by {source.name}", 256),
        payload=b"" if foreign else letter.payload,
    )


def _report_outcome(outcome: Outcome) -> Response:
    letter = outcome.dead_letter
    if letter is None:
        content = {"outcome": outcome.kind.value, "readings": len(outcome.readings)}
        return JSONResponse(content)
    content = {
        "outcome": OutcomeKind.REJECTED.value,
        "reason": letter.reason,
        "detail": letter.detail,
    }
    if letter.reason == Reason.BAD_ID:
        content["hint"] = f"name the sensor in the path: /ingest/{outcome.decoder}/<sensor>"
    return JSONResponse(content, _STATUS.get(Reason(letter.reason), 422))


def _check_type(request: Request) -> None:
    kind = _read_header(request, "content-type").partition(";")[0].strip().lower()
    if kind not in _TYPES and not (kind.startswith("application/") and kind.endswith("+json")):
        raise _make_refusal(415, "this content type is not supported")
    if _read_header(request, "content-encoding").strip().lower() not in ("", "identity"):
        raise _make_refusal(415, "send the body uncompressed")


def _read_header(request: Request, name: str) -> str:
    """Return the value of a header; empty if it is absent or too long."""
    value = request.headers.get(name, "")
    return value if len(value) <= _LONGEST_HEADER else ""


def _find_address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


async def _handle_error(_request: Request, error: Exception) -> Response:
    http = cast("HTTPException", error)
    detail = "only POST /ingest/<decoder>[/<sensor>] is accepted"
    return _respond(HTTPException(http.status_code, detail, http.headers))
