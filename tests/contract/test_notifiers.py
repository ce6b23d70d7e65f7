"""Test every notifier with real servers on loopback: success, and all kinds of errors."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from email.utils import formatdate

import pytest
import requests
from msgspec import structs

from alerts.errors import NotifyReason, PermanentNotifyError, TransientNotifyError
from alerts.notify.channels.apprise_notifier import (
    AppriseNotifier,
    NotifySettings,
    check_target,
)
from alerts.notify.notice import KIND_WORDS, Priority
from alerts.secrets import Secret, find_scheme
from tests.support.provider import RISING, Provider, answer

VAPE = KIND_WORDS["vape"]

LOCAL = NotifySettings(allow_private=True)
SECRET = "hunter2topic"
NOTICE = structs.replace(RISING, priority=Priority.URGENT)
MARKUP = "[Go](http://e) <b>x</b> <!channel> @all *x*"
READ_AS_MARKUP = {
    **dict.fromkeys(("jsons", "gotifys", "pover", "twilio"), ()),
    **dict.fromkeys(("slack", "tgram"), ("<b>x", "<!")),
}


@pytest.fixture(params=["json", "ntfy"])
def target(request, provider):
    return Secret(f"{request.param}://127.0.0.1:{provider.port}/{SECRET}")


async def send(target, notice=NOTICE, settings=LOCAL, timeout_s=60.0):
    await AppriseNotifier(settings).send(target, notice, timeout_s=timeout_s)


def message(provider):
    _, headers, body = provider.requests[-1]
    return headers, json.loads(body)


async def test_ok(provider, target):
    await send(target)
    _, content = message(provider)
    assert content["title"] == f"Boys N2, floor 2, North: {VAPE} since 10:05 AM"
    assert content["message"].splitlines() == [NOTICE.evidence.describe("vape"), NOTICE.link]


async def test_each_send_is_fresh_and_never_throttled(provider, target, monkeypatch):
    """A reused Apprise object would wait 5.5 s."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    notifier = AppriseNotifier(LOCAL)
    for _ in range(4):
        await notifier.send(target, NOTICE, timeout_s=60.0)
    assert (len(provider.requests), slept) == (4, [])


@pytest.mark.parametrize(
    ("statuses", "error", "reason"),
    [
        ([429], TransientNotifyError, NotifyReason.RATE_LIMITED),
        ([408, 500, 503], TransientNotifyError, NotifyReason.SERVER_ERROR),
        ([400, 401, 403, 404, 413], PermanentNotifyError, NotifyReason.REFUSED),
    ],
)
async def test_refused(provider, target, statuses, error, reason):
    for status in statuses:
        provider.answers = [answer(status)]
        with pytest.raises(error) as caught:
            await send(target)
        assert caught.value.reason is reason


async def test_retry_after_in_the_body_is_read(provider):
    target = Secret(f"json://127.0.0.1:{provider.port}/{SECRET}")
    provider.answers = [answer(429, b'{"ok":false,"parameters":{"retry_after":17}}')]
    with pytest.raises(TransientNotifyError) as caught:
        await send(target)
    assert caught.value.retry_after_s == 17.0


async def test_nobody_listens(provider, target):
    provider.close()
    with pytest.raises(TransientNotifyError) as caught:
        await send(target)
    assert caught.value.reason is NotifyReason.CONNECTION


async def test_a_hung_provider_is_cut_off_and_delays_no_other(provider):
    other, target = Provider(), Secret(f"json://127.0.0.1:{provider.port}/{SECRET}")
    try:
        go_on = threading.Event()
        provider.answers = [answer(200, go_on=go_on)] * 4
        notifier = AppriseNotifier(LOCAL)
        hung = [asyncio.create_task(notifier.send(target, NOTICE, timeout_s=3.0)) for _ in range(4)]
        await asyncio.sleep(0)
        assert len(notifier.find_busy_channels()) == 1
        with pytest.raises(TransientNotifyError) as busy:
            await notifier.send(target, NOTICE, timeout_s=3.0)
        assert busy.value.reason is NotifyReason.BUSY
        await notifier.send(Secret(f"json://127.0.0.1:{other.port}/x"), NOTICE, timeout_s=60.0)
        errors = await asyncio.gather(*hung, return_exceptions=True)
        assert [e.reason for e in errors] == [NotifyReason.TIMEOUT] * 4
    finally:
        go_on.set()
        other.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("syslog://localhost", NotifyReason.FORBIDDEN_SCHEME),
        ("file:///etc/passwd", NotifyReason.FORBIDDEN_SCHEME),
        ("https://example.org/hook", NotifyReason.FORBIDDEN_SCHEME),
        ("dbus://", NotifyReason.FORBIDDEN_SCHEME),
        (SECRET, NotifyReason.FORBIDDEN_SCHEME),
        ("pover://", NotifyReason.BAD_TARGET),
        ("jsons://", NotifyReason.BAD_TARGET),
        ("ntfys://ntfy.example/one/two", NotifyReason.BAD_TARGET),
        ("jsons://example.org/?redirect=yes", NotifyReason.BAD_TARGET),
        ("jsons://example.org/?verify=no", NotifyReason.BAD_TARGET),
        ("jsons://example.org/?a=1;ve%52ify+=no", NotifyReason.BAD_TARGET),
        ("discord://4174216298/JHMHI8qBe7?template=/etc/secret.json", NotifyReason.BAD_TARGET),
        ("mailtos://a:b@example.org?pgpprv=/etc/secret", NotifyReason.BAD_TARGET),
        ("mailtos://u:p@evil.example#@example.org?to=a@b.example", NotifyReason.BAD_TARGET),
        ("mailtos://u@evil.example:25@example.org?to=a@b.example", NotifyReason.BAD_TARGET),
        ("gotifys://u@evil.example:1@example.org/AzDeL3x9o0Kp2Qr", NotifyReason.BAD_TARGET),
        ("jsons://evil.example\\@example.org/", NotifyReason.BAD_TARGET),
        ("jsons://evil.example @example.org/", NotifyReason.BAD_TARGET),
        ("mailtos://u:p@example.org?to=a@b.example&mode=insecure", NotifyReason.FORBIDDEN_ADDRESS),
        ("json://example.org/", NotifyReason.FORBIDDEN_ADDRESS),
        ("ntfy://ntfy.example/topic", NotifyReason.FORBIDDEN_ADDRESS),
    ],
)
def test_targets_that_show_their_fault_at_once(url, reason):
    faults = check_target(Secret(url))
    assert reason in [f.reason for f in faults]
    assert all(SECRET not in str(f) for f in faults)


@pytest.mark.parametrize(
    "url",
    [
        "jsons://hooks.example/plumewatch",
        "jsons://us%C3%A9r:p@hooks.example:8443/%E5%AD%B8?+X-School=Ca%C3%B1on%20north&+Empty=",
        "jsons://[2001:db8::1]/plumewatch?method=PUT",
        "gotifys://gotify.example/AzDeL3x9o0Kp2Qr",
        "gchat://workspace/key/token",
        "wxteams://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "mmosts://mattermost.example/3ccdd113474722377935511fc85d3dd4",
        "mailtos://u:p@h.example?from=p@h.example&to=a@h.example&+X-School=Ca%C3%B1on%20%E5%AD%B8",
        "ntfys://ntfy.example/restrooms",
        "ntfys://restrooms",
        "ntfy://restrooms",
        "pover://abcdefghijklmnopqrstuvwxyz1234@abcdefghijklmnopqrstuvwxyz1234",
        "tgram://123456789:abcdefg_hijklmnop/12315544",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "mailtos://user:pass@example.org/?to=principal@example.org",
        "workflows://prod.example.azure.com:443/643c8ba6/T1JJ3T3L2",
        "twilio://ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@15005550006/15005550007",
    ],
)
async def test_each_scheme_a_school_may_use_gets_text_without_markup(url, monkeypatch):
    target, sent = Secret(url), []
    assert check_target(target) == []
    if url.startswith(("ntfy", "mailto")):
        return  # plain text, and not sent with `requests`

    def record(_session, request, **_more):
        sent.append(request.body if isinstance(request.body, str) else request.body.decode())
        response = requests.Response()
        response.status_code, response._content = 200, b"ok"
        return response

    monkeypatch.setattr(requests.Session, "send", record)
    await send(target, structs.replace(NOTICE, room=MARKUP))
    markup = READ_AS_MARKUP.get(find_scheme(target), ("<b>x", "<!", "](http", "@all", "*x*"))
    (text,) = sent
    assert NOTICE.link in text or url.startswith(("twilio", "pover"))
    assert [one for one in markup if one in text] == []


async def test_ntfy_is_loud_and_opens_the_incident(provider):
    await send(Secret(f"ntfy://127.0.0.1:{provider.port}/{SECRET}"))
    headers, content = message(provider)
    assert content["topic"] == SECRET
    assert headers["X-Priority"] == "max"
    assert headers["X-Click"] == NOTICE.link


async def test_json_carries_fields(provider):
    await send(Secret(f"json://127.0.0.1:{provider.port}/"))
    _, content = message(provider)
    assert content["incident"] == NOTICE.incident
    assert content["room"] == "Boys N2"
    assert content["priority"] == "urgent"
    assert content["site"] == ""
    await send(Secret(f"json://127.0.0.1:{provider.port}/?:site=lincoln&:kind=alert"))
    _, content = message(provider)
    assert (content["site"], content["kind"]) == ("lincoln", "alert")  # as the address specifies


async def test_json_sends_the_headers_of_its_address(provider):
    address = Secret(f"json://127.0.0.1:{provider.port}/hook?+X-School=Ca%C3%B1on%20north&+X-Key=k")
    assert check_target(address, LOCAL) == []
    await send(address)
    headers, content = message(provider)
    assert (provider.requests[-1][0], headers["X-School"]) == ("/hook", "Ca\xf1on north")
    assert (headers["X-Key"], headers["Content-Type"]) == ("k", "application/json")
    assert content["incident"] == NOTICE.incident


@pytest.fixture
def log():
    """Record everything that reaches the root logger at its lowest level."""
    lines = []

    class Ear(logging.Handler):
        def emit(self, record):
            lines.append(record.getMessage())

    root, ear = logging.getLogger(), Ear(logging.DEBUG)
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(ear)
    yield lines
    root.removeHandler(ear)
    root.setLevel(before)


@pytest.mark.parametrize("status", [200, 429, 403, 307])
async def test_no_notifier_leaks_a_secret(provider, target, status, log, capfd):
    notifier = AppriseNotifier(LOCAL)
    provider.answers = [answer(status, SECRET.encode())]
    content = []
    try:
        await notifier.send(target, NOTICE, timeout_s=60.0)
    except (PermanentNotifyError, TransientNotifyError) as error:
        content += [str(error), repr(error), repr(error.__cause__), repr(error.__context__)]
    content += [
        repr(notifier),
        repr(target),
        str(target),
        f"{target}",
        *log,
        *capfd.readouterr(),
    ]
    assert all(SECRET not in text for text in content)
    for path, headers, _ in provider.requests:
        assert "?" not in path
        assert "Referer" not in headers


async def test_the_button_of_ntfy_posts_the_token_in_its_body(provider):
    token = "c2VjcmV0LXRva2VuLTEyOA"
    own = structs.replace(NOTICE, link=f"https://plumewatch.example/answer#{token}")
    for topic in (SECRET, f"{SECRET}?tags=warning"):
        await send(Secret(f"ntfy://127.0.0.1:{provider.port}/{topic}"), own)
        path, headers, _ = provider.requests[-1]
        take, decline, see = json.loads(headers["X-Actions"])
        assert take == {
            "action": "http",
            "label": "I'm responding",
            "url": "https://plumewatch.example/answer",
            "method": "POST",
            "headers": {"Content-Type": "application/x-www-form-urlencoded"},
            "body": f"token={token}&via=ntfy",
            "clear": False,  # the notification stays, because it links to the page for findings
        }
        assert decline == {
            **take,
            "label": "I can't go",
            "url": "https://plumewatch.example/answer/decline",
        }
        assert see == {"action": "view", "label": "Open", "url": own.link}
        assert token not in path
        assert headers["X-Click"] == own.link
    await send(Secret(f"ntfy://127.0.0.1:{provider.port}/{SECRET}"))
    assert "X-Actions" not in provider.requests[-1][1]


@pytest.mark.parametrize(
    ("ahead_s", "least", "most"),
    [
        (None, 41.0, 41.0),
        (3_600.0, 3_000.0, 3_600.0),
        (-1e9, 0.0, 0.0),
        (1e9, 86_400.0, 86_400.0),
    ],
    ids=["seconds", "date", "past", "far"],
)
async def test_the_wait_that_a_provider_asks_for_in_its_header_is_known(
    ahead_s, least, most, provider
):
    header = "41" if ahead_s is None else formatdate(time.time() + ahead_s, usegmt=True)
    provider.answers = [answer(429, headers=(("Retry-After", header),))]
    with pytest.raises(TransientNotifyError) as caught:
        await send(Secret(f"ntfy://127.0.0.1:{provider.port}/t"))
    assert least <= caught.value.retry_after_s <= most


async def test_a_burst_is_waited_for_and_a_used_up_day_is_not(provider):
    burst = b'{"code":42901,"http":429,"error":"limit reached: too many requests"}'
    day = b'{"code":42908,"http":429,"error":"limit reached: daily message quota reached"}'
    provider.answers = [answer(429, burst), answer(429, day)]
    with pytest.raises(TransientNotifyError) as caught:
        await send(Secret(f"ntfy://127.0.0.1:{provider.port}/t"))
    assert caught.value.reason is NotifyReason.RATE_LIMITED
    with pytest.raises(PermanentNotifyError) as ended:
        await send(Secret(f"ntfy://127.0.0.1:{provider.port}/t"))
    assert ended.value.reason is NotifyReason.QUOTA
