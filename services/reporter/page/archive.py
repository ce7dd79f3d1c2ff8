"""Earlier runs: what the reports folder holds, read once a file and kept as a line each."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from services.reporter import desk
from services.reporter.facts import RunFacts

MOST = 20
"""How many runs are listed, the newest."""
REPORTS = ("report.html", "report.md", "facts.json")
"""The files of a run's folder that the page hands out."""


@dataclass(frozen=True)
class EarlierRun:
    """A line of the list: the run with nothing but what the list shows."""

    run: RunFacts
    started_time: datetime
    files: tuple[str, ...]


class Archive:
    """The newest runs in the reports folder. A file is read again only when it has changed."""

    def __init__(self, reports: Path) -> None:
        self._reports = reports
        self._known: dict[Path, tuple[int, EarlierRun | None]] = {}

    def runs(self) -> list[EarlierRun]:
        """The newest first."""
        folders = sorted(self._reports.glob("*/facts.json"), key=lambda path: path.parent.name, reverse=True)[:MOST]
        self._known = {path: self._read(path) for path in folders}
        found = [entry for _, entry in self._known.values() if entry]
        return sorted(found, key=lambda entry: entry.started_time, reverse=True)

    def _read(self, path: Path) -> tuple[int, EarlierRun | None]:
        try:
            changed = max(each.stat().st_mtime_ns for each in (path, path.parent))
        except OSError:
            return 0, None
        known = self._known.get(path)
        if known and known[0] == changed:
            return known
        run = desk.read_run(path.parent)
        if run is None or run.run.id != path.parent.name:
            return changed, None
        files = tuple(name for name in REPORTS if (path.parent / name).is_file())
        short = RunFacts(run=run.run, final=run.final.model_copy(update={"holdout_curve": None, "pooled_curve": None}))
        return changed, EarlierRun(short.model_copy(update={"totals": run.totals}), run.run.started_time, files)
