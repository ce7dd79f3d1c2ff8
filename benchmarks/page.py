"""How fast the live page loads and how much memory the reporter needs, over a run with many banks and rounds.

`.venv/bin/python benchmarks/page.py` hosts 100 banks in a process a core, runs 200 rounds while a browser follows, and
prints a table. It needs chromium and minutes: training 100 banks is most of them.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, expect

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ending, options
from fedfraud.recipe import RECIPES
from services.aggregator.settings import Settings
from tests.browser.browser import CHROMIUM, PHONE, WIDE, chromium, watched
from tests.federation.networks import Network

_LOADS = 5

_TIMES = """() => {
  const [load] = performance.getEntriesByType("navigation");
  const [paint] = performance.getEntriesByName("first-contentful-paint");
  return [load.loadEventEnd, paint ? paint.startTime : null, load.decodedBodySize];
}"""


def memory(pid: int) -> float:
    """A process's own memory in MB, without what it shares with the process that it was forked from."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def load_times(browser: Browser, url: str, size: tuple[int, int]) -> tuple[float, float, float]:
    """Medians of fresh loads: seconds to the load event, seconds to the first paint, kB of HTML."""
    found = []
    for _ in range(_LOADS):
        with watched(browser, url, size, phone=size == PHONE) as seen:
            found.append(seen.page.evaluate(_TIMES))
    # A page that was drawn only after its load has no paint yet.
    columns = ([value for value in column if value is not None] for column in zip(*found, strict=True))
    loaded, painted, size_bytes = (statistics.median(column) if column else float("nan") for column in columns)
    return loaded / 1000, painted / 1000, size_bytes / 1000


def line(when: str, network: Network, browser: Browser, started: float) -> str:
    """One line of the table, measured now."""
    reporter = memory(network.processes["reporter"].pid or 0)  # before the loads: it draws for these
    wide, phone = (load_times(browser, network.page_url(), size) for size in (WIDE, PHONE))
    figures = [f"{reporter:.1f}", f"{wide[0]:.2f}", f"{wide[1]:.2f}", f"{phone[0]:.2f}", f"{wide[2]:.0f}"]
    return f"| {' | '.join([when, f'{time.monotonic() - started:.0f}', *figures])} |"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--banks", type=options.banks, default=100)
    add("--rounds", type=options.rounds, default=200)
    add("--every", type=options.rounds, default=25, help="training rounds between two lines")
    add(
        "--recipe",
        type=options.one_of(RECIPES),
        default="tutorial",
        help="the quickest to train; the page does not mind",
    )
    add("--aggregation", default="plain", choices=("plain", "secure"))
    asked = parser.parse_args()
    options.enough_to_mask(parser, asked)
    return asked


def measure(asked: argparse.Namespace, run_dir: Path, browser: Browser) -> int:
    """Runs the network and prints the table; 1 if the run did not finish."""
    settings = Settings(
        hostnames="127.0.0.1,localhost",
        expected_banks=asked.banks,
        rounds=asked.rounds,
        recipe=asked.recipe,
        aggregation=asked.aggregation,
        round_deadline=120.0,  # banks that would train alone for longer give that up in the final round
        start_wait=3600.0,
    )
    network = Network(run_dir, settings)
    try:
        network.write_population()
        network.start_aggregator()
        network.start_reporter(run_dir / "reports")
        network.start_hosted_banks(asked.banks, os.cpu_count() or 1)
        network.wait("run_started", seconds=1800)
        started = time.monotonic()
        print("| after | s | reporter's own MB | load, s | first paint, s | load on a phone, s | HTML, kB |")
        print("|---|---|---|---|---|---|---|", flush=True)
        with watched(browser, network.page_url()) as follower:
            for number in range(1, asked.rounds + 1, asked.every):
                network.wait("round_committed", lambda event: event.step > 0, f"{number}", number, 3600)
                print(line(f"round {number}", network, browser, started), flush=True)
            finished = network.wait("run_finished", seconds=3600)
            pill = follower.page.locator("#status .pill")
            expect(pill).to_have_text("Finished", timeout=60_000)
            print(line("the run", network, browser, started), flush=True)
            for complaint in follower.complaints:
                print(f"the browser complains: {complaint[:200]}")
        facts = next((run_dir / "reports").glob("*/facts.json"))
        print(f"facts.json has {facts.stat().st_size / 1e6:.2f} MB; {len(network.entries()):,} journal entries")
        return 0 if finished.outcome == 1 else 1
    finally:
        network.stop()


def main() -> int:
    """Prints the table."""
    asked = arguments()
    if CHROMIUM is None:
        sys.stderr.write("this benchmark needs chromium (Debian and Ubuntu: apt install chromium)\n")
        return 1
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.0f} at the start"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}; medians of {_LOADS} loads")
    print(f"{asked.banks} banks, {asked.rounds} rounds, recipe {asked.recipe}, {asked.aggregation}", flush=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        return measure(asked, Path(folder), browser)


if __name__ == "__main__":
    ending.run(main)
