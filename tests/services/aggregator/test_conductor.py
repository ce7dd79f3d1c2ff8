"""What the conductor says while it waits."""

import logging
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.aggregator import conductor
from tests.federation.hands import aggregator
from tests.federation.waiting import until


async def test_a_reminder_says_how_long_the_banks_have_been_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = chain([0.0, 0.0], repeat(10.0))  # the wait begins, is looked at, and is spoken of ten seconds later
    monkeypatch.setattr(conductor, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(conductor, "_REMINDER_SECONDS", 0.01)

    def said() -> list[str]:
        return [getattr(r, "fields", {})["seconds"] for r in caplog.records if r.msg == "waiting for banks"]

    with caplog.at_level(logging.INFO):
        async with aggregator(tmp_path, autostart=True):
            await until(said, "a reminder")
    assert said()[0] == "10"
