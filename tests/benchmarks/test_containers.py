"""The benchmark of containers: the note on what start-up and idle memory are made of."""

import os

from benchmarks import containers
from benchmarks.measuring import Report


def test_the_note_adds_up_what_was_measured() -> None:
    report = Report("containers", "", machine={})
    for service, seconds in (("aggregator", 1.0), ("bank_client", 4.0)):
        report.add("start-up", {"service": service, "containers": 10, "seconds": seconds})
        report.add("idle memory", {"service": service, "containers": 10, "MB each": 230.0})
        for when, cpu, megabytes in (("start-up", 0.5, 90.0), ("later", 1.5, 180.0)):
            costs = {"largest, CPU s": "numpy 0.300", "largest, MB": f"the largest {when}"}
            report.add("imports", {"service": service, "imports": when, "CPU s": cpu, "MB": megabytes, **costs})
    containers.note(report, "bank_client", {"resident": 370.0, "own": 220.0, "files": 150.0}, (0.25, 12.0))
    assert report.findings == [
        "bank_client, start-up of 4.00 s: Python and its imports are 0.750 CPU s (numpy 0.300), "
        f"times 10 on {os.cpu_count()} cores",
        "bank_client, idle memory of 230 MB by Docker: its process has 370, 220 its own and 150 of files, which "
        "containers of one image share; Python and its imports alone have 282 (at start-up the largest start-up; "
        "later the largest later)",
    ]


def test_what_costs_next_to_nothing_is_not_named() -> None:
    assert containers.largest({"ours": 5.0, "torch": 184.0, "tqdm": 0.5}) == "torch 184, ours 5.00"
    assert containers.largest({f"package{number}": 10.0 + number for number in range(7)}).count(",") == 4
    assert containers.largest({"numpy": 0.0}) == containers.largest({}) == "nothing"
