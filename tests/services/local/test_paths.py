"""The paths of a local network."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedfraud.errors import Misconfigured
from services.local.paths import claim, new_run_dir

TOGETHER = 8


def test_of_networks_that_start_together_in_a_folder_one_gets_it(tmp_path: Path) -> None:
    start = threading.Barrier(TOGETHER)

    def try_it(_: int) -> bool:
        start.wait(10)
        try:
            claim(tmp_path / "runs" / "one")
        except Misconfigured:
            return False
        return True

    with ThreadPoolExecutor(TOGETHER) as pool:
        assert sorted(pool.map(try_it, range(TOGETHER))) == [False] * (TOGETHER - 1) + [True]


def test_a_folder_that_holds_a_network_or_is_none_is_refused_by_its_name(tmp_path: Path) -> None:
    claim(tmp_path / "run")
    with pytest.raises(Misconfigured, match=f"^the run folder must be new, {tmp_path}/run/aggregator exists$"):
        claim(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured, match=f"^the run folder must be new, {tmp_path}/file exists$"):
        claim(tmp_path / "file")
    with pytest.raises(Misconfigured, match=f"^a path must be writable: Not a directory, {tmp_path}/file/run$"):
        claim(tmp_path / "file" / "run")


def test_networks_that_start_in_the_same_second_have_folders_of_their_own() -> None:
    assert len({new_run_dir() for _ in range(3)}) == 3  # of three in a row, two are of one second
