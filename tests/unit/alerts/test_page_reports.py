"""Test reports on the staff page: who can create and see them, and deletion."""

import asyncio
import json
import re
from datetime import date
from pathlib import Path

import pytest

from alerts.page.report_jobs import KEPT_S, ReportJobs, TooManyJobsError
from reports.school import SchoolTimes, Term
from storage import audit, sqlite

ASKED = {"name": "incidents", "kind": "csv", "start": "2026-09-01", "end": "2026-09-07"}


async def make(fields, path, person, _now):
    text = f"{person} {json.dumps(fields, sort_keys=True)}"
    await asyncio.to_thread(Path(path).write_text, text)
    return ""


async def fail(*_order):
    return "there is 'North', <b>"


async def crash(*_order):
    raise ChildProcessError("it failed")


async def wait(*_order):
    await asyncio.sleep(100)


@pytest.fixture
async def start(open_page, tmp_path):
    """Open a page whose reports are created by a function."""
    pages = []

    def start(make=make, folder=tmp_path / "made", **options):
        jobs = ReportJobs(folder, make, lambda: pages[0].now)
        jobs.open()
        pages.append(open_page(reports=jobs, **options))
        pages[-1].jobs = jobs
        return pages[-1]

    yield start
    for page in pages:
        await page.jobs.close()


async def ask(page, **fields):
    form = {"form_token": await page.form_token("/reports"), **ASKED, **fields}
    return await page.client.post("/reports", data=form)


async def made(page):
    async with asyncio.timeout(60):
        while "every 1s" in (found := (await page.client.get("/reports")).text):  # noqa: ASYNC110 - another program
            await asyncio.sleep(0.02)
    return found


async def test_a_report_is_made_and_taken_home(start):
    page = start()
    await page.sign_in("an")
    answer = await ask(page)
    assert (answer.status_code, answer.headers["location"]) == (303, "/reports")
    found = await made(page)
    link = re.search(r'href="(/reports/[^"]+)"', found)[1]
    file = await page.client.get(link)
    assert file.text.startswith("an {")
    assert file.headers["content-type"].startswith("text/csv")
    disposition = file.headers["content-disposition"]
    assert disposition == 'attachment; filename="incidents-2026-09-01-2026-09-07.csv"'
    assert file.headers["x-content-type-options"] == "nosniff"


TIMES = SchoolTimes((Term("Fall 2026", date(2026, 8, 24), date(2026, 12, 18)),))


@pytest.mark.parametrize(
    ("chosen", "name", "fields"),
    [
        ({"span": "week", "week": "2026-W36"}, "incidents-2026-W36.csv", {"week": "2026-W36"}),
        ({"span": "month", "month": "2026-09"}, "incidents-2026-09.csv", {"month": "2026-09"}),
        ({"span": "term", "term": "Fall 2026"}, "incidents-Fall-2026.csv", {"term": "Fall 2026"}),
        (
            {"span": "school_year", "school_year": "2026/27"},
            "incidents-2026-27.csv",
            {"school_year": "2026/27"},
        ),
        (  # other fields are ignored
            {"span": "days", "week": "2026-W36", "month": "x"},
            "incidents-2026-09-01-2026-09-07.csv",
            {"start": "2026-09-01", "end": "2026-09-07"},
        ),
    ],
)
async def test_times_are_asked_for_in_one_way(start, chosen, name, fields):
    page = start(times=TIMES)
    await page.sign_in("an")
    assert (await ask(page, **chosen)).status_code == 303
    link = re.search(r'href="(/reports/[^"]+)"', await made(page))[1]
    file = await page.client.get(link)
    asked = {"building": "", "kind": "csv", "name": "incidents", "site": ""}
    wanted = asked | fields | {"language": "en"}
    assert file.text == f"an {json.dumps(wanted, sort_keys=True)}"
    assert f'filename="{name}"' in file.headers["content-disposition"]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"span": "week", "week": "36"}, "&#39;36&#39; is not a week; a week looks like 2026-W47"),
        ({"span": "month"}, "&#39;&#39; is not a month"),
        ({"span": "term", "term": "Spring"}, "&#39;Spring&#39; is not a term; the terms are"),
        ({"span": "days", "end": ""}, "Choose both days."),
        ({"span": "days", "end": "2026-08-31"}, "The first day is after the last."),
        ({"span": "days", "start": "2016-08-01"}, "The period is longer than ten years."),
    ],
)
async def test_an_invalid_time_is_explained(start, chosen, message):
    page = start(times=TIMES)
    await page.sign_in("an")
    answer = await ask(page, **chosen)
    assert answer.status_code == 400
    assert message in answer.text
    assert f'value="{chosen["span"]}" checked' in answer.text
    assert page.jobs.list_jobs("an") == []


def options(shown, name):
    found = re.search(rf'<select name="{name}">(.*?)</select>', shown, re.DOTALL)[1]
    return re.findall(r"<option[^>]*?( selected)?>([^<]+)<", found)


async def test_the_form_offers_the_periods_on_record(start):
    page = start(times=TIMES)  # Monday September 7, 2026
    await page.sign_in("an")
    for days, weeks, months, years in (
        (0, [(" selected", "Sep 7, 2026, so far")], 1, ["2026/27"]),
        (
            10,  # Friday August 28
            [
                ("", "Sep 7, 2026, so far"),
                (" selected", "Aug 31, 2026"),
                ("", "Aug 24, 2026"),
            ],
            2,
            ["2026/27"],
        ),
        (80, None, 4, ["2026/27", "2025/26"]),  # June 19
        (4000, None, 53, None),
    ):
        with sqlite.transaction(page.db) as tx:
            began = page.now - days * 86_400
            audit.append(tx, audit.AuditKind.START, "service", {}, began)
        shown = (await page.client.get("/reports")).text
        assert weeks in (None, options(shown, "week"))
        assert len(options(shown, "month")) == months
        assert years in (None, [text for _, text in options(shown, "school_year")])
        assert options(shown, "term") == [(" selected", "Fall 2026")]
    assert options(shown, "month")[:2] == [
        ("", "September 2026, so far"),
        (" selected", "August 2026"),
    ]
    assert [text for _, text in options(shown, "kind")] == [
        *("PDF, to read or print", "Excel workbook (XLSX)"),
        *("Table for any spreadsheet (CSV)", "Table for data tools (Parquet)"),
    ]
    assert 'name="term"' not in (await start().client.get("/reports")).text


async def test_the_report_of_another_person_is_not_there(start):
    page = start()
    await page.sign_in("an")
    await ask(page)
    link = re.search(r'href="(/reports/[^"]+)"', await made(page))[1]
    await page.client.post("/sign-out", data={"form_token": await page.form_token()})
    assert (await page.client.get(link)).status_code == 303
    await page.sign_in("ad")
    assert (await page.client.get(link)).status_code == 404
    assert "No recent reports" in (await page.client.get("/reports")).text


async def test_it_goes_after_an_hour(start):
    page = start()
    await page.sign_in("an")
    await ask(page)
    await made(page)
    (path,) = (page.jobs.list_jobs("an")[0].path,)
    assert path.exists()
    page.now += KEPT_S + 1
    assert page.jobs.list_jobs("an") == []
    assert not path.exists()


async def test_failures_are_explained(start):
    page = start(fail)
    await page.sign_in("an")
    await ask(page)
    found = await made(page)
    assert "there is &#39;North&#39;, &lt;b&gt;" in found
    assert 'href="/reports/' not in found


async def test_where_the_disk_or_the_program_refuses(start, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for wrong in ({"folder": tmp_path / "file"}, {"make": crash}):
        page = start(**wrong)
        await page.sign_in("an")
        assert (await ask(page)).status_code == 303
        assert "could not be" in await made(page)


async def test_a_second_one_waits_and_the_end_stops_all(start):
    page = start(wait)
    await page.sign_in("an")
    assert [(await ask(page)).status_code for _ in range(2)] == [303, 429]
    page.now += 2 * KEPT_S
    assert len(page.jobs.list_jobs("an")) == 1
    async with asyncio.timeout(60):
        await page.jobs.close()
    assert {job.state for job in page.jobs.list_jobs("an")} <= {"failed"}


async def test_staff_make_the_summary_and_nothing_else(start):
    page = start()
    await page.sign_in("ap")
    text = (await page.client.get("/reports")).text
    assert re.findall(
        r'<option value="(\w+)"', re.search(r'name="name">.*?</select>', text)[0]
    ) == ["summary"]
    assert (await ask(page, name="summary", kind="pdf")).status_code == 303
    assert (await ask(page, name="incidents")).status_code == 400
    (job,) = page.jobs.list_jobs("ap")
    assert f"/reports/{job.id}" in await made(page)
    job.report = "incidents"  # made before the person's role was changed
    assert (await page.client.get(f"/reports/{job.id}")).status_code == 404


async def test_nobody_keeps_a_colleague_from_reports(start):
    jobs = start().jobs
    for _ in range(40):
        await jobs.start({}, "n1", "a.csv", frozenset({"North High"})).task
    assert len(jobs.list_jobs("n1")) == len([*jobs.folder.iterdir()]) == 10
    jobs.start({}, "n1", "a.csv", frozenset({"North High"}))
    with pytest.raises(TooManyJobsError):
        jobs.start({}, "n1", "a.csv", frozenset({"South High"}))
    jobs.start({}, "n2", "a.csv", frozenset({"North High"}))
    await jobs.close()


async def test_one_school_cannot_take_all_reports_at_once(start):
    jobs = start(wait).jobs
    for person in ("n1", "n2"):
        jobs.start({}, person, "a.csv", frozenset({"North High"}))
    with pytest.raises(TooManyJobsError):
        jobs.start({}, "n3", "a.csv", frozenset({"North High"}))
    for person in ("s1", "s2"):
        jobs.start({}, person, "a.csv", frozenset({"South High"}))
    with pytest.raises(TooManyJobsError):
        jobs.start({}, "w1", "a.csv", frozenset({"West High"}))
