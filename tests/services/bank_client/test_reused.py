"""Memory that is lent again: only when nobody sees it any more, whatever was made of it."""

import gc
from collections.abc import Callable

import numpy as np
import pytest

from services.bank_client.reused import Reused


def address(data: memoryview) -> int:
    return np.frombuffer(data, np.uint8).ctypes.data


def test_memory_that_nobody_has_is_lent_again_for_the_same_length_alone() -> None:
    memory = Reused()
    first = address(memory.lend(1000))
    gc.disable()  # a cycle would keep it until the collector comes
    try:
        assert address(memory.lend(1000)) == first
    finally:
        gc.enable()
    assert len(memory.lend(2000)) == 2000


@pytest.mark.parametrize(
    "make",
    [
        lambda data: data,
        lambda data: data[10:20],
        lambda data: np.frombuffer(data, "<f4"),
        lambda data: np.frombuffer(data, "<f4")[3:7].reshape(2, 2),
        lambda data: np.frombuffer(data, "<f4").view(np.uint32),
    ],
    ids=["itself", "a part", "a vector", "a part of a vector", "a vector of another kind"],
)
def test_memory_that_somebody_has_is_not_written_over(make: Callable[[memoryview], memoryview]) -> None:
    memory = Reused()
    data = memory.lend(1000)
    data[:] = b"a" * 1000
    seen = make(data)
    del data
    memory.lend(1000)[:] = b"b" * 1000
    assert set(bytes(seen)) == {ord("a")}
    del seen
    lent = address(memory.lend(1000))
    assert address(memory.lend(1000)) == lent
