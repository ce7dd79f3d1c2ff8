"""A disk that is full or fails: nothing acknowledged is lost, the service says how it is, and goes on in place."""

import os
import resource
import signal
from pathlib import Path

import pytest

from fedfraud.health import probe
from tests.conftest import say_lacking
from tests.faults.campaign import Campaign, chosen
from tests.faults.disk import PLAIN, SECURE
from tests.faults.four_banks import BANKS, aggregator_pid, check_everything, finished, four_banks
from tests.faults.small_disk import fill, free, small_disk, take
from tests.faults.strace import CannotTrace, attached, writer_thread
from tests.federation.waiting import wait_for

pytestmark = pytest.mark.timeout(600)

FAILS, TAKES = "disk fails: nothing is acknowledged", "disk takes data again"


@pytest.mark.parametrize("campaign", [PLAIN, SECURE], ids=["plain", "masked"])
def test_a_write_that_fails_once_or_until_space_returns_costs_nothing_that_was_acknowledged(
    campaign: Campaign, tmp_path: Path
) -> None:
    for number in chosen(campaign.trials(), campaign.short):
        campaign.trial(number, tmp_path / str(number))


def test_the_run_that_starts_by_itself_starts_though_the_disk_is_full_just_then(tmp_path: Path) -> None:
    socket = tmp_path / "health"
    with four_banks(tmp_path / "run", expected_banks=5, start_wait=2.0, health_socket=socket) as present:
        present.start_aggregator()
        present.start_banks(*BANKS)  # the last does not come: it starts after two seconds
        pid = aggregator_pid(present)
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # no file takes a byte
        wait_for(lambda: not probe(socket), "the health says that the disk fails")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        finished(present)
        wait_for(lambda: probe(socket), "the health says that the disk takes data again")
        assert aggregator_pid(present) == pid
        check_everything(present)


def test_the_health_does_not_say_serving_while_the_journal_cannot_be_written_though_files_can(tmp_path: Path) -> None:
    with four_banks(tmp_path / "run", health_socket=tmp_path / "health") as present:
        present.start_aggregator()
        log = present.log_file("aggregator")
        present.start_banks(*BANKS[:-1])
        thread, inject = writer_thread(aggregator_pid(present)), "fdatasync:error=EIO:when=3+"
        try:
            with attached(thread, ("fdatasync",), tmp_path / "calls", inject) as tracer:
                present.start_bank(BANKS[-1])  # the run begins, and stores its second entry no more
                wait_for(lambda: tracer.injected() >= 8, "eight calls have failed: it was tried for seconds")
                assert (log.read_text().count(FAILS), log.read_text().count(TAKES)) == (1, 0)
                assert not probe(tmp_path / "health")
        except CannotTrace as lack:
            say_lacking(f"{lack}: a journal that alone fails is not tried")
        finished(present)
        wait_for(lambda: probe(tmp_path / "health"), "the health says that the disk takes data again")
        check_everything(present)


def test_a_disk_that_is_really_full_is_waited_out_in_place_and_the_model_is_the_same(tmp_path: Path) -> None:
    data = tmp_path / "run" / "aggregator"

    def full() -> bool:
        take(data)  # and again: a round that has closed gives its space back
        return not probe(tmp_path / "health")

    with (
        small_disk(data, 8),
        four_banks(tmp_path / "run", health_socket=tmp_path / "health", rounds=20) as present,
    ):
        present.start_aggregator()
        pid = aggregator_pid(present)
        present.start_banks(*BANKS)
        for committed in (1, 8, 15):
            present.wait("round_committed", count=committed)
            wait_for(full, "the health says that the disk is full")
            assert not present.events("run_finished")
            free(data)
            wait_for(lambda: probe(tmp_path / "health"), "the health says that there is space again")
        finished(present)
        assert aggregator_pid(present) == pid
        check_everything(present, 20)


def test_a_disk_that_is_full_past_a_deadline_leaves_no_bank_out(tmp_path: Path) -> None:
    """A bank that came in time and was turned away by the disk was not silent: it is asked again."""
    data = tmp_path / "run" / "aggregator"
    with small_disk(data, 8), four_banks(tmp_path / "run", rounds=20, round_deadline=6.0) as present:
        present.start_aggregator()
        present.start_banks(*BANKS)
        present.wait("round_committed")
        late = present.processes["bank-04"].pid or 0
        os.kill(late, signal.SIGSTOP)

        def all_but_the_late_one() -> bool:
            opened, accepted = present.events("round_opened")[-1], present.events("contribution_accepted")
            return len([event for event in accepted if event.key == opened.key]) == len(BANKS) - 1

        wait_for(all_but_the_late_one, "the other banks have contributed")
        fill(data)
        os.kill(late, signal.SIGCONT)
        log = present.log_file("aggregator")
        wait_for(lambda: "deadline passed" in log.read_text(), "the deadline passes while the disk is full")
        free(data)
        finished(present)
        assert present.events("round_void"), "the round could not be finished"
        assert "left out of rounds" not in log.read_text()
        check_everything(present, 20, may_miss=True)
