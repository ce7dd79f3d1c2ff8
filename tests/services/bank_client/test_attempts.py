"""A bank's masked rounds on its disk: what is there before an answer leaves, after a restart, and when it is over."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fedfraud import fixed_point, stored
from fedfraud.errors import Conflict, Invalid, Misconfigured, NotStored
from fedfraud.masking import Advertisement, Masked
from fedfraud.masking_parameters import Parameters, Roster
from fedfraud.masking_policy import OpenedBefore
from fedfraud.masking_sum import Stage
from fedfraud.masking_wire import advertisements_to_proto, consents_to_proto, delivered_to_proto, masked_to_proto
from fedfraud.v1 import federation_pb2, masking_pb2
from fedfraud.wire import RoundKey
from services.bank_client.attempts import Attempts
from services.bank_client.release import Released
from services.bank_client.settings import Settings
from tests.fedfraud.certificates import SmallCa
from tests.fedfraud.masked_round import Attempt, added, inputs_of, parameters_of, roster_of, signing_key
from tests.full_disk import no_file_beyond

FORMAT = b"fedfraud openings 2".ljust(64, b"\0")
ME = "bank-03"
CA = SmallCa()
FEDERATION = x509.load_pem_x509_certificate(CA.pem).fingerprint(hashes.SHA256())
P = parameters_of(4, federation_id=FEDERATION)


def attempts(folder: Path, **settings: object) -> Attempts:
    return Attempts(Settings(data_dir=folder, **settings), ME, signing_key(ME), CA.pem)  # type: ignore[arg-type]  # checked by pydantic


def begin(bank: Attempts, parameters: Parameters = P) -> Advertisement:
    return bank.advertise(parameters, roster_of(len(parameters.cohort)), inputs_of(parameters))


class Others:
    """The rest of the cohort and the aggregator, in the test's hands; this bank answers from its disk."""

    def __init__(self, bank: Attempts, parameters: Parameters = P) -> None:
        self.attempt = Attempt(parameters)
        self.attempt.leave([ME])
        self.words = self.attempt.words[ME]
        self.attempt.sum.advertise(begin(bank, parameters))

    def step(self) -> None:
        """The others answer the stage; this bank has."""
        self.attempt.step()

    def told(self) -> federation_pb2.StageInstruction:
        """What the present stage begins with for this bank."""
        told = self._told()
        told.key.run_id, told.key.round = "run-1", 1
        return told

    def _told(self) -> federation_pb2.StageInstruction:
        total = self.attempt.sum
        match total.stage:
            case Stage.SHARE:
                return federation_pb2.StageInstruction(
                    stage=masking_pb2.MASKING_STAGE_SHARE, advertisements=advertisements_to_proto(total.advertisements)
                )
            case Stage.MASK:
                delivery = total.delivery(ME)
                return federation_pb2.StageInstruction(
                    stage=masking_pb2.MASKING_STAGE_MASK,
                    seats=delivery.shared,
                    sealed=delivered_to_proto(delivery.sealed),
                )
            case Stage.CONSENT:
                return federation_pb2.StageInstruction(
                    stage=masking_pb2.MASKING_STAGE_CONSENT, masked=masked_to_proto(total.masked)
                )
            case _:
                return federation_pb2.StageInstruction(
                    stage=masking_pb2.MASKING_STAGE_UNMASK, consents=consents_to_proto(total.consents)
                )

    def released(self) -> Released:
        inputs = inputs_of(self.attempt.parameters).sha256
        data = fixed_point.to_bytes(self.words)
        return Released(RoundKey("run-1", 1, 0), P.model_sha256, inputs, data, len(self.words), None, "said")

    def answer(self, bank: Attempts) -> bytes:
        """This bank's answer to the present stage goes in; its bytes."""
        total = self.attempt.sum
        if total.stage is Stage.MASK:
            masked = bank.mask(self.told(), self.released())
            told = Masked(ME, masked.sha256, masked.masked_signature)
            total.mask(told, fixed_point.from_bytes(masked.data))
            return masked.data
        answer = bank.answer(self.told())
        {Stage.SHARE: total.share, Stage.CONSENT: total.consent, Stage.UNMASK: total.unmask}[total.stage](answer)  # type: ignore[operator]  # each takes its own kind
        return repr(answer).encode()


def test_an_attempt_goes_through_all_stages_to_the_exact_sum_though_the_bank_restarts_before_each(
    tmp_path: Path,
) -> None:
    others = Others(attempts(tmp_path))
    others.step()
    while others.attempt.sum.stage <= Stage.UNMASK:
        restarted = attempts(tmp_path)
        begin(restarted)  # as the aggregator tells a bank that comes back
        others.answer(restarted)
        if others.attempt.sum.stage is Stage.UNMASK:
            break
        others.step()
    for seat, bank in others.attempt.banks.items():
        others.attempt.answer(seat, bank)
    assert others.attempt.sum.open().tolist() == added(others.attempt.words, P.cohort)


def test_a_bank_that_restarts_says_the_same_again_at_every_stage(tmp_path: Path) -> None:
    first = attempts(tmp_path)
    others = Others(first)
    assert begin(attempts(tmp_path)) == begin(first)
    others.step()
    while True:
        said = others.answer(first)
        again = attempts(tmp_path)
        begin(again)
        if others.attempt.sum.stage is Stage.MASK:
            assert again.mask(others.told(), others.released()).data == said
        else:
            assert repr(again.answer(others.told())).encode() == said
        if others.attempt.sum.stage is Stage.UNMASK:
            break
        others.step()


def test_a_bank_that_lost_its_state_advertises_another_key_and_is_noticed(tmp_path: Path) -> None:
    others = Others(attempts(tmp_path))
    (tmp_path / "attempt.json").unlink()
    with pytest.raises(
        Conflict, match="a seat answers a stage once, got a second, different Advertisement from bank-03"
    ):
        others.attempt.sum.advertise(begin(attempts(tmp_path)))


def test_a_stage_of_an_attempt_that_the_bank_is_not_in_is_refused(tmp_path: Path) -> None:
    told = federation_pb2.StageInstruction(stage=masking_pb2.MASKING_STAGE_CONSENT)
    with pytest.raises(Conflict, match="the attempt that the bank takes part in, it takes part in none"):
        attempts(tmp_path).answer(told)


def test_an_attempt_whose_parameters_change_under_way_is_refused(tmp_path: Path) -> None:
    begin(attempts(tmp_path))
    with pytest.raises(Conflict, match="an attempt must stay what it was, got other parameters for run-1"):
        begin(attempts(tmp_path), replace(P, word_count=9))


def test_what_was_opened_is_on_disk_before_the_consent_and_stays_when_the_attempt_goes(tmp_path: Path) -> None:
    bank = attempts(tmp_path)
    others = Others(bank)
    others.step()
    others.answer(bank)
    assert not (tmp_path / "openings.bin").exists()
    others.step()
    others.answer(bank)  # the masked words: two figures left
    assert (tmp_path / "openings.bin").stat().st_size == 64 * (1 + 2)
    others.step()
    others.answer(bank)  # the consent: the run's last round, and over whom the two figures were opened
    assert (tmp_path / "openings.bin").stat().st_size == 64 * (1 + 2 + 3)
    bank.erase()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["openings.bin", "roster.json"]
    fewer = parameters_of(4, federation_id=FEDERATION, round=2)
    larger = replace(parameters_of(5, federation_id=FEDERATION), round=3)
    begin(attempts(tmp_path), fewer)  # the same figures over the same banks say nothing new
    with pytest.raises(OpenedBefore, match=r"figures must be opened over the same banks and rows each time"):
        begin(attempts(tmp_path), larger)


def test_a_torn_record_of_an_opening_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "openings.bin").write_bytes(FORMAT + b"torn")
    attempts(tmp_path)
    assert (tmp_path / "openings.bin").read_bytes() == FORMAT


def test_a_consent_whose_opening_cannot_be_written_does_not_leave(tmp_path: Path) -> None:
    bank = attempts(tmp_path)
    others = Others(bank)
    for _ in range(2):
        others.step()
        others.answer(bank)
    others.step()
    path, whole = tmp_path / "openings.bin", (tmp_path / "openings.bin").read_bytes()
    refusal = "an opening must be on disk before it is agreed to"
    with no_file_beyond(len(whole) + 20), pytest.raises(NotStored, match=refusal):
        others.answer(bank)
    assert path.read_bytes() == whole  # the part that fitted is gone: records after it would be out of step
    others.answer(bank)
    assert path.stat().st_size == 64 * (1 + 2 + 3)


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    begin(attempts(tmp_path))
    assert (tmp_path / "attempt.json").stat().st_mode & 0o777 == 0o600


def test_a_roster_is_pinned_at_first_use(tmp_path: Path) -> None:
    begin(attempts(tmp_path))
    keys = {**roster_of(4).keys, "bank-01": bytes(range(32))}
    changed = Roster.of(keys)
    other = replace(P, round=2, roster_sha256=changed.sha256)
    with pytest.raises(Invalid, match="bank-01 must keep its signing key"):
        attempts(tmp_path).advertise(other, changed, inputs_of(other))


def test_in_strict_mode_no_other_roster_than_the_file_is_believed(tmp_path: Path) -> None:
    file = tmp_path / "given.json"
    file.write_bytes(stored.to_bytes(roster_of(4)))
    begin(attempts(tmp_path, roster_file=file))
    five = parameters_of(5, federation_id=FEDERATION, round=2)
    with pytest.raises(Invalid, match="a roster must be the bank's own"):
        begin(attempts(tmp_path, roster_file=file), five)
    for content in (b"no roster", None):
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        with pytest.raises(Misconfigured):
            attempts(tmp_path, roster_file=file)


def test_a_cohort_below_the_banks_own_minimum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="a cohort must have at least 5 banks, got 4"):
        begin(attempts(tmp_path, min_cohort=5))


def test_masked_words_are_not_the_banks_own(tmp_path: Path) -> None:
    bank = attempts(tmp_path)
    others = Others(bank)
    others.step()
    others.answer(bank)
    others.step()
    masked = bank.mask(others.told(), others.released())
    assert masked.record == "masked: said"
    assert not (fixed_point.from_bytes(masked.data) == others.words).any()
    assert np.array_equal(fixed_point.from_bytes(others.released().data), others.words)


def test_figures_that_left_masked_are_not_sent_in_another_attempt_though_nobody_asked_for_consent(
    tmp_path: Path,
) -> None:
    """Others may have opened them: a further attempt over fewer banks would show the difference."""
    bank = attempts(tmp_path)
    others = Others(bank)
    others.step()
    others.answer(bank)
    others.step()
    bank.mask(others.told(), others.released())
    bank.erase()
    for again in (P, replace(P, attempt=1), replace(P, round=2), replace(P, run_id="run-2")):
        with pytest.raises(OpenedBefore, match=r"figures must be opened over the same banks and rows .* got evaluate "):
            begin(attempts(tmp_path), again)


@pytest.mark.parametrize(
    "change",
    [
        {"model_sha256": bytes(32)},
        {"task_sha256": bytes(32)},
        {"clip": 2.0},
        {"segments": ("standardise",)},
        {"sources": (bytes(32), bytes(32))},
        {"data_sha256": bytes(32)},
        {"word_count": 9},
    ],
)
def test_words_that_follow_from_anything_else_are_not_masked_for_this_attempt(
    tmp_path: Path, change: dict[str, object]
) -> None:
    """Else figures could be opened twice, the second time by the name of other ones."""
    bank = attempts(tmp_path)
    others = Others(bank)
    others.step()
    others.answer(bank)
    others.step()
    kept = replace(inputs_of(P), **change).sha256  # type: ignore[arg-type]  # of the field's kind
    with pytest.raises(Conflict, match="a contribution must be to the attempt's own task, got one to run-1/"):
        bank.mask(others.told(), replace(others.released(), inputs_sha256=kept))


def test_words_of_another_round_or_task_are_not_masked_for_this_one(tmp_path: Path) -> None:
    bank = attempts(tmp_path)
    others = Others(bank)
    others.step()
    others.answer(bank)
    others.step()
    for other in ({"key": RoundKey("run-1", 2, 0)}, {"inputs_sha256": bytes(32)}):
        with pytest.raises(Conflict, match="a contribution must be to the attempt's own task, got one to run-1/"):
            bank.mask(others.told(), replace(others.released(), **other))
    told = others.told()
    told.key.round = 2
    with pytest.raises(Conflict, match="a stage must be of the attempt that the bank takes part in, got one of "):
        bank.mask(told, others.released())


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"task_sha256": bytes(32)}, "a task hash must be that of the task the bank was given"),
        ({"clip": 1e-12}, "an update must be clipped by the bank's own clip, 4.0, got 1e-12"),
    ],
)
def test_a_bank_that_was_asked_for_something_else_than_the_others_takes_no_part(
    tmp_path: Path, change: dict[str, object], rule: str
) -> None:
    """A recipe that leaves nine banks' updates at 0 would open the tenth's alone."""
    inputs = replace(inputs_of(P), **change)  # type: ignore[arg-type]  # of the field's kind
    with pytest.raises(Invalid, match=rule):
        attempts(tmp_path).advertise(P, roster_of(4), inputs)


def test_an_attempt_goes_on_after_a_restart_with_the_figures_that_it_began_with_alone(tmp_path: Path) -> None:
    begin(attempts(tmp_path))
    others = replace(inputs_of(P), data_sha256=bytes(32))
    with pytest.raises(Conflict, match="an attempt must stay what it was"):
        attempts(tmp_path).advertise(P, roster_of(4), others)


def test_a_round_that_is_over_is_not_begun_any_more(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="an attempt must be of the round that the bank answers, run-1's is over"):
        attempts(tmp_path).advertise(P, roster_of(4), inputs_of(P), lambda: False)
    assert list(tmp_path.iterdir()) == []


def test_openings_of_another_version_are_not_forgotten_but_refused(tmp_path: Path) -> None:
    (tmp_path / "openings.bin").write_bytes(bytes(64))
    with pytest.raises(Misconfigured, match=r"^openings must be of this version of fedfraud, .*: enrol "):
        attempts(tmp_path)


def test_an_attempt_that_cannot_be_read_is_begun_anew_and_said(tmp_path: Path) -> None:
    begin(attempts(tmp_path))
    (tmp_path / "attempt.json").write_bytes(b"{}\n")
    begin(attempts(tmp_path))
