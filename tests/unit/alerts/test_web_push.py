"""Test web push with a push service on loopback that decrypts and verifies messages."""

import hashlib
import hmac
import json
import re

import pytest
from msgspec import structs

from alerts.access import own_channels
from alerts.access.directory import Directory
from alerts.access.own_channels import (
    Gateways,
    OwnChannels,
    Subscription,
    decode_base64url,
    encode_base64url,
)
from alerts.access.sign_in_rules import SignInRules
from alerts.errors import NotifyReason, PermanentNotifyError, TransientNotifyError
from alerts.notify.channels.web_push import ServerKey, WebPush
from alerts.notify.notice import Priority
from storage import sqlite
from storage.errors import StorageError
from tests.support.fake_server import FakeServer
from tests.support.provider import RISING

NOW = 1_788_789_900.0
NOTICE = structs.replace(
    RISING, link="https://plumewatch.example/answer#c2VjcmV0", priority=Priority.URGENT
)
# the example of RFC 8291, section 5 and appendix A
RFC_PRIVATE = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
RFC_AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
RFC_BODY = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS"
    "6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qu"
    "lcy4a-fN"
)


def hkdf(salt, secret, info, length):
    """Compute one block of HKDF-SHA256, independently of the code under test."""
    key = hmac.digest(salt, secret, hashlib.sha256)
    return hmac.digest(key, info + b"\x01", hashlib.sha256)[:length]


def decrypt(private, public, auth, body):
    """Decrypt as a browser does."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, length = body[:16], body[20]
    theirs, sealed = body[21 : 21 + length], body[21 + length :]
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
    shared = private.exchange(ec.ECDH(), key)
    secret = hkdf(auth, shared, b"WebPush: info\0" + public + theirs, 32)
    aes = AESGCM(hkdf(salt, secret, b"Content-Encoding: aes128gcm\0", 16))
    plain = aes.decrypt(hkdf(salt, secret, b"Content-Encoding: nonce\0", 12), sealed, None)
    assert plain.rstrip(b"\0")[-1:] == b"\x02"
    return plain.rstrip(b"\0")[:-1]


class Browser:
    """A browser's keys, and its push service."""

    def __init__(self):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self.private = ec.generate_private_key(ec.SECP256R1())
        self.public = self.private.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        self.auth = b"0123456789abcdef"
        self.status = 201
        self.server = FakeServer(lambda *_: (self.status, {}, b""))
        self.origin, self.requests = self.server.url, self.server.requests

    def subscription(self):
        return Subscription(
            f"{self.origin}/push/1", encode_base64url(self.public), encode_base64url(self.auth)
        )


@pytest.fixture
def browser():
    browser = Browser()
    with browser.server:
        yield browser


@pytest.fixture
def key(tmp_path):
    return ServerKey.load(tmp_path / "web-push.pem")


@pytest.fixture
def notifier(key, tmp_path):
    browsers = OwnChannels(tmp_path / "no-state.db")
    subject = "mailto:it@school.example"
    made = WebPush(lambda: key, subject, browsers, allow_private=True, clock=lambda: NOW)
    made.gone = browsers.gone
    return made


def verified(token, public):
    """Verify a JWT signed with ES256 as a push service does; return its claims."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    head, claims, signature = token.split(".")
    raw = decode_base64url(signature)
    der = utils.encode_dss_signature(
        int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    )
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode_base64url(public))
    point.verify(der, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    assert json.loads(decode_base64url(head)) == {"typ": "JWT", "alg": "ES256"}
    return json.loads(decode_base64url(claims))


def test_the_browser_of_these_tests_decrypts_the_example_of_the_standard():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    number = int.from_bytes(decode_base64url(RFC_PRIVATE), "big")
    private = ec.derive_private_key(number, ec.SECP256R1())
    public = private.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    plain = decrypt(private, public, decode_base64url(RFC_AUTH), decode_base64url(RFC_BODY))
    assert plain == b"When I grow up, I want to be a watermelon"


async def test_a_notice_arrives_encrypted_and_signed(browser, notifier, key):
    await notifier.send(browser.subscription().to_target(), NOTICE)
    ((*_, headers, body),) = browser.requests
    assert b"Boys" not in body
    shown = json.loads(decrypt(browser.private, browser.public, browser.auth, body))
    assert shown == {
        "title": "Boys N2, floor 2, North: Vaping likely since 10:05 AM",
        "body": "Fine particles rose from 4 to 180 in 6 s",
        "link": "/answer#c2VjcmV0",
        "token": "c2VjcmV0",
        "take": "I'm responding",
        "taken": "You're responding.",
        "tag": "20260907-001",
        "loud": True,
    }
    found = re.fullmatch(r"vapid t=([\w.-]+), k=([\w-]+)", headers["Authorization"])
    assert found[2] == key.public
    assert verified(found[1], found[2]) == {
        "aud": browser.origin,
        "exp": int(NOW) + 12 * 3600,
        "sub": "mailto:it@school.example",
    }
    assert headers["Content-Encoding"] == "aes128gcm"
    assert (headers["Urgency"], headers["TTL"]) == ("high", "3600")


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (404, PermanentNotifyError, NotifyReason.TARGET_GONE),
        (410, PermanentNotifyError, NotifyReason.TARGET_GONE),
        (403, PermanentNotifyError, NotifyReason.REFUSED),
        (429, TransientNotifyError, NotifyReason.RATE_LIMITED),
        (503, TransientNotifyError, NotifyReason.SERVER_ERROR),
    ],
)
async def test_what_a_push_service_answers(browser, notifier, status, error, reason):
    browser.status = status
    with pytest.raises(error) as raised:
        await notifier.send(browser.subscription().to_target(), NOTICE)
    assert raised.value.reason is reason
    assert browser.origin not in str(raised.value)
    gone = [browser.subscription().endpoint] if reason is NotifyReason.TARGET_GONE else []
    assert list(notifier.gone) == gone


async def test_a_push_service_in_the_own_network_is_refused(browser, key, tmp_path):
    strict = WebPush(lambda: key, "https://x.example", OwnChannels(tmp_path / "no-state.db"))
    with pytest.raises(PermanentNotifyError) as raised:
        await strict.send(browser.subscription().to_target(), NOTICE)
    assert raised.value.reason is NotifyReason.FORBIDDEN_ADDRESS
    assert browser.requests == []


def test_the_key_of_the_server_is_kept_for_its_owner_alone(tmp_path, key):
    path = tmp_path / "web-push.pem"
    assert ServerKey.load(path).public == key.public
    assert path.stat().st_mode & 0o077 == 0


GOOD = {
    "endpoint": "https://push.example/1",
    "p256dh": encode_base64url(
        bytes.fromhex(
            "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
            "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
        )
    ),
    "auth": encode_base64url(b"y" * 16),
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"endpoint": ""}, "not an address"),
        ({"endpoint": "http://10.0.0.1/x"}, "must use https"),
        ({"endpoint": "https://user@push.example"}, "no user name"),
        ({"p256dh": "!"}, "key is not valid"),
        ({"p256dh": encode_base64url(b"short")}, "key is not valid"),
        ({"p256dh": encode_base64url(b"\x04" + b"x" * 64)}, "key is not valid"),
        ({"auth": encode_base64url(b"short")}, "length"),
    ],
)
async def test_subscriptions_that_are_refused(open_page, change, message):
    page = open_page(push_key="key")
    await page.sign_in()
    form = {"form_token": await page.form_token("/account"), **GOOD, **change}
    answer = await page.client.post("/push/subscribe", data=form)
    assert answer.status_code == 400
    assert message in answer.text
    assert "ap" not in own_channels.load_channels(page.db, Gateways())


async def test_a_person_switches_notices_on_and_off_in_a_browser(open_page, policy, database):
    page = open_page(push_key="key")
    await page.sign_in("an")
    form = {"form_token": await page.form_token("/account"), **GOOD, "label": "Android"}
    assert (await page.client.post("/push/subscribe", data=form)).status_code == 204
    shown = (await page.client.get("/people/an")).text
    assert "Android" in shown
    assert GOOD["auth"] not in shown
    found = OwnChannels(database).add_to(policy).find_member("an")
    (target,) = found.targets
    assert Subscription.from_target(target) == Subscription(**GOOD)
    assert "push.example" not in repr(target)
    for person, status in (("ap", 403), ("an", 303)):
        await page.sign_in(person)
        assert (await page.act("/people/an/channels/1/remove")).status_code == status
    assert OwnChannels(database).add_to(policy).find_member("an").targets == ()


@pytest.mark.parametrize("of", [OwnChannels, lambda path: Directory(path, SignInRules())])
def test_nobody_is_dropped_because_the_database_cannot_be_read(of, policy, tmp_path):
    damaged = tmp_path / "state.db"
    damaged.write_bytes(b"damaged" * 1000)
    with pytest.raises(StorageError):
        of(damaged).add_to(policy)


async def test_signing_out_everywhere_ends_the_notices_of_browsers_too(open_page, database):
    page = open_page(push_key="key")
    await page.sign_in("an")
    form = {"form_token": await page.form_token("/account"), **GOOD}
    await page.client.post("/push/subscribe", data=form)
    assert OwnChannels(database).has(GOOD["endpoint"])
    own = {"form_token": form["form_token"], "person": "an"}
    await page.client.post("/account/sign-out-everywhere", data=own)
    assert not OwnChannels(database).has(GOOD["endpoint"])


async def test_a_browser_that_was_switched_off_gets_nothing_more(browser, key, database):
    off = WebPush(lambda: key, "mailto:a@b.c", OwnChannels(database), allow_private=True)
    with pytest.raises(PermanentNotifyError):
        await off.send(browser.subscription().to_target(), NOTICE)
    assert browser.requests == []


def test_a_browser_belongs_to_whoever_switched_it_on_last(tx):
    with sqlite.transaction(tx):
        for person in ("ap", "fm"):
            own_channels.add_browser(tx, person, Subscription(**GOOD), "x", NOW)
        for keys in ({"auth": "x"}, {"p256dh": "x"}):  # an endpoint from a stolen backup
            other = Subscription(**{**GOOD, **keys})
            assert not own_channels.add_browser(tx, "an", other, "x", NOW)
        for k in range(12):
            one = Subscription(**{**GOOD, "endpoint": f"https://push.example/{k + 2}"})
            own_channels.add_browser(tx, "an", one, "x", NOW)
    assert sorted(own_channels.load_channels(tx, Gateways())) == ["an", "fm"]
    assert len(own_channels.load_channels(tx, Gateways())["an"]) == own_channels.MAX_PER_PERSON
    with sqlite.transaction(tx):
        own_channels.remove_browser(tx, GOOD["endpoint"])
    assert "fm" not in own_channels.load_channels(tx, Gateways())


async def test_without_the_library_there_is_no_web_push(open_page):
    page = open_page()
    await page.sign_in()
    assert 'id="push"' not in (await page.client.get("/account")).text
    form = {"form_token": await page.form_token("/account"), **GOOD}
    assert (await page.client.post("/push/subscribe", data=form)).status_code == 404
