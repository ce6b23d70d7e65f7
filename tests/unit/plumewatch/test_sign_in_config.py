"""Test the sign-in configuration: all faults at once, with remedies."""

import tomllib
from contextlib import closing

import pytest

from alerts.access.directory import DirectoryPerson, save_person
from alerts.access.sign_in_rules import GroupRole
from plumewatch.check.people import check_notifiers, check_sign_in, find_without_password
from plumewatch.check.result import State
from plumewatch.config.faults import ConfigError
from plumewatch.config.load import parse
from plumewatch.config.paths import DataPaths
from plumewatch.config.settings import (
    build_alert_policy,
    build_identity_provider,
    build_sign_in_rules,
    check_settings,
)
from plumewatch.service.data_folder import prepare_state
from storage.sqlite import connect, transaction
from tests.support import oidc_provider
from tests.support.broker import free_port
from tests.support.two_schools import TWO

ENTRA = "https://login.microsoftonline.com/0a1b2c3d-0000-4000-8000-000000000000/v2.0"
GOOD = {
    "issuer": "https://accounts.google.com",
    "client_id": "plumewatch",
    "client_secret_file": "secret",
    "hosted_domain": "school.example",
}


def configuration(tmp_path, sign_in, **more):
    tree = {
        "site": "Lincoln High",
        "timezone": "UTC",
        "alerts": {"allow_private_targets": True},
        "web": {"public_url": "https://plumewatch.example"},
        "room": [{"id": "r", "name": "Boys", "building": "North", "floor": "2"}],
        "sensor": [{"id": "s", "room": "r"}],
        "staff": [
            {"id": "ap", "name": "AP", "email": "ap@school.example"},
            {"id": "breakglass", "name": "Break glass", "role": "admin"},
        ],
        "sign_in": sign_in,
    }
    return parse({**tree, **more}, base=tmp_path)


def faults(tmp_path, sign_in, **more):
    with pytest.raises(ConfigError) as raised:
        configuration(tmp_path, sign_in, **more)
    return str(raised.value)


def test_what_the_page_takes_from_it(tmp_path):
    (tmp_path / "secret").write_text("marked-secret")
    config = configuration(
        tmp_path,
        {
            **GOOD,
            "issuer": ENTRA,
            "hosted_domain": "",
            "groups_claim": "roles",
            "group": [{"group": "Plumewatch.Admin", "role": "admin"}],
            "second_factor": ["admin"],
        },
    )
    check_settings(config)
    rules = build_sign_in_rules(config)
    assert rules.may_use_password("breakglass")
    assert not rules.may_use_password("ap")
    assert rules.groups == (GroupRole("Plumewatch.Admin", "admin"),)
    found = build_identity_provider(config).settings
    assert found.callback == "https://plumewatch.example/sign-in/callback"
    assert found.email_claim == "preferred_username"
    assert "marked-secret" not in repr(found)
    assert [m.email for m in build_alert_policy(config).staff] == ["ap@school.example", ""]


def test_google_is_asked_for_groups_only_where_they_have_roles(tmp_path):
    (tmp_path / "secret").write_text("x")
    without = build_identity_provider(configuration(tmp_path, GOOD)).settings
    assert (without.groups_url, without.scope) == ("", "openid email profile")
    assert without.email_claim == "email"
    group = {"group": "plumewatch@school.example", "role": "staff"}
    found = build_identity_provider(configuration(tmp_path, {**GOOD, "group": [group]})).settings
    assert found.groups_url.startswith("https://cloudidentity.googleapis.com/")
    assert found.scope.endswith("/auth/cloud-identity.groups.readonly")


def test_without_a_section_passwords_stay_as_they_were(tmp_path):
    config = configuration(tmp_path, {})
    assert build_identity_provider(config) is None
    assert build_sign_in_rules(config).may_use_password("ap")
    assert find_without_password(config) == ["ap", "breakglass"]


def test_an_administrator_can_sign_in_while_the_provider_cannot_be_reached(tmp_path):
    staff = [{"id": "ad", "name": "AD", "role": "admin", "email": "ad@school.example"}]
    assert "an administrator without email is needed" in faults(tmp_path, GOOD, staff=staff)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"client_id": ""}, "[sign_in] client_id: missing"),
        ({"hosted_domain": ""}, "the domain of your Google Workspace"),
        ({"groups_claim": "groups"}, "Plumewatch asks Google for the groups"),
        ({"group": [{"group": "g", "role": "boss"}]}, "[[sign_in.group]] number 1: role: 'boss'"),
        (
            {"issuer": "https://id.example", "group": [{"group": "g", "role": "staff"}]},
            "[[sign_in.group]] needs it",
        ),
        ({"issuer": ENTRA.replace("0a1b2c3d-0000-4000-8000-000000000000", "common")}, "TENANT"),
        ({"issuer": ""}, "[sign_in] client_id: no issuer: also needs sign_in.issuer"),
        ({"isuer": "x"}, "did you mean 'issuer'?"),
    ],
)
def test_each_fault_says_what_to_do(tmp_path, change, words):
    assert words in faults(tmp_path, {**GOOD, **change})


def test_a_secret_that_cannot_be_read_is_a_fault_of_check(tmp_path):
    config = configuration(tmp_path, GOOD)
    with pytest.raises(ConfigError, match="client_secret_file: unreadable"):
        check_settings(config)


@pytest.mark.parametrize(
    ("group", "email", "state"),
    [
        ({"group": "pw"}, "", State.WARNING),
        ({"group": "pw"}, "ap@school.example", State.OK),
        ({"group": "pw", "sites": ["north"]}, "", None),
        ({"group": "pw-{site}"}, "", None),
    ],
)
def test_check_names_a_group_through_which_nobody_can_join(tmp_path, group, email, state):
    (tmp_path / "secret").write_text("x")
    schools = tomllib.loads(TWO)
    staff = [{**p, "email": email if p["id"] == "north-ap" else ""} for p in schools["staff"]]
    staff.append({"id": "breakglass", "name": "B", "role": "admin", "sites": ["*"]})
    away = {"issuer": f"http://127.0.0.1:{free_port()}", "hosted_domain": ""}
    own = {**GOOD, **away, "groups_claim": "groups", "group": [{**group, "role": "staff"}]}
    own["group"].append({"group": "all", "role": "staff", "sites": ["*"]})
    config = configuration(tmp_path, own, **{**schools, "staff": staff})
    found = [one for one in check_sign_in(config, 0.0) if one.sentence.startswith("pw")]
    assert [one.state for one in found] == [state] * (state is not None)
    assert state is not State.WARNING or "{site}" in found[0].remedy


def save_joined(folder, days):
    """Store people of the directory; `days` has the days since 1970 of each last sign-in."""
    with closing(connect(DataPaths(folder).state)) as db:
        prepare_state(db)
        with transaction(db) as tx:
            for person, day in days.items():
                save_person(tx, DirectoryPerson(person, "A", ("pw",), day * 86_400.0))


@pytest.mark.parametrize(
    ("group", "joined", "state"),
    [
        (None, False, State.FAULT),
        ({"group": "pw", "role": "staff"}, False, State.WARNING),
        ({"group": "pw", "role": "staff"}, True, State.FAULT),
    ],
)
def test_check_before_anyone_has_joined_from_the_directory(tmp_path, group, joined, state):
    config = configuration(tmp_path, {**GOOD, "group": [group] if group else []})
    config = config.model_copy(update={"data_dir": tmp_path})
    if joined:
        save_joined(tmp_path, {"a@school.example": 0.0})
    (found,) = check_notifiers(config, 0.0)
    assert found.state is state
    assert ("first sign-in" in found.remedy) is (state is State.WARNING)


def test_check_names_people_who_have_not_signed_in_for_long(tmp_path):
    (tmp_path / "secret").write_text("x")
    own = {**GOOD, "group": [{"group": "pw", "role": "staff"}], "absent_days": 30}
    own |= {"issuer": f"http://127.0.0.1:{free_port()}", "groups_claim": "groups"}
    config = configuration(tmp_path, own).model_copy(update={"data_dir": tmp_path})
    save_joined(tmp_path, {"a@school.example": -21.0, "b@school.example": -19.0})
    (found,) = [one for one in check_sign_in(config, 0.0) if "20 days" in one.sentence]
    assert "a@school.example" in found.sentence
    assert "b@school.example" not in found.sentence


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_check_asks_the_provider_for_its_document_and_keys(tmp_path):
    (tmp_path / "secret").write_text("x")
    with oidc_provider.running() as provider:
        own = {**GOOD, "issuer": provider.url, "hosted_domain": ""}
        config = configuration(tmp_path, own)
        good, lonely = check_sign_in(config, 0.0)
        assert "answers, with 1 key;" in good.sentence
        assert "https://plumewatch.example/sign-in/callback" in good.sentence
        assert "no administrator has a password" in lonely.sentence
        assert lonely.remedy == "plumewatch staff password breakglass"
        provider.failing = True
        away = next(iter(check_sign_in(config, 0.0)))
        assert away.state == "FAULT"
        assert f"cannot be reached ({provider.url} answers HTTP 503 with no JSON)" in away.sentence
        assert "only people with passwords can sign in" in away.sentence
        assert provider.url in away.remedy
    away = next(iter(check_sign_in(config, 0.0)))
    assert f"({provider.url} cannot be reached: connection refused)" in away.sentence
