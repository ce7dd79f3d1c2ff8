"""The release door: what is out of bounds or incomplete does not leave the bank."""

import hashlib

import numpy as np
import pytest

from fedfraud import fixed_point
from fedfraud.errors import Invalid
from fedfraud.fixed_point import EvaluateCodec, Segment, TrainCodec
from fedfraud.layout import Layout
from fedfraud.manifest import Manifest
from fedfraud.packing import Packing
from fedfraud.recipe import Recipe
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.transactions import Feature
from fedfraud.v1 import federation_pb2
from fedfraud.wire import Disclosure, RoundKey, disclosure_from_proto, round_key_from_proto
from services.bank_client.release import PROTECTIONS, Released, ReleaseDoor

Request = federation_pb2.SubmitContributionRequest

MANIFEST = Manifest("two", (Feature("a", "euro", 0.01), Feature("b", "euro", 0.01)), (1,))
PARAMETERS = 2 * 1 + 1 + 1 + 1
RECIPE = Recipe("r", 0.1, 8, clip=4.0)
KEY, MODEL, TASK = RoundKey("run", 2, 1), b"m" * 32, b"t" * 32
LABELS = np.array([False, True])
NOT_FINITE = [float("nan"), float("inf"), -float("inf")]


def words_of(released: Released, *segments: Segment) -> fixed_point.Words:
    return Packing(Layout(segments, MANIFEST, RECIPE)).unpack(released.data)


def door(*segments: Segment) -> ReleaseDoor:
    return ReleaseDoor(Layout(segments, MANIFEST, RECIPE), KEY, MODEL, TASK)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_row_that_is_not_finite_stays_in_the_bank(value: float) -> None:
    features = np.array([[1.0, 2.0], [3.0, value]])
    opened = door(Segment.STANDARDISE)
    with pytest.raises(Invalid, match=rf"^a value must be finite and below 2\*\*40 resolutions, got {value} in row 1"):
        opened.standardise(features, LABELS)
    with pytest.raises(Invalid, match="standardise is missing"):
        opened.release(None)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_whether_scores_and_updates_leave_does_not_tell_on_which_rows_a_model_overflows(value: float) -> None:
    update = np.zeros(PARAMETERS, np.float32)
    update[3] = value
    opened = door(Segment.EVALUATE, Segment.TRAIN)
    opened.evaluate(np.array([0.0, value]), LABELS)
    opened.train(update, 3)
    layout = Layout((Segment.EVALUATE, Segment.TRAIN), MANIFEST, RECIPE)
    words = words_of(opened.release(None), *layout.codecs)
    layout.check(words)
    legitimate, frauds = EvaluateCodec().decode(layout.part(words, Segment.EVALUATE))
    assert (legitimate.sum(), frauds.sum()) == (1, 1)
    assert frauds[-1 if value > 0 else 0] == 1


@pytest.mark.parametrize("value", [*NOT_FINITE, -0.1, 1.1])
def test_a_disclosure_that_is_no_share_cannot_be_made(value: float) -> None:
    for name in ("fraud_rate", "alone", "federated", "alone_holdout", "federated_holdout"):
        with pytest.raises(Invalid, match=f"^a disclosed {name} must be 0 to 1, got {value}$"):
            Disclosure(**{name: value})  # type: ignore[arg-type]  # a name for its value


def test_a_weight_out_of_bounds_stays_in_the_bank() -> None:
    for weight in (0, -1, 2**20 + 1):
        with pytest.raises(Invalid, match=f"^a weight must be 1 to 1048576, got {weight}$"):
            door(Segment.TRAIN).train(np.zeros(PARAMETERS, np.float32), weight)


def test_every_coordinate_is_clipped_and_counted() -> None:
    opened = door(Segment.TRAIN)
    opened.train(np.array([5, -5, 4, -4, 0], np.float32), 3)
    summed = TrainCodec(PARAMETERS, 4.0).decode(words_of(opened.release(None), Segment.TRAIN))
    assert summed.average.tolist() == [4.0, -4.0, 4.0, -4.0, 0.0]
    assert (summed.weight, summed.clipped) == (3, 2)


def test_the_segments_leave_in_the_layouts_order_whatever_order_they_came_in() -> None:
    opened = door(Segment.EVALUATE, Segment.TRAIN)
    opened.train(np.ones(PARAMETERS, np.float32), 1)
    opened.evaluate(np.array([-1.0, 1.0]), LABELS)
    released = opened.release(None)
    words = words_of(released, Segment.EVALUATE, Segment.TRAIN)
    legitimate, fraud = EvaluateCodec().decode(words[: EvaluateCodec().length])
    assert (legitimate.sum(), fraud.sum(), len(words)) == (1, 1, 2 * 8192 + PARAMETERS + 2)
    assert released.sha256 == hashlib.sha256(released.data).digest()


def test_a_contribution_leaves_whole_or_not_at_all() -> None:
    opened = door(Segment.EVALUATE, Segment.TRAIN)
    with pytest.raises(Invalid, match=r"^a contribution must have all its segments, evaluate, train is missing$"):
        opened.release(None)
    opened.evaluate(np.array([-1.0, 1.0]), LABELS)
    with pytest.raises(Invalid, match=r"^a contribution must have all its segments, train is missing$"):
        opened.release(None)


def test_sums_of_rows_are_what_standardise_lets_out() -> None:
    opened = door(Segment.STANDARDISE)
    opened.standardise(np.array([[1.0, 10.0], [3.0, 10.0]]), LABELS)
    codec = StandardiseCodec((0.01, 0.01))
    summed = codec.decode(fixed_point.from_bytes(opened.release(None).data))
    assert summed.means.tolist() == [2.0, 10.0]
    assert summed.deviations.tolist() == [1.0, 1.0]  # the second is constant
    assert (summed.row_count, summed.fraud_count) == (2, 1)


def test_an_upload_is_one_header_and_chunks_of_the_length_that_is_asked_for() -> None:
    data = bytes(range(256)) * 4096 + bytes(8)  # a mebibyte and a word
    released = Released(KEY, MODEL, TASK, data, 7, Disclosure(row_count=5, fraud_rate=0.2), "")
    first, *chunks = map(Request.FromString, released.requests(3, 2**14))
    header = first.header
    assert round_key_from_proto(header.key) == KEY
    assert (header.fencing_number, header.model_sha256, header.word_count) == (3, MODEL, 7)
    assert header.vector_sha256 == released.sha256
    assert disclosure_from_proto(header.disclosure) == released.disclosure
    assert [len(request.chunk) for request in chunks] == [2**14] * 64 + [8]
    assert b"".join(request.chunk for request in chunks) == data
    whole = Request.FromString(released.whole(3)).whole
    assert (whole.header, whole.data) == (header, data)


def test_a_bank_that_discloses_nothing_sends_no_disclosure() -> None:
    first = Request.FromString(next(Released(KEY, MODEL, TASK, b"", 0, None, "").requests(1, 2**14)))
    assert not first.header.HasField("disclosure")


def test_every_segment_names_its_protection() -> None:
    assert PROTECTIONS.keys() == set(Segment)


def test_a_release_says_what_left_how_large_it_is_and_what_protects_it() -> None:
    opened = door(Segment.STANDARDISE)
    opened.standardise(np.array([[1.0, 10.0], [3.0, 10.0]]), LABELS)
    # 2 features x 2 sums x 4 limbs, rows and frauds: 18 words of 8 bytes
    alone = "standardise, 144 bytes: sums over all training rows"
    assert opened.release(None).record == alone
    named = "disclosure: figures by choice, in the bank's own name"
    assert opened.release(Disclosure(row_count=2)).record == f"{alone}; {named}"


@pytest.mark.parametrize(("masked", "size"), [(False, 4 * PARAMETERS + 16), (True, 8 * PARAMETERS + 16)])
def test_a_release_names_the_bytes_that_leave_packed_or_to_be_masked(masked: bool, size: int) -> None:
    opened = ReleaseDoor(Layout((Segment.TRAIN,), MANIFEST, RECIPE), KEY, MODEL, TASK, masked=masked)
    opened.train(np.ones(PARAMETERS, np.float32), 3)
    released = opened.release(None)
    assert len(released.data) == size
    assert released.record.startswith(f"train, {size} bytes: ")


@pytest.mark.parametrize("disclosure", [None, Disclosure(row_count=5, fraud_rate=0.2)])
def test_a_contribution_that_was_stored_is_the_same_when_it_is_sent(disclosure: Disclosure | None) -> None:
    released = Released(KEY, MODEL, TASK, b"8 bytes!", 1, disclosure, "said when it was made")
    again = Released.from_bytes(released.to_bytes())
    assert list(again.requests(3, 8)) == list(released.requests(3, 8))
    assert (again.key, again.model_sha256, again.inputs_sha256, again.disclosure) == (KEY, MODEL, TASK, disclosure)


def test_a_stored_contribution_of_which_a_byte_is_lost_or_changed_is_not_sent() -> None:
    stored = Released(KEY, MODEL, TASK, bytes(80), 10, None, "").to_bytes()
    for broken in (b"", stored[:4], stored[:-1], stored[:-1] + b"x", b"\xff" * 40):
        with pytest.raises(Invalid, match=r"^a stored contribution must "):
            Released.from_bytes(broken)
