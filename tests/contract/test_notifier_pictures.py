"""Test pictures with every kind of notifier, using real servers on loopback."""

from __future__ import annotations

import base64
import json
import logging
import threading

import pytest

from alerts.channels import SERVICES
from alerts.errors import NotifyReason, TransientNotifyError
from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.notice import render
from alerts.secrets import Secret
from tests.support.provider import OK, RISING, answer
from tests.support.waiting import until

LOCAL = NotifySettings(allow_private=True)
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8


async def send(url, picture=PICTURE):
    await AppriseNotifier(LOCAL).send(Secret(url), RISING, timeout_s=60.0, picture=picture)


def json_url(provider):
    return f"json://127.0.0.1:{provider.port}/x"


def ntfy_url(provider):
    return f"ntfy://127.0.0.1:{provider.port}/topic"


async def test_json_carries_text_and_picture_in_one_request(provider):
    await send(json_url(provider))
    ((_, _, body),) = provider.requests
    output = json.loads(body)
    (attachment,) = output["attachments"]
    assert base64.b64decode(attachment["base64"]) == PICTURE
    assert (attachment["filename"], attachment["mimetype"]) == ("evidence.png", "image/png")
    assert output["title"].startswith("Boys N2")
    assert output["incident"] == RISING.incident


async def test_ntfy_carries_text_and_picture_in_one_request(provider):
    await send(ntfy_url(provider))
    ((path, headers, body),) = provider.requests
    assert body == PICTURE
    assert "filename=evidence.png" in path
    assert "Boys+N2" in path
    assert headers["X-Click"] == RISING.link


@pytest.mark.parametrize("url", [json_url, ntfy_url])
@pytest.mark.parametrize("status", [400, 413, 415])
async def test_a_refused_picture_is_left_out_once(provider, caplog, url, status):
    provider.answers = [answer(status)]
    with caplog.at_level(logging.WARNING, "alerts.notify"):
        await send(url(provider))
    first, second = provider.requests
    assert len(first[2]) > len(PICTURE) - 1
    assert len(second[2]) < 2000
    assert RISING.incident in caplog.text
    assert "127.0.0.1" not in caplog.text


@pytest.mark.parametrize("url", [json_url, ntfy_url])
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_what_may_have_arrived_is_not_sent_again_at_once(provider, url, status):
    provider.answers = [answer(status), OK]
    with pytest.raises(TransientNotifyError):
        await send(url(provider))
    assert len(provider.requests) == 1


async def test_a_time_out_sends_no_second_notice(provider):
    notifier = AppriseNotifier(LOCAL)
    go_on = threading.Event()
    provider.answers = [answer(200, go_on=go_on), OK]
    with pytest.raises(TransientNotifyError) as caught:
        await notifier.send(Secret(json_url(provider)), RISING, timeout_s=1.0, picture=PICTURE)
    assert caught.value.reason is NotifyReason.TIMEOUT
    go_on.set()
    await until(lambda: not notifier.find_busy_channels())
    assert len(provider.requests) == 1


async def test_a_service_without_pictures_gets_the_text(provider):
    await send(f"gotify://127.0.0.1:{provider.port}/token")
    ((_, _, body),) = provider.requests
    assert RISING.evidence.describe("vape") in json.loads(body)["message"]


async def test_mail_carries_the_picture(mail_server):
    inbox, port = mail_server()
    await send(f"mailto://127.0.0.1:{port}?from=p@school.example&to=ap@school.example")
    ((_, _, message),) = inbox.mails
    (part,) = [p for p in message.walk() if p.get_content_type() == "image/png"]
    assert part.get_payload(decode=True) == PICTURE
    assert part.get_filename() == "evidence.png"
    lines = render(RISING, "mailto")[1].splitlines()
    texts = [p for p in message.walk() if p.get_content_maintype() == "text"]
    assert [p.get_content_type() for p in texts] == ["text/plain"]
    assert len(lines) > 1
    assert texts[0].get_payload(decode=True).decode().splitlines()[: len(lines)] == lines


@pytest.mark.parametrize(
    ("url", "takes"),
    [
        ("ntfys://ntfy.example/t", True),
        ("jsons://h.example/x", True),
        ("mailtos://u:p@h.example?to=a@h.example", True),
        ("pover://" + "u" * 30 + "@" + "t" * 30, True),
        ("tgram://123456789:" + "a" * 35 + "/12315544/", True),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#c", False),
        ("gotifys://h.example/token", False),
        ("ftp://h.example", False),
        ("nonsense", False),
    ],
)
def test_which_services_take_pictures(url, takes):
    assert AppriseNotifier(LOCAL).accepts_picture(Secret(url)) is takes
    assert url.partition("://")[0] in SERVICES or not takes
