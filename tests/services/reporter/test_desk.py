"""The reports folder: whole files, modes that let the host's user delete them, each run once, no report ever lost."""

import asyncio
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from fedfraud.errors import Invalid, Misconfigured
from services.reporter import html, markdown, report
from services.reporter.choice import SECTIONS
from services.reporter.desk import Desk, is_written, last_run, read_origin, read_run, run_folder, write_report
from services.reporter.origin import Origin
from services.reporter.settings import Settings
from tests.services.reporter.aggregators import until
from tests.services.reporter.journals import RUN, Journal, two_banks
from tests.services.reporter.responses_api import Answer, Api, response, serving

NOBODY_WRITES = Path("/proc")
"""A folder in which not even root makes files, where the machine has one."""


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    former = os.umask(0o002)  # as `serve` sets it
    yield
    os.umask(former)


def desk(reports: Path, api: Api | None = None) -> Desk:
    if api is None:
        return Desk(Settings(reports_dir=reports))
    return Desk(Settings(reports_dir=reports, openai_api_key=SecretStr("sk-test"), openai_base_url=api.url))


def share(folder: Path) -> None:
    """What the one-shot service of Compose does to ./reports."""
    folder.chmod(0o2775)


def below(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


FILES = ["facts.json", "narrative.json", "report.html", "report.md"]


async def test_facts_and_report_are_written_and_nothing_else(tmp_path: Path) -> None:
    facts = two_banks().facts()
    await desk(tmp_path).write(facts)
    assert sorted(path.name for path in (tmp_path / RUN).iterdir()) == FILES
    assert (tmp_path / RUN / "facts.json").read_text() == facts.to_json()
    made = report.compose(facts)
    assert (tmp_path / RUN / "report.md").read_text() == markdown.render(made)
    assert (tmp_path / RUN / "report.html").read_text() == html.render(made)


async def test_files_are_the_groups_to_change_and_the_folder_keeps_the_setgid_bit(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    opened = desk(reports)
    share(reports)
    await opened.write(two_banks().facts())
    paths = [reports / RUN, *(reports / RUN).iterdir()]
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths} == {
        RUN: 0o2775,
        **dict.fromkeys(FILES, 0o664),
    }


async def test_a_run_that_is_written_stays_as_it_is(tmp_path: Path) -> None:
    await desk(tmp_path).write(two_banks().facts())
    (tmp_path / RUN / "report.md").write_text("changed by hand")
    await desk(tmp_path).write(two_banks().facts())
    assert (tmp_path / RUN / "report.md").read_text() == "changed by hand"


@pytest.mark.parametrize("missing", ["facts.json", "report.html", "report.md"])
async def test_a_run_that_was_half_written_is_written_again(tmp_path: Path, missing: str) -> None:
    await desk(tmp_path).write(two_banks().facts())
    (tmp_path / RUN / missing).unlink()
    assert not is_written(tmp_path / RUN, RUN)
    await desk(tmp_path).write(two_banks().facts())
    assert is_written(tmp_path / RUN, RUN)


@pytest.mark.parametrize("run_id", ["../up", "a/b", "", ".", "..", "a" * 65, "a\n", "ä", "a b"])
async def test_a_run_id_that_is_no_plain_name_becomes_no_folder(tmp_path: Path, run_id: str) -> None:
    reports = tmp_path / "reports"
    with pytest.raises(Invalid, match="a run id must be"):
        run_folder(reports, run_id)
    await desk(reports).write(Journal().started(run=run_id).finished(run=run_id).facts())
    assert below(tmp_path) == [reports]


async def test_a_folder_that_cannot_be_written_is_refused_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match=f"reports must be writable: File exists, {tmp_path / 'file'}"):
        desk(tmp_path / "file")
    reports = tmp_path / "reports"
    opened = desk(reports)
    (reports / RUN).write_text("in the way")
    with pytest.raises(Misconfigured, match=f"reports must be writable: File exists, {reports / RUN}"):
        await opened.write(two_banks().facts())


@pytest.mark.skipif(not NOBODY_WRITES.exists(), reason="needs a folder in which not even root makes files")
def test_a_folder_in_which_no_file_can_be_made_is_refused_before_there_is_a_run() -> None:
    with pytest.raises(Misconfigured, match=f"reports must be writable: .*, {NOBODY_WRITES}"):
        desk(NOBODY_WRITES)


async def test_the_narrative_replaces_the_templates_report(tmp_path: Path) -> None:
    path = tmp_path / RUN / "report.md"
    with serving(response()) as api:
        await desk(tmp_path, api).write(two_banks().facts())
        await until(lambda: is_written(tmp_path / RUN, RUN))
    for name in ("report.md", "report.html"):
        assert "Chosen by the model" in (tmp_path / RUN / name).read_text()
    assert report.PENDING not in path.read_text()


async def test_beside_the_report_is_said_who_chose_what_and_who_looks_is_told_when_that_changes(tmp_path: Path) -> None:
    told: list[Origin | None] = []
    assert read_origin(tmp_path / RUN) is None
    with serving(response()) as api:
        settings = Settings(reports_dir=tmp_path, openai_api_key=SecretStr("sk-test"), openai_base_url=api.url)
        await Desk(settings, replaced=lambda: told.append(read_origin(tmp_path / RUN))).write(two_banks().facts())
        waiting = read_origin(tmp_path / RUN)
        await until(lambda: len(told) == 1)
    assert waiting == Origin(template=list(SECTIONS.values()), reason=report.PENDING.rstrip("."))
    assert told == [Origin(model="gpt-5.2-2026-01-01", chosen=list(SECTIONS.values()))]
    (tmp_path / RUN / "narrative.json").write_text("[]")
    assert read_origin(tmp_path / RUN) is None


async def test_the_templates_report_is_there_while_the_model_has_not_answered(tmp_path: Path) -> None:
    with serving(Answer(hang=True)) as api:
        opened = desk(tmp_path, api)
        await opened.write(two_banks().facts())
        await until(lambda: len(api.asked) == 1)
        waiting = (tmp_path / RUN / "report.md").read_text()
        assert "times as good as chance" in waiting
        assert report.PENDING in waiting
        assert not is_written(tmp_path / RUN, RUN)
        await opened.close()
    stopped = (tmp_path / RUN / "report.md").read_text()
    assert "Narrative by template: the reporter was stopped before the model answered." in stopped


async def test_a_narrative_that_was_on_its_way_when_the_reporter_died_is_asked_for_again(tmp_path: Path) -> None:
    facts = two_banks().facts()
    await desk(tmp_path).write(facts)
    write_report(tmp_path / RUN, report.compose(facts, note=report.PENDING))
    with serving(response()) as api:
        await desk(tmp_path, api).write(facts)
        await until(lambda: is_written(tmp_path / RUN, RUN))
    assert "Chosen by the model" in (tmp_path / RUN / "report.md").read_text()


@pytest.mark.parametrize("stale", ["report.md", "report.html"])
async def test_a_narrative_that_reached_one_form_alone_is_asked_for_again(tmp_path: Path, stale: str) -> None:
    facts = two_banks().facts()
    await desk(tmp_path).write(facts)
    former = (tmp_path / RUN / stale).read_bytes()
    write_report(tmp_path / RUN, report.compose(facts, note=report.PENDING))
    assert not is_written(tmp_path / RUN, RUN)
    (tmp_path / RUN / stale).write_bytes(former)
    assert not is_written(tmp_path / RUN, RUN)


async def test_narratives_are_asked_for_one_at_a_time(tmp_path: Path) -> None:
    with serving(Answer(hang=True)) as api:
        opened = desk(tmp_path, api)
        await asyncio.gather(*(opened.write(two_banks(run=name).facts()) for name in ("a", "b", "c")))
        await until(lambda: len(api.asked) >= 1)
        await opened.close()
    assert len(api.asked) == 1
    assert all(is_written(tmp_path / name, name) for name in ("a", "b", "c"))


async def test_a_failing_api_leaves_the_templates_report(tmp_path: Path) -> None:
    path = tmp_path / RUN / "report.md"
    with serving(Answer(401)) as api:
        await desk(tmp_path, api).write(two_banks().facts())
        await until(lambda: "the API refused the key (status 401)" in path.read_text())
    assert "times as good as chance" in path.read_text()


async def test_the_last_run_is_the_one_that_started_last_whatever_its_name(tmp_path: Path) -> None:
    assert last_run(tmp_path) is None
    first, second = Journal().started(run="z").finished(run="z"), two_banks(run="a")
    second.entries[0].time.seconds += 60
    for journal in (second, first):
        await desk(tmp_path).write(journal.facts())
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "facts.json").write_text("{")
    last = last_run(tmp_path)
    assert last is not None
    assert last.run.id == "a"
    assert read_run(tmp_path / "broken") is None


def test_facts_of_a_version_before_derived_figures_are_brought_up_as_they_are_read(tmp_path: Path) -> None:
    now = two_banks().facts()
    former = json.loads(now.to_json())
    del former["derived"]
    former["final"] = {name: value for name, value in former["final"].items() if not name.startswith("compared_")}
    former["banks"][0]["uplift"] = 0.65 - 0.5 + 1e-5
    folder = tmp_path / RUN
    folder.mkdir()
    (folder / "facts.json").write_text(json.dumps(former))
    assert read_run(folder) == now
