"""`python -m tests.browser.screenshots`: runs the network and writes the README's pictures of its finished page."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.browser.browser import CHROMIUM, PHONE, SCHEMES, WIDE, Scheme, chromium, watched
from tests.federation.networks import FINISHED, network

FOLDER = Path(__file__).parents[2] / "docs" / "images"
BANKS, ROUNDS = 10, 10
_SIZES = {"page": WIDE, "page-phone": PHONE}
_README: tuple[tuple[str, Scheme], ...] = (("page", "light"), ("page-phone", "dark"))


def main() -> int:
    """Ten banks, ten rounds and central; two pictures, or all; 1 without Chromium."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they are written (%(default)s)")
    parser.add_argument(
        "--whole",
        action="store_true",
        help="the whole page and report, at both widths in light and in dark, to look at",
    )
    arguments = parser.parse_args()
    if CHROMIUM is None:
        sys.stderr.write("screenshots need chromium (Debian and Ubuntu: apt install chromium)\n")
        return 1
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {"aggregation": "secure", "autostart": True, "central_wait": 120.0}
    with (
        tempfile.TemporaryDirectory() as run_dir,
        network(Path(run_dir), expected_banks=BANKS, rounds=ROUNDS, **settings) as present,
    ):
        present.write_population()
        present.announce_central()
        present.start_aggregator()
        present.start_reporter(Path(run_dir) / "reports")
        for number in range(1, BANKS + 1):
            present.start_bank(number)
        present.wait("round_committed", lambda done: done.step == ROUNDS, "of the last training round", seconds=120.0)
        present.start_central()
        finished = present.wait("run_finished", seconds=180.0)
        if finished.outcome != FINISHED or not finished.HasField("central"):
            sys.stderr.write("the pictures must be of a finished run with central, got another\n")
            return 1
        if arguments.whole:
            pictures = [(f"{name}-{scheme}", size, scheme) for name, size in _SIZES.items() for scheme in SCHEMES]
        else:
            pictures = [(name, _SIZES[name], scheme) for name, scheme in _README]
        with chromium() as browser:
            for name, size, scheme in pictures:
                with watched(browser, present.page_url(), size, scheme, phone=size == PHONE) as seen:
                    expect(seen.page.locator("#status .pill")).to_have_text("Finished", timeout=60_000)
                    path = folder / f"{name}.png"
                    seen.page.screenshot(path=path, full_page=arguments.whole)
                    sys.stdout.write(f"{path}, {path.stat().st_size:,} bytes\n")
            for name, size, scheme in pictures if arguments.whole else []:
                report = f"{present.page_url()}/runs/{finished.run_id}/report.html"
                with watched(browser, report, size, scheme, phone=size == PHONE) as seen:
                    seen.page.screenshot(path=folder / f"report-{name}.png", full_page=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
