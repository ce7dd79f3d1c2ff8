"""What an attempt is about is one hash, and weak parameters cannot even be written down."""

from dataclasses import fields, replace
from hashlib import sha256

import pytest

from fedfraud import stored
from fedfraud.errors import Invalid
from fedfraud.masking_keys import framed
from fedfraud.masking_parameters import Misbehaved, Parameters, Roster, SeatKey, check_roster
from tests.fedfraud.masked_round import parameters_of, roster_of

P = parameters_of(10)


def test_the_transcript_is_specified_to_the_byte() -> None:
    data = framed(
        "transcript",
        P.federation_id,
        "run-1",
        1,
        0,
        P.model_sha256,
        P.task_sha256,
        P.roster_sha256,
        P.cohort,
        8,
        ("evaluate", "train"),
        24,
        4.0,
        2**20,
        7,
        9,
        7,
        2**64,
        "secure",
    )
    assert P.transcript_sha256 == sha256(data).digest()


CHANGES: dict[str, object] = {
    "federation_id": bytes(32),
    "run_id": "run-2",
    "round": 2,
    "attempt": 1,
    "model_sha256": b"",
    "task_sha256": sha256(b"another task").digest(),
    "roster_sha256": bytes(32),
    "cohort": tuple(sorted([*P.cohort[:9], "bank-11"])),
    "word_count": 9,
    "segments": ("train",),
    "fraction_bits": 23,
    "clip": 2.0,
    "weight_cap": 2**19,
    "minimum": 8,
}


@pytest.mark.parametrize("name", CHANGES)
def test_any_other_value_gives_another_transcript(name: str) -> None:
    assert replace(P, **{name: CHANGES[name]}).transcript_sha256 != P.transcript_sha256  # type: ignore[arg-type]  # of the field's kind


def test_every_field_is_bound_or_follows_from_the_cohort() -> None:
    """A threshold for ten banks is 7 and nothing else, the modulus and the mode are one."""
    assert {field.name for field in fields(Parameters)} == CHANGES.keys() | {"holders", "threshold", "modulus", "mode"}


def test_a_whole_clip_is_the_same_as_a_float() -> None:
    assert replace(P, clip=4).transcript_sha256 == P.transcript_sha256


def test_parameters_come_back_from_bytes() -> None:
    assert stored.from_bytes(Parameters, stored.to_bytes(P)) == P


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cohort": P.cohort[:3]}, "a masked sum must have a cohort of at least 4 banks, got 3"),
        ({"cohort": P.cohort[::-1]}, "a cohort must be sorted and name each seat once, got bank-10"),
        ({"cohort": (*P.cohort[:9], "bank-09")}, "a cohort must be sorted and name each seat once"),
        ({"threshold": 6}, "a threshold must be 7 of 10 banks, got 6"),
        ({"threshold": 8}, "a threshold must be 7 of 10 banks, got 8"),
        ({"holders": 8}, "holders must be 9 of 10 banks, got 8"),
        ({"minimum": 6}, "a minimum must be 7 to 10, got 6"),
        ({"minimum": 11}, "a minimum must be 7 to 10, got 11"),
        ({"modulus": 2**32}, "a modulus must be 18446744073709551616, got 4294967296"),
        ({"mode": "plain"}, "a mode must be 'secure', got 'plain'"),
        ({"federation_id": b""}, "a federation id must be 32 bytes, got ''"),
        ({"run_id": ""}, "a run id must be 1 to 64 characters, got ''"),
        ({"round": -1}, "a round must be 0 or more, got -1"),
        ({"attempt": -1}, "an attempt must be 0 or more, got -1"),
        ({"model_sha256": b"m"}, "a model hash must be 32 bytes or none"),
        ({"task_sha256": b""}, "a task hash must be 32 bytes, got ''"),
        ({"roster_sha256": b""}, "a roster hash must be 32 bytes"),
        ({"word_count": 0}, "words must be at least 1, got 0"),
        ({"segments": ()}, "segments must be one or more"),
        ({"fraction_bits": 64}, "fraction bits must be 0 to 63, got 64"),
        ({"clip": 0.0}, "a clip must be above 0 and finite, got 0.0"),
        ({"clip": float("nan")}, "a clip must be above 0 and finite, got nan"),
        ({"weight_cap": 0}, "a weight cap must be at least 1, got 0"),
    ],
)
def test_parameters_that_break_a_rule_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        replace(P, **change)  # type: ignore[arg-type]  # of the field's kind


def test_the_quorum_and_the_places_follow_from_the_cohort() -> None:
    assert P.quorum == 7
    assert [P.place(seat) for seat in P.cohort] == list(range(1, 11))
    assert P.is_complete
    assert not parameters_of(100).is_complete


def test_a_roster_has_one_hash_in_whatever_order_it_was_given() -> None:
    keys = roster_of(4).keys
    assert Roster.of(dict(reversed(keys.items()))).sha256 == roster_of(4).sha256
    assert roster_of(5).sha256 != roster_of(4).sha256


def test_a_rosters_hash_is_specified_to_the_byte() -> None:
    entries = tuple((entry.seat, entry.public_key) for entry in roster_of(4).entries)
    assert roster_of(4).sha256 == sha256(framed("roster", entries)).digest()


def test_a_roster_has_each_seat_and_each_key_once() -> None:
    with pytest.raises(Invalid, match="a roster must be sorted and name each seat once"):
        Roster(roster_of(4).entries[::-1])
    with pytest.raises(Invalid, match="a roster's keys must differ, got one for two seats"):
        Roster.of({"bank-01": bytes(32), "bank-02": bytes(32)})
    with pytest.raises(Misbehaved, match="a signing key must be 32 bytes, got 31 from bank-01"):
        Roster((SeatKey("bank-01", bytes(31)),))


def test_a_cohort_is_of_the_roster_that_the_parameters_name() -> None:
    check_roster(P, roster_of(10))
    with pytest.raises(Invalid, match="a roster must be the parameters'"):
        check_roster(P, roster_of(11))
    with pytest.raises(Invalid, match="a cohort must be in the roster, got bank-09, bank-10"):
        check_roster(replace(P, roster_sha256=roster_of(8).sha256), roster_of(8))
