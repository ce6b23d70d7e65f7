"""Sign-in with an OpenID Connect provider, such as Google Workspace or Microsoft Entra ID.

The flow is the authorization code flow with PKCE, state and nonce. Authlib writes the requests and
checks issuer, audience, times and nonce. Signatures are checked with the provider's published keys,
and only asymmetric algorithms are accepted. The discovery document and the keys are cached for an
hour. If a signature cannot be verified, the keys are fetched again, at most every 30 seconds.

Of the provider's data, only the account's id (`sub`), and the person's address, name and groups
that have a role are stored. Error messages contain no token or secret.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from alerts.errors import NotAuthenticatedError, ProviderError
from alerts.incidents.free_text import clean_text
from language.messages import mark
from storage.http_client import RequestError, find_reach, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from alerts.secrets import Secret

_T = TypeVar("_T")
DISCOVERY: Final = "/.well-known/openid-configuration"
_ALGORITHMS: Final = tuple(
    f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)
)
_ADDRESS: Final = re.compile(r"[^\s@/<>,;]{1,64}@[^\s@/<>,;]{1,180}")
"""Strict, because the address becomes a directory person's id and appears in paths."""
_SUBJECT: Final = re.compile(r"[ -~]{1,255}")
_TIMES: Final = ("exp", "nbf", "iat")
_LEEWAY_S: Final = 60
_LATEST: Final = 1e11
"""Upper limit for a token's expiry, in Unix seconds."""
DEADLINE_S: Final = 10.0
_AT_ONCE: Final = 4
"""Maximum concurrent calls to the provider; further calls wait."""
_FRESH_S: Final = 3600.0
_NEW_KEYS_S: Final = 30.0
_MAX_PAGES: Final = 20
_MAX_BYTES: Final = 500_000
_LONGEST_NAME: Final = 80
_LONGEST_TOKEN: Final = 100_000
"""Maximum characters of a token. 200 groups of Entra ID take 8,000 of them."""
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_URL: Final = re.compile(r"https?://[\w.-]+(?::\d{1,5})?(?:[/?][!-~]*)?", re.ASCII)
_OFFERED_METHODS: Final = "token_endpoint_auth_methods_supported"
_OFFERED_ALGORITHMS: Final = "id_token_signing_alg_values_supported"


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """Settings of the provider, and of our registration with it."""

    issuer: str
    client_id: str
    client_secret: Secret
    callback: str
    name: str = ""
    scope: str = "openid email profile"
    email_claim: str = "email"
    hosted_domain: str = ""
    """Required `hd` claim (a Google Workspace's domain); empty means no check."""
    groups_claim: str = ""
    """Claim that contains a person's groups; empty if groups are not used."""
    groups_url: str = ""
    """URL of Google's groups API (its tokens contain no groups); empty to use the claim."""
    allow_private: bool = False

    @property
    def label(self) -> str:
        """Return the provider's name, or its host by default."""
        return self.name or str(urlsplit(self.issuer).hostname)


class Identity(NamedTuple):
    """The authenticated user, and when the session expires."""

    email: str
    groups: tuple[str, ...]
    expires_at: float
    subject: str
    name: str = ""


class IdentityProvider:
    """A provider; its methods can run concurrently."""

    def __init__(self, settings: ProviderSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._clock = clock
        self._document: dict[str, Any] = {}
        self._keys: dict[str, Any] = {}
        self._document_at = self._keys_at = -math.inf
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def build_sign_in_address(
        self, state: str, nonce: str, verifier: str, *, silent: bool
    ) -> str:
        """Return the address for sign-in; with `silent`, the provider doesn't ask for anything."""
        document = await self._call(self.fetch_document)
        own = self.settings
        address: str = prepare_grant_uri(
            document["authorization_endpoint"],
            client_id=own.client_id,
            response_type="code",
            redirect_uri=own.callback,
            scope=own.scope,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
            hd=own.hosted_domain or None,
            prompt="none" if silent else None,
        )
        return address

    async def fetch_identity(self, code: str, nonce: str, verifier: str) -> Identity:
        """Return the authenticated user; raise `NotAuthenticatedError` if there is none."""
        return await self._call(lambda: self._exchange_code(code, nonce, verifier))

    async def fetch_document(self) -> dict[str, Any]:
        """Return the provider's discovery document, at most an hour old."""
        now = self._clock()
        if now - self._document_at >= _FRESH_S:
            url = self.settings.issuer.rstrip("/") + DISCOVERY
            found = await self._fetch_json("GET", url)
            if found.get("issuer") != self.settings.issuer:
                raise ProviderError(
                    "The sign-in provider's issuer doesn't match the configuration."
                )
            addresses = (found.get(key) for key in _ENDPOINTS)
            lists = (found.get(key, []) for key in (_OFFERED_METHODS, _OFFERED_ALGORITHMS))
            if not (
                all(isinstance(one, str) and _URL.fullmatch(one) for one in addresses)
                and all(isinstance(one, list) for one in lists)
            ):
                raise ProviderError("The sign-in provider's document is incomplete.")
            self._document, self._document_at = found, now
        return self._document

    async def fetch_keys(self, *, anew: bool = False) -> KeySet:
        """Return the provider's keys; with `anew`, fetch them again, but not within 30 s."""
        now = self._clock()
        if now - self._keys_at >= (_NEW_KEYS_S if anew else _FRESH_S):
            self._keys = await self._fetch_json("GET", (await self.fetch_document())["jwks_uri"])
            self._keys_at = now
        try:
            return KeySet.import_key_set(self._keys)  # type: ignore[arg-type]
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise ProviderError("The sign-in provider's keys are not valid.") from error

    async def _call(self, work: Callable[[], Awaitable[_T]]) -> _T:
        try:
            async with asyncio.timeout(DEADLINE_S), self._free:
                return await work()
        except TimeoutError:
            raise ProviderError(_UNREACHABLE) from None

    async def _exchange_code(self, code: str, nonce: str, verifier: str) -> Identity:
        own, document = self.settings, await self.fetch_document()
        offered = document.get(_OFFERED_METHODS, ())
        method = "client_secret_post" if "client_secret_post" in offered else "client_secret_basic"
        body = prepare_token_request(
            "authorization_code", redirect_uri=own.callback, code=code, code_verifier=verifier
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        auth = ClientAuth(own.client_id, own.client_secret.reveal(), method)
        url, headers, body = auth.prepare("POST", document["token_endpoint"], headers, body)
        answer = await self._fetch_json("POST", url, body.encode(), headers)
        claims = await self._check_token(answer.get("id_token"), nonce)
        found = self._read_person(claims)
        if own.groups_url:
            token = str(answer.get("access_token"))
            groups = tuple([group async for group in self._fetch_google_groups(found.email, token)])
            found = found._replace(groups=groups)
        return found

    async def _fetch_google_groups(self, email: str, token: str) -> AsyncIterator[str]:
        """Yield the addresses of a person's groups, using the person's own access token."""
        quoted = email.replace("\\", "\\\\").replace("'", "\\'")
        query = {"query": f"member_key_id == '{quoted}'", "pageSize": "200"}
        headers = {"Authorization": f"Bearer {token}"}
        try:
            for _page in range(_MAX_PAGES):
                url = f"{self.settings.groups_url}?{urlencode(query)}"
                found = await self._fetch_json("GET", url, headers=headers)
                for entry in found.get("memberships", ()):
                    yield str(entry["groupKey"]["id"])
                query["pageToken"] = str(found.get("nextPageToken", ""))
                if not query["pageToken"]:
                    return
        except (ProviderError, KeyError, TypeError) as error:
            raise ProviderError(
                "Google didn't return this account's groups. An administrator must"
                " enable the Cloud Identity API in the project of the client_id."
            ) from error

    def _read_person(self, claims: Mapping[str, Any]) -> Identity:
        own = self.settings
        if own.hosted_domain and claims.get("hd") != own.hosted_domain:
            raise NotAuthenticatedError(
                "This account doesn't belong to %(domain)s (claim hd).",
                domain=own.hosted_domain,
            )
        email = claims.get(own.email_claim)
        if not isinstance(email, str) or not _ADDRESS.fullmatch(email) or not email.isprintable():
            raise NotAuthenticatedError(
                "The sign-in provider sent no e-mail address (claim %(claim)s).",
                claim=own.email_claim,
            )
        if own.email_claim == "email" and claims.get("email_verified") is not True:
            raise NotAuthenticatedError(
                "The sign-in provider did not verify the address %(email)s (claim email_verified).",
                email=email[:100],
            )
        subject = claims["sub"]
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise NotAuthenticatedError(_NOT_VALID)
        elsewhere = claims.get("_claim_names")
        if own.groups_claim and isinstance(elsewhere, dict) and own.groups_claim in elsewhere:
            raise NotAuthenticatedError(
                "This account is in too many groups for the sign-in provider to send them"
                " (claim %(claim)s). Its administrator can send app roles instead.",
                claim=own.groups_claim,
            )
        groups = claims.get(own.groups_claim) if own.groups_claim else None
        name = claims.get("name")
        listed = groups if isinstance(groups, list) else [groups]
        return Identity(
            email=email,
            groups=tuple(g for g in listed if isinstance(g, str) and g.isprintable()),
            expires_at=float(min(_LATEST, claims["exp"])),
            subject=subject,
            name=clean_text(name)[:_LONGEST_NAME] if isinstance(name, str) else "",
        )

    async def _check_token(self, token: object, nonce: str) -> CodeIDToken:
        """Verify an ID token and return its claims."""
        if not isinstance(token, str) or len(token) > _LONGEST_TOKEN:
            raise NotAuthenticatedError(_NOT_VALID)
        own = self.settings
        document = await self.fetch_document()
        offered = document.get(_OFFERED_ALGORITHMS, ["RS256"])
        algorithms = [name for name in _ALGORITHMS if name in offered]
        registry = JWSRegistry(algorithms=algorithms, strict_check_header=False)
        try:
            try:
                signed = jwt.decode(token, await self.fetch_keys(), registry=registry)
            except (InvalidKeyIdError, BadSignatureError):
                signed = jwt.decode(token, await self.fetch_keys(anew=True), registry=registry)
            claims = CodeIDToken(
                signed.claims,
                signed.header,
                {
                    "iss": {"essential": True, "value": own.issuer},
                    "aud": {"essential": True, "value": own.client_id},
                },
                {"client_id": own.client_id, "nonce": nonce},
            )
            claims.validate(int(self._clock()), _LEEWAY_S)
        except ClaimError as error:
            if error.claim in _TIMES:
                raise NotAuthenticatedError(
                    "The sign-in has expired, or this server's clock differs from the sign-in"
                    " provider's."
                ) from error
            raise NotAuthenticatedError(
                "The sign-in provider's response belongs to another sign-in (claim %(claim)s).",
                claim=error.claim,
            ) from error
        except (JoseError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise NotAuthenticatedError(_NOT_VALID) from error
        return claims

    async def _fetch_json(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            answer = await request(
                method,
                url,
                find_reach(url, allow_private=self.settings.allow_private),
                body=body,
                headers={"Accept": "application/json", **(headers or {})},
                max_bytes=_MAX_BYTES,
            )
        except RequestError as error:
            raise ProviderError(_UNREACHABLE) from error
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        if body is not None and 400 <= answer.status < 500 and isinstance(found, dict):
            reason = str(found.get("error", ""))[:40]
            if reason == "invalid_client":
                raise ProviderError(
                    "The sign-in provider does not accept our client_id and client secret."
                )
            raise NotAuthenticatedError("This sign-in has expired. Sign in again.")
        if answer.status != HTTPStatus.OK or not isinstance(found, dict):
            what = "JSON" if isinstance(found, dict) else "no JSON"
            why = f"answers HTTP {answer.status} with {what}"
            raise ProviderError(_UNREACHABLE) from RequestError(why)
        return found


_UNREACHABLE: Final = mark("The sign-in provider cannot be reached.")
_NOT_VALID: Final = mark("The sign-in provider's answer is not valid.")
