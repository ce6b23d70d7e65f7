"""The file of one incident."""

import hashlib
import json
import subprocess
import zipfile

from alerts.history_words import line_words
from alerts.incidents import repository
from alerts.policy import AlertPolicy
from plumewatch.config.settings import school_of
from plumewatch.replay import replay
from reports.incident_file import gather, view
from tests.support import alert_records as stored
from tests.support.command import plumewatch
from tests.unit.plumewatch.conftest import NOTE, NOW


def archive(site, name="i.zip"):
    out = site.path.parent / name
    assert incident(site, "file", "--out", out, "--force").code == 0
    return out


def incident(site, command, *words, name=""):
    words = ("incident", command, name or site.id, "--config", site.path, *words)
    return plumewatch(*words, now=NOW)


def test_a_bundle_is_whole_by_its_sums(site, tmp_path):
    with zipfile.ZipFile(archive(site)) as files:
        names = files.namelist()
        files.extractall(tmp_path / "x")
    assert sorted(names) == [
        *("SHA256SUMS", "evidence.svg", "incident.json", "incident.pdf", "notices.csv"),
        *("readings.csv", "timeline.csv"),
    ]
    sums = (tmp_path / "x/SHA256SUMS").read_text().splitlines()
    assert len(sums) == len(names) - 1
    subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "x", check=True)
    (tmp_path / "x/timeline.csv").write_text("changed")
    changed = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "x", check=False)
    assert changed.returncode != 0


def test_a_bundle_contains_what_happened_and_which_versions_ran(site):
    with zipfile.ZipFile(archive(site)) as files:
        facts = json.loads(files.read("incident.json"))
        timeline = files.read("timeline.csv").decode()
        picture = files.read("evidence.svg").decode()
        assert files.read("incident.pdf").startswith(b"%PDF")
    assert facts["incident"]["id"] == site.id
    assert facts["incident"]["acknowledged_by"] == "ap"
    assert facts["events"][0]["model_version"].startswith("plume-")
    expected = hashlib.sha256(site.config.model_dump_json().encode()).hexdigest()
    assert facts["started_with"]["config_sha256"] == expected
    assert facts["feedback"][0]["note"] == " ".join(NOTE.split())
    assert ",ap,acknowledged," in timeline
    assert "<svg" in picture
    assert "\u202e" not in timeline + picture


def test_a_sheet_lists_the_evidence_and_what_was_known_in_the_end(site):
    site.db.execute("UPDATE alert_event SET evidence = '{\"pm25\": [232.0, 532.0, 19.0, null]}'")
    (event,) = stored.events(site.db, "id")
    first = repository.evidence(site.db, event).sentence()

    def sheet():
        found = gather(site.db, site.config.registry(), {}, site.id)
        calendar = school_of(site.config).calendar(*found.span)
        return view(found, calendar, "", 0, repository.sentence_of_row, line_words)

    def rows(title):
        return next(part["rows"] for part in sheet()["tables"] if part["title"] == title)

    decided, ended = sheet()["evidence"]
    assert decided == f"At the decision: {first}"
    assert ended.startswith("At the end: ")
    assert ended.endswith("fine particles rose from 232 to 764 in 19 s")
    values = {(when, row[0]): row[1] for _, when, *row in rows("Channels")}
    assert values["end", "pm25"] == "232"
    assert float(values["decision", "pm25"]) < 20
    assert {when for _, when, *_ in rows("Probabilities")} == {"decision", "end"}
    same = ", ".join(f"decided_{key} = {key}" for key in ("evidence", "probabilities"))
    site.db.execute(f"UPDATE alert_event SET {same}")  # noqa: S608 - columns
    assert sheet()["evidence"] == [ended.removeprefix("At the end: ")]


def test_the_readings_of_a_bundle_replay_to_the_same_alert(site, tmp_path):
    with zipfile.ZipFile(archive(site)) as files:
        files.extract("readings.csv", tmp_path)
    result = replay([tmp_path / "readings.csv"], policy=AlertPolicy())
    assert result.readings == len(site.readings)
    assert [a.kind for a in result.alerts] == ["vape"]


def test_the_same_incident_gives_the_same_bytes(site):
    with zipfile.ZipFile(archive(site, "a.zip")) as a, zipfile.ZipFile(archive(site, "b.zip")) as b:
        for name in a.namelist():
            assert a.read(name) == b.read(name), name


def test_where_a_file_cannot_go(site, tmp_path, capsys):
    (tmp_path / "there.pdf").write_text("x")
    for name in ("i.doc", "no/i.zip", "there.pdf"):
        assert incident(site, "file", "--out", tmp_path / name).code == 2
    assert "must end in .pdf or .zip" in capsys.readouterr().err
    assert (tmp_path / "there.pdf").read_text() == "x"
    out = tmp_path / "i.pdf"
    assert incident(site, "file", "--out", out, name="nothing").code == 1
    assert not (tmp_path / "i.pdf").exists()
