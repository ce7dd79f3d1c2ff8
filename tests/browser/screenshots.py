"""`python -m tests.browser.screenshots`: runs the network and writes the README's pictures of its finished page."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.browser.browser import CHROMIUM, PHONE, WIDE, chromium, watched
from tests.federation.networks import network

FOLDER = Path(__file__).parents[2] / "docs" / "images"


def main() -> int:
    """Ten banks, ten rounds, two pictures; 1 without Chromium."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they are written (%(default)s)")
    folder: Path = parser.parse_args().folder
    if CHROMIUM is None:
        sys.stderr.write("screenshots need chromium (Debian and Ubuntu: apt install chromium)\n")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {"aggregation": "secure", "autostart": True, "expected_banks": 10, "rounds": 10}
    with tempfile.TemporaryDirectory() as run_dir, network(Path(run_dir), **settings) as present:
        present.write_holdout()
        present.start_aggregator()
        present.start_reporter(Path(run_dir) / "reports")
        for number in range(1, 11):
            present.start_bank(number)
        present.run_ended()
        with chromium() as browser:
            for name, size, scheme in (("page", WIDE, "light"), ("page-phone", PHONE, "dark")):
                phone = size == PHONE
                with watched(
                    browser, present.page_url(), size, "dark" if scheme == "dark" else "light", phone=phone
                ) as seen:
                    expect(seen.page.locator("#status .pill")).to_have_text("Finished", timeout=60_000)
                    path = folder / f"{name}.png"
                    seen.page.screenshot(path=path)
                    sys.stdout.write(f"{path}, {path.stat().st_size:,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
