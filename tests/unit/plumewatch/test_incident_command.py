"""The file of one incident."""

import hashlib

from alerts.history_words import line_words
from alerts.incidents import repository
from language.plain_text import shown
from plumewatch.config.settings import school_of
from reports.incident_file import gather, view
from tests.support import alert_records as stored
from tests.support.command import plumewatch
from tests.unit.plumewatch.conftest import NOTE, NOW


def incident(site, command, *words, name=""):
    words = ("incident", command, name or site.id, "--config", site.path, *words)
    return plumewatch(*words, now=NOW)


def test_a_sheet_lists_the_evidence_and_what_was_known_in_the_end(site):
    site.db.execute("UPDATE alert_event SET evidence = '{\"pm25\": [232.0, 532.0, 19.0, null]}'")
    (event,) = stored.events(site.db, "id")
    first = repository.evidence(site.db, event).sentence()

    def sheet():
        found = gather(site.db, site.config.registry(), {}, site.id)
        zone = school_of(site.config).zone
        return view(found, zone, "", repository.sentence_of_row, line_words)

    def rows(title):
        return next(part["rows"] for part in sheet()["tables"] if part["title"] == title)

    assert ["ap", "Responding"] in [row[1:3] for row in rows("Timeline")]
    assert rows("Feedback")[0][-1] == shown(" ".join(NOTE.split()))
    made_with = dict(sheet()["facts"])
    assert made_with["Detector"].startswith("plume-")
    assert (
        hashlib.sha256(site.config.model_dump_json().encode()).hexdigest()
        in (made_with["Program and configuration"])
    )
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


def test_the_same_incident_gives_the_same_pages(site):
    out = site.path.parent / "i.pdf"
    made = []
    for _ in range(2):
        assert incident(site, "file", "--out", out, "--force").code == 0
        made.append(out.read_bytes())
    assert made[0].startswith(b"%PDF")
    assert made[0] == made[1]


def test_where_a_file_cannot_go(site, tmp_path, capsys):
    (tmp_path / "there.pdf").write_text("x")
    for name in ("i.zip", "no/i.pdf", "there.pdf"):
        assert incident(site, "file", "--out", tmp_path / name).code == 2
    assert "must end in .pdf" in capsys.readouterr().err
    assert (tmp_path / "there.pdf").read_text() == "x"
    out = tmp_path / "i.pdf"
    assert incident(site, "file", "--out", out, name="nothing").code == 1
    assert not (tmp_path / "i.pdf").exists()
