"""Earlier runs come from the reports folder; a file is read once."""

from pathlib import Path

import pytest

from services.reporter import desk
from services.reporter.facts import RunFacts
from services.reporter.page.archive import MOST, Archive
from tests.services.reporter.journals import two_banks


def keep(reports: Path, run_id: str) -> Path:
    folder = reports / run_id
    folder.mkdir(parents=True)
    (folder / "facts.json").write_text(two_banks(run=run_id).facts().to_json())
    return folder


def test_runs_are_listed_with_the_files_that_they_have(tmp_path: Path) -> None:
    keep(tmp_path, "20261101-000000-aaaa")
    (keep(tmp_path, "20261102-000000-bbbb") / "report.md").write_text("report")
    runs = Archive(tmp_path).runs()
    assert {run.run.run.id: run.files for run in runs} == {
        "20261101-000000-aaaa": ("facts.json",),
        "20261102-000000-bbbb": ("report.md", "facts.json"),
    }


def test_a_file_is_read_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(folder: Path) -> RunFacts | None:
        read.append(folder)
        return reading(folder)

    reading = desk.read_run
    monkeypatch.setattr(desk, "read_run", counted)
    folder, archive = keep(tmp_path, "one"), Archive(tmp_path)
    archive.runs()
    archive.runs()
    assert read == [folder]
    (folder / "report.md").write_text("report")
    assert archive.runs()[0].files == ("report.md", "facts.json")
    assert read == [folder]
    (folder / "facts.json").write_text(two_banks(run="one").refused("bank-01", "late").facts().to_json() + "\n")
    archive.runs()
    assert read == [folder, folder]


def test_what_is_no_run_is_passed_over(tmp_path: Path) -> None:
    (keep(tmp_path, "one") / "facts.json").write_text("{")
    keep(tmp_path, "two").rename(tmp_path / "renamed")
    (tmp_path / "empty").mkdir()
    assert Archive(tmp_path).runs() == []
    assert Archive(tmp_path / "missing").runs() == []


def test_of_very_many_runs_the_newest_are_listed(tmp_path: Path) -> None:
    for number in range(MOST + 3):
        keep(tmp_path, f"20261101-0000{number:02d}-aaaa")
    listed = {run.run.run.id for run in Archive(tmp_path).runs()}
    assert len(listed) == MOST
    assert "20261101-000002-aaaa" not in listed
