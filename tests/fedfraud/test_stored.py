"""Dataclasses as bytes and back: exactly, and nothing else is taken for one."""

from dataclasses import dataclass, replace

import pytest

from fedfraud import stored
from fedfraud.errors import Invalid


@dataclass(frozen=True)
class Leaf:
    name: str
    data: bytes = b""


@dataclass(frozen=True)
class Tree:
    leaves: tuple[Leaf, ...]
    names: tuple[str, ...]
    height: float
    count: int
    green: bool
    crown: Leaf | None = None


TREE = Tree((Leaf("a", b"\x00\xff"), Leaf("ü")), ("x",), 0.1, 2**64, True)


def test_what_was_stored_comes_back() -> None:
    assert stored.from_bytes(Tree, stored.to_bytes(TREE)) == TREE


def test_what_may_be_none_is_none_or_what_it_was() -> None:
    crowned = replace(TREE, crown=Leaf("c"))
    assert stored.from_bytes(Tree, stored.to_bytes(crowned)) == crowned
    assert b'"crown":null' in stored.to_bytes(TREE)
    with pytest.raises(Invalid):
        stored.from_bytes(Tree, stored.to_bytes(TREE).replace(b'"crown":null', b'"crown":"c"'))


def test_equal_values_have_equal_bytes() -> None:
    assert stored.to_bytes(stored.from_bytes(Tree, stored.to_bytes(TREE))) == stored.to_bytes(TREE)


def test_the_bytes_can_be_read_by_a_person() -> None:
    assert stored.to_bytes(Leaf("a", b"\x00\xff")) == (
        b'{"kind":"Leaf","value":{"data":"00ff","name":"a"},"version":1}'
    )


def test_a_whole_number_counts_as_a_float_where_one_belongs() -> None:
    changed = stored.to_bytes(TREE).replace(b'"height":0.1', b'"height":4')
    assert repr(stored.from_bytes(Tree, changed).height) == "4.0"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"version":1', b'"version":2'),
        (b'"kind":"Tree"', b'"kind":"Leaf"'),
        (b'"count":', b'"number":'),
        (b'"green":true', b'"green":1'),
        (b'"green":true,', b""),
        (b'"data":"00ff"', b'"data":"0"'),
        (b'"data":"00ff"', b'"data":7'),
        (b'["x"]', b'"x"'),
        (b'["x"]', b"[1]"),
        (b'{"kind"', b"{kind"),
        (b'"value":{', b'"values":{'),
    ],
)
def test_other_bytes_are_refused(before: bytes, after: bytes) -> None:
    data = stored.to_bytes(TREE)
    assert before in data
    with pytest.raises(Invalid, match="stored bytes must be version 1 of a Tree, got"):
        stored.from_bytes(Tree, data.replace(before, after))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\x80", b"[" * 100_000])
def test_bytes_that_are_no_object_are_refused(data: bytes) -> None:
    with pytest.raises(Invalid, match="stored bytes must be version 1 of a Tree"):
        stored.from_bytes(Tree, data)
