"""One event a line, for people or for machines."""

import json
import logging
import re
from collections.abc import Iterator

import pytest

from fedfraud.logs import Log, configure


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_readable_line_gives_time_who_what_and_the_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    Log("aggregator").info("contribution accepted", run="r1", round=3, seat="bank-03")
    (line,) = lines(capsys)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d aggregator  contribution accepted  run=r1 round=3 seat=bank-03", line
    )


def test_a_readable_warning_or_error_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    Log("bank-03").warning("late")
    Log("bank-03").error("broken")
    assert [line.split(maxsplit=3)[3] for line in lines(capsys)] == ["WARNING: late", "ERROR: broken"]


def test_json_has_the_same_event_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(form="json")
    Log("aggregator").warning("contribution refused", run="r1", round=3, seat="bank-03", reason="two\nlines")
    (line,) = lines(capsys)
    event = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", event.pop("time"))
    assert event == {
        "level": "warning",
        "who": "aggregator",
        "what": "contribution refused",
        "run": "r1",
        "round": 3,
        "seat": "bank-03",
        "reason": "two\nlines",
    }


def test_a_strangers_text_can_neither_forge_a_line_nor_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    Log("aggregator").info("refused", run="x\n12:00:00 aggregator  run finished", seat="\x1b[2J")
    (line,) = lines(capsys)
    assert r"run='x\n12:00:00 aggregator  run finished' seat='\x1b[2J'" in line


@pytest.mark.parametrize("form", ["readable", "json"])
def test_an_exception_is_told_where_it_is_asked_for(capsys: pytest.CaptureFixture[str], form: str) -> None:
    configure(form=form)
    try:
        raise ValueError("seven")
    except ValueError:
        Log("aggregator").error("broken", exc_info=True, seat="bank-03")
    told = capsys.readouterr().err
    assert "ValueError: seven" in told
    assert "Traceback" in told


@pytest.mark.parametrize(("level", "heard"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_a_level_hushes_what_is_below_it(capsys: pytest.CaptureFixture[str], level: str, heard: int) -> None:
    configure(level)
    log = Log("aggregator")
    for speak in (log.debug, log.info, log.warning, log.error):
        speak("something")
    assert len(lines(capsys)) == heard


def test_libraries_chatter_is_hushed_but_their_warnings_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logging.getLogger("httpx").info("HTTP Request: POST")
    logging.getLogger("httpx").warning("slow")
    assert [line.split()[-1] for line in lines(capsys)] == ["slow"]
