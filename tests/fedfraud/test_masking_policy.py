"""A bank's own word: what it insists on, whatever it is asked, and what it opens once and never again."""

from dataclasses import replace

import pytest

from fedfraud import stored
from fedfraud.errors import Invalid, Stale
from fedfraud.masking_parameters import Parameters, Roster
from fedfraud.masking_policy import OpenedBefore, Openings, Policy
from tests.fedfraud.masked_round import DATA, inputs_of, opened, parameters_of, policy_of, roster_of

P = parameters_of(10)
STRICT = policy_of(10)
FIRST_USE = replace(STRICT, strict=False, roster=Roster(()))
OTHER_DATA = bytes(32)


def check(parameters: Parameters, policy: Policy = STRICT, roster: Roster | None = None) -> None:
    policy.check(parameters, roster or roster_of(10), "bank-03", inputs_of(P))


def test_an_attempt_as_the_bank_expects_it_is_allowed() -> None:
    check(P)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"federation_id": bytes(32)}, "a federation must be the bank's own, [0-9a-f]{12}, got 000000000000"),
        ({"model_sha256": b""}, "a model hash must be that of the model the bank holds, [0-9a-f]{12}, got none"),
        ({"segments": ("train",)}, r"segments must be those asked for, \('evaluate', 'train'\), got \('train',\)"),
        ({"word_count": 9}, "words must be those of the segments, 8, got 9"),
        ({"fraction_bits": 8}, "fraction bits must be the bank's own, 24, got 8"),
        ({"clip": 4000.0}, "a clip must be the bank's own, 4.0, got 4000.0"),
        ({"weight_cap": 2**40}, "a weight cap must be the bank's own, 1048576, got 1099511627776"),
        ({"roster_sha256": bytes(32)}, "a roster must be the parameters'"),
    ],
)
def test_other_values_than_the_banks_own_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        check(replace(P, **change))  # type: ignore[arg-type]  # of the field's kind


def test_a_cohort_smaller_than_the_bank_allows_is_refused() -> None:
    check(P, replace(STRICT, min_cohort=10))
    with pytest.raises(Invalid, match="a cohort must have at least 11 banks, got 10"):
        check(P, replace(STRICT, min_cohort=11))


def test_a_cohort_without_the_bank_is_refused() -> None:
    with pytest.raises(Invalid, match="a cohort must have the bank itself, bank-11"):
        STRICT.check(P, roster_of(10), "bank-11", inputs_of(P))


def test_in_strict_mode_the_roster_is_the_file() -> None:
    larger = replace(P, roster_sha256=roster_of(11).sha256)
    with pytest.raises(Invalid, match="a roster must be the bank's own"):
        check(larger, STRICT, roster_of(11))


def test_at_first_use_a_roster_may_grow_and_is_remembered() -> None:
    pinned = FIRST_USE.pinned(roster_of(10))
    assert pinned.roster == roster_of(10)
    assert pinned.pinned(roster_of(11)).roster == roster_of(11)
    assert pinned.pinned(roster_of(9)).roster == roster_of(10)


def test_at_first_use_a_known_seat_keeps_its_key() -> None:
    changed = Roster.of({**roster_of(10).keys, "bank-04": bytes(32)})
    with pytest.raises(Invalid, match=r"bank-04 must keep its signing key, [0-9a-f]{12}, got 000000000000"):
        check(replace(P, roster_sha256=changed.sha256), FIRST_USE.pinned(roster_of(10)), changed)


def unopened(parameters: Parameters, openings: Openings, data: bytes = DATA, policy: Policy = STRICT) -> None:
    policy.check_unopened(parameters, inputs_of(parameters, data).figures, openings, parameters.cohort)


def test_a_round_is_opened_once_and_rounds_only_go_on() -> None:
    known = opened(replace(P, round=5))
    unopened(replace(P, round=6), known)
    for number in (0, 4, 5):
        with pytest.raises(Stale, match=f"a round must come after the last one opened, 5, got {number}"):
            unopened(replace(P, round=number, attempt=3), known)


def test_each_run_counts_its_own_rounds_and_an_earlier_run_is_not_forgotten() -> None:
    known = opened(replace(P, run_id="run-2", round=0), opened(replace(P, round=5)))
    unopened(replace(P, run_id="run-2", round=1), known)
    with pytest.raises(Stale, match="a round must come after the last one opened, 5, got 5"):
        unopened(replace(P, round=5), known)


def test_openings_never_go_back_and_what_is_known_adds_nothing() -> None:
    known = opened(replace(P, round=5))
    assert opened(replace(P, round=3), known).last("run-1") == 5
    assert known.opened(replace(P, round=5), inputs_of(P).figures, P.cohort) == {}
    assert [len(key + value) for key, value in known.records.items()] == [64] * 3  # the run and two figures


@pytest.mark.parametrize("segment", ["count", "standardise", "evaluate", "train"])
def test_figures_are_opened_over_the_same_banks_each_time(segment: str) -> None:
    """Differencing by retry: ten banks' sums in one run, nine's in the next would show the tenth's; and what ten say
    before and after rows came to one of them would show those rows."""
    first = replace(P, segments=(segment,))
    fewer = replace(first, run_id="run-2", cohort=P.cohort[:9], minimum=7, holders=8, threshold=7)
    known = opened(first)
    with pytest.raises(OpenedBefore, match=rf"figures must be opened over the same banks and rows .* got {segment} "):
        unopened(fewer, known)
    unopened(replace(first, run_id="run-2"), known)
    for again in (fewer, replace(first, run_id="run-2")):
        with pytest.raises(OpenedBefore):
            unopened(again, known, OTHER_DATA)


@pytest.mark.parametrize(("segment", "leave"), [("standardise", "reopen_static"), ("count", "reopen_counts")])
def test_a_bank_may_allow_another_cohort_for_its_static_inputs_by_a_setting_for_each(segment: str, leave: str) -> None:
    fewer = replace(P, run_id="run-2", cohort=P.cohort[:9], minimum=7, holders=8, threshold=7)
    allowing = replace(STRICT, **{leave: True})  # type: ignore[arg-type]  # a setting of that name
    static = {"segments": (segment,)}
    other = replace(STRICT, reopen_static=segment != "standardise", reopen_counts=segment != "count")
    unopened(replace(fewer, **static), opened(replace(P, **static)), policy=allowing)  # type: ignore[arg-type]  # of the field's kind
    with pytest.raises(OpenedBefore):  # the other's leave is not its own
        unopened(replace(fewer, **static), opened(replace(P, **static)), policy=other)  # type: ignore[arg-type]  # of the field's kind
    with pytest.raises(OpenedBefore):
        unopened(fewer, opened(P), policy=allowing)  # an update is not static


def test_a_policy_comes_back_from_bytes() -> None:
    assert stored.from_bytes(Policy, stored.to_bytes(STRICT)) == STRICT
