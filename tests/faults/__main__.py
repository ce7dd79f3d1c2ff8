"""The long form: `python -m tests.faults [NAME ...] [--from N] [--to N]` runs every trial of the named campaigns."""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

import _pytest.outcomes

from tests.faults.campaign import Campaign
from tests.faults.campaigns import CAMPAIGNS


def main() -> int:
    """Runs them, says how each trial went, and ends with one row a campaign; exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CAMPAIGNS)} (default: all)")
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="N", help="the first trial (default: 0)")
    parser.add_argument("--to", dest="last", type=int, metavar="N", help="the last trial (default: all)")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - CAMPAIGNS.keys():
        parser.error(f"a campaign must be one of {', '.join(CAMPAIGNS)}, got {', '.join(sorted(unknown))}")
    rows, broken = [], 0
    for name in arguments.names or CAMPAIGNS:
        row, failures = _run(CAMPAIGNS[name], arguments.first, arguments.last)
        rows.append(row)
        broken += failures
    print("\n| campaign | promise | trials | broken | seconds |\n|---|---|---|---|---|")
    print("\n".join(rows))
    return 1 if broken else 0


def _run(campaign: Campaign, first: int, last: int | None) -> tuple[str, int]:
    trials, began, failures, done = campaign.trials(), time.monotonic(), 0, 0
    numbers = range(first, min(trials, (trials if last is None else last + 1)))
    print(f"{campaign.name}: {campaign.promise}; trials {numbers.start} to {numbers.stop - 1} of {trials}")
    for number in numbers:
        with tempfile.TemporaryDirectory(prefix=f"fedfraud-{campaign.name}-") as folder:
            try:
                campaign.trial(number, Path(folder))
            except _pytest.outcomes.Skipped as lacking:
                print(f"  not tried: {lacking}")
                return f"| {campaign.name} | {campaign.promise} | not tried: {lacking} | | |", 0
            except Exception:
                failures += 1
                print(f"  trial {number} BROKEN\n{traceback.format_exc()}")
        done += 1
        if done % 10 == 0 or done == len(numbers):
            print(f"  {done} of {len(numbers)}, {failures} broken, {time.monotonic() - began:.0f} s", flush=True)
    seconds = time.monotonic() - began
    return f"| {campaign.name} | {campaign.promise} | {done} | {failures} | {seconds:.0f} |", failures


if __name__ == "__main__":
    sys.exit(main())
