"""Files that a run's progress names: what is not as the journal says is refused at the start."""

from pathlib import Path

import pytest

from fedfraud.errors import Misconfigured
from services.aggregator.progress import Progress
from services.aggregator.recovery import check_counters
from services.aggregator.vectors import Vectors
from tests.services.aggregator.test_progress import started


def test_counters_are_held_to_their_hash_before_a_bank_is_asked(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path)
    vectors.prepare()
    sha256 = vectors.write_counters(bytes(64))
    run = Progress.begun(started("second", counters_sha256=sha256))
    check_counters(run, vectors)
    check_counters(Progress.begun(started("first")), vectors)
    vectors.counters(sha256).write_bytes(bytes(63) + b"1")
    with pytest.raises(Misconfigured, match=r"^summed counters must have the hash that the journal says, .* another$"):
        check_counters(run, vectors)
    vectors.counters(sha256).unlink()
    with pytest.raises(Misconfigured, match=r"^summed counters must be on disk: No such file or directory, "):
        check_counters(run, vectors)
