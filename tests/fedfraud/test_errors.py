"""The tree in the docstring of errors.py is the tree of its classes."""

import re

import grpc

from fedfraud import errors

DRAWN = re.findall(r"^    [├└]── (\w+) +(\(never on the wire\)|[A-Z_]+)  ", errors.__doc__ or "", re.MULTILINE)
CLASSES = {
    cls.__name__: cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, errors.FedfraudError)
}


def test_the_tree_lists_every_class_once() -> None:
    names = [name for name, _ in DRAWN]
    assert len(names) == 12
    assert sorted([*names, "FedfraudError"]) == sorted(CLASSES)


def test_each_class_has_the_status_that_the_tree_gives_and_no_other_class_has_it() -> None:
    statuses = {name: CLASSES[name].status.name for name, status in DRAWN if status.isupper()}
    assert statuses == {name: status for name, status in DRAWN if status.isupper()}
    assert len(set(statuses.values())) == len(statuses) == 11


def test_each_class_stands_directly_below_the_root() -> None:
    assert all(CLASSES[name].__bases__ == (errors.FedfraudError,) for name, _ in DRAWN)


def test_what_never_crosses_the_wire_would_show_as_internal() -> None:
    assert [name for name, status in DRAWN if not status.isupper()] == ["Misconfigured"]
    assert errors.Misconfigured.status is errors.FedfraudError.status is grpc.StatusCode.INTERNAL
