"""Earlier runs: what the reports folder holds, read once a file and kept as a line each."""

from dataclasses import dataclass
from pathlib import Path

from fedfraud.errors import Invalid
from services.reporter import desk
from services.reporter.facts import FinalFacts, RunFacts
from services.reporter.origin import Origin

MOST = 20
"""How many runs are listed, the newest."""
REPORTS = ("report.html", "report.md", "facts.json", "MODEL_CARD.md")
"""The files of a run's folder that the page hands out."""


@dataclass(frozen=True)
class EarlierRun:
    """A line of the list: the run with nothing but what the list shows, and the files that there are."""

    run: RunFacts
    files: tuple[str, ...]


@dataclass(frozen=True)
class Beside:
    """What lies in a run's folder: the files that the page hands out, and who made the report's narrative."""

    files: tuple[str, ...] = ()
    origin: Origin | None = None


def beside(reports: Path, run_id: str) -> Beside:
    """What lies in the run's folder now; nothing where there is none."""
    try:
        folder = desk.run_folder(reports, run_id)
    except Invalid:
        return Beside()
    return Beside(_files(folder), desk.read_origin(folder))


class Archive:
    """The newest runs in the reports folder. A run's facts are read again only when their file has changed."""

    def __init__(self, reports: Path) -> None:
        self._reports = reports
        self._known: dict[Path, tuple[tuple[int, ...], RunFacts | None]] = {}

    def runs(self) -> list[EarlierRun]:
        """The newest first."""
        paths = sorted(self._reports.glob("*/facts.json"), key=lambda path: path.parent.name, reverse=True)[:MOST]
        self._known = {path: self._read(path) for path in paths}
        found = [EarlierRun(run, _files(path.parent)) for path, (_, run) in self._known.items() if run]
        return sorted(found, key=lambda entry: (entry.run.run.started_time, entry.run.run.id), reverse=True)

    def beside(self, run_id: str) -> Beside:
        """What lies in the folder of a run now."""
        return beside(self._reports, run_id)

    def _read(self, path: Path) -> tuple[tuple[int, ...], RunFacts | None]:
        try:
            status = path.stat()
        except OSError:
            return (), None
        stands = status.st_mtime_ns, status.st_size, status.st_ino
        known = self._known.get(path)
        if known and known[0] == stands:
            return known
        run = desk.read_run(path.parent)
        return stands, _short(run) if run and run.run.id == path.parent.name else None


def _short(run: RunFacts) -> RunFacts:
    """What the list shows of it, and no more: many runs are kept."""
    return RunFacts(run=run.run, final=FinalFacts(holdout=run.final.holdout, pooled=run.final.pooled))


def _files(folder: Path) -> tuple[str, ...]:
    return tuple(name for name in REPORTS if (folder / name).is_file())
