"""Send notices to browsers, encrypted for each browser (RFC 8291) and signed (RFC 8292).

Apprise's plug-in keeps keys and subscriptions in its own files and sends only text, so this module
encrypts with `cryptography` and signs with `joserfc`.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import time
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from alerts.access.own_channels import SCHEME, Subscription, decode_base64url, encode_base64url
from alerts.errors import NotifyReason, PermanentNotifyError
from alerts.notify.notice import Priority, render, write_respond_label
from alerts.notify.outbox import parse_answer_link
from alerts.notify.post import post, raise_for_status
from language.messages import _, use_language
from storage.files import write_private

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from joserfc.jwk import ECKey

    from alerts.access.own_channels import OwnChannels
    from alerts.notify.notice import Notice
    from alerts.secrets import Secret

_TOKEN_S: Final = 12 * 3600
_TTL_S: Final = 3600
"""Time in seconds after which push services drop undelivered notices."""
_RECORD: Final = 4096
_UNCOMPRESSED: Final = b"\x04"
"""First byte of an elliptic-curve point that is written with both coordinates."""
_MAX_TEXT: Final = 900
_GONE: Final = (404, 410)
_URGENCY: Final = {Priority.QUIET: "low", Priority.NORMAL: "normal"}


class ServerKey:
    """The key pair that identifies this server to push services."""

    def __init__(self, key: ECKey) -> None:
        self._key = key
        point = b"".join(decode_base64url(str(key.as_dict(private=False)[name])) for name in "xy")
        self.public = encode_base64url(_UNCOMPRESSED + point)
        """The public key in the format that browsers expect."""

    @classmethod
    def load(cls, path: Path) -> ServerKey | None:
        """Load or generate the key; return None if the extra ``webpush`` is not installed."""
        try:
            from joserfc.jwk import ECKey  # noqa: PLC0415 - an extra
        except ImportError:
            return None
        if path.exists():
            return cls(ECKey.import_key(path.read_bytes()))
        key = ECKey.generate_key("P-256")
        write_private(path, key.as_pem(private=True))
        return cls(key)

    def authorize(self, endpoint: str, subject: str, now: float) -> str:
        """Return the authorization header for messages to an endpoint's origin."""
        from joserfc import jwt  # noqa: PLC0415 - an extra

        parts = urlsplit(endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(now) + _TOKEN_S,
            "sub": subject,
        }
        token = jwt.encode({"alg": "ES256"}, claims, self._key)
        return f"vapid t={token}, k={self.public}"


def encrypt(subscription: Subscription, plain: bytes) -> bytes:
    """Encrypt a message for a browser as one ``aes128gcm`` record (RFC 8188, RFC 8291)."""
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    def derive(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
        key: bytes = HKDF(hashes.SHA256(), length, salt, info).derive(secret)
        return key

    theirs = decode_base64url(subscription.p256dh)
    browser = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
    own = ec.generate_private_key(ec.SECP256R1())
    ours: bytes = own.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    salt = os.urandom(16)
    shared = own.exchange(ec.ECDH(), browser)
    key_info = b"WebPush: info\0" + theirs + ours
    secret = derive(shared, decode_base64url(subscription.auth), key_info, 32)
    key = derive(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = derive(secret, salt, b"Content-Encoding: nonce\0", 12)
    sealed: bytes = AESGCM(key).encrypt(nonce, plain + b"\x02", None)
    return salt + struct.pack("!IB", _RECORD, len(ours)) + ours + sealed


def write_message(notice: Notice) -> bytes:
    """Return the message for the service worker as JSON: texts, link and token."""
    title, body = render(notice, SCHEME)
    with use_language(notice.language):
        respond, responding = write_respond_label(notice.kind), _("You're responding.")
    token = parse_answer_link(notice.link)[1]
    body = "\n".join(line for line in body.split("\n") if line != notice.link)
    shown = {
        "title": title[:_MAX_TEXT],
        "body": body[:_MAX_TEXT],
        "link": urlsplit(notice.link)._replace(scheme="", netloc="").geturl() or "/",
        "token": token,
        "take": respond,
        "taken": responding,
        "tag": notice.incident,
        "loud": notice.reason.asks,
    }
    return json.dumps(shown, ensure_ascii=False).encode()


@dataclass(eq=False)
class WebPush:
    """Sends notices to browsers.

    `key` returns the server's key. `subject` is an https or mailto address of the server's
    operator.
    """

    key: Callable[[], ServerKey | None]
    subject: str
    browsers: OwnChannels
    _: KW_ONLY
    allow_private: bool = False
    clock: Callable[[], float] = time.time

    async def send(self, target: Secret, notice: Notice, _picture: bytes | None = None) -> None:
        """Send a notice with its link but without a picture.

        Raises `PermanentNotifyError` for a forbidden address, a browser that is gone (404, 410) or
        a refusal (other 4xx), and `TransientNotifyError` for any other failure.
        """
        subscription = Subscription.from_target(target)
        sealed, headers = await asyncio.to_thread(self._encrypt_notice, subscription, notice)
        answer = await post(
            subscription.endpoint, sealed, headers, allow_private=self.allow_private
        )
        if answer.status in _GONE:
            self.browsers.gone.append(subscription.endpoint)
            raise PermanentNotifyError(NotifyReason.TARGET_GONE, f"HTTP {answer.status}")
        raise_for_status(answer)

    def _encrypt_notice(
        self, subscription: Subscription, notice: Notice
    ) -> tuple[bytes, dict[str, str]]:
        key = self.key()
        if not self.browsers.has(subscription.endpoint):
            raise PermanentNotifyError(NotifyReason.TARGET_GONE, "switched off")
        if key is None:
            raise PermanentNotifyError(NotifyReason.LIBRARY, "plumewatch[webpush] is not installed")
        headers = {
            "TTL": str(_TTL_S),
            "Urgency": _URGENCY.get(notice.priority, "high"),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "Authorization": key.authorize(subscription.endpoint, self.subject, self.clock()),
        }
        return encrypt(subscription, write_message(notice)), headers
