"""The paths of a local network: a run folder of its own, and files that can be written when the run is over."""

from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

from fedfraud.errors import Misconfigured
from services.reporter import desk


def new_run_dir() -> Path:
    """Sorts by time; networks started in the same second have folders of their own: runs/20261123-224501-5f3a1c."""
    return Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{token_hex(3)}"


def claim(run_dir: Path) -> None:
    """Takes the run folder for one network: of all that try, one makes the aggregator's folder in it."""
    try:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (run_dir / "aggregator").mkdir()
    except FileExistsError as error:
        raise Misconfigured(f"the run folder must be new, {error.filename} exists") from error
    except OSError as error:
        raise Misconfigured(f"a path must be writable: {error.strerror}, {error.filename}") from error


def check_output(reports_dir: Path, facts_file: Path | None) -> None:
    """Refuses what would only be found wrong after the run."""
    try:
        if facts_file:
            with facts_file.open("a"):  # as it will be written: a folder is refused too
                pass
    except OSError as error:
        raise Misconfigured(f"a path must be writable: {error.strerror}, {error.filename}") from error
    desk.check_writable(reports_dir)
