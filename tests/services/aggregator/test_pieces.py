"""How vectors leave: at once what is in memory, by another thread what is not, never less than all, and each piece once
for those who are close to each other."""

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from fedfraud.chunks import read_piece
from services.aggregator import pieces
from services.aggregator.pieces import Pieces

DATA = b"".join(number.to_bytes(4) for number in range(1 << 16))  # 256 KiB


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "vector").write_bytes(DATA)
    return tmp_path / "vector"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One transfer has pieces of 1,000 bytes, two have pieces of 500; four pieces of 1,000 are kept."""
    monkeypatch.setattr(pieces, "_TOGETHER_BYTES", 1000)
    monkeypatch.setattr(pieces, "_LEAST_BYTES", 10)
    monkeypatch.setattr(pieces, "_KEPT_BYTES", 4000)


async def rest(messages: AsyncGenerator[bytes]) -> bytes:
    async with aclosing(messages):
        return b"".join([read_piece(message) async for message in messages])


@pytest.mark.parametrize("at_once", [pieces._AT_ONCE, 0, 1 << 30], ids=["as here", "cannot tell", "no such flag"])
@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, len(DATA)])
@pytest.mark.usefixtures("small")
async def test_what_is_sent_is_what_is_in_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, size: int
) -> None:
    monkeypatch.setattr(pieces, "_AT_ONCE", at_once)
    os.truncate(path, size)
    assert await rest(Pieces().messages(path)) == DATA[:size]


async def test_a_long_one_is_sent_in_pieces_of_a_mib(path: Path) -> None:
    os.truncate(path, 9 << 18)
    assert [len(read_piece(message)) async for message in Pieces().messages(path)] == [1 << 20, 1 << 20, 1 << 18]


@pytest.mark.usefixtures("small")
async def test_who_follows_closely_gets_the_same_messages(path: Path) -> None:
    shared = Pieces()
    ahead, behind = shared.messages(path), shared.messages(path)
    assert read_piece(await anext(ahead)) == DATA[:1000]
    assert read_piece(await anext(behind)) == DATA[:500]  # there are two now: theirs are half as long
    assert read_piece(await anext(ahead)) == DATA[1000:1500]
    assert read_piece(await anext(behind)) == DATA[500:1000]
    before = [await anext(ahead) for _ in range(5)]
    after = [await anext(behind) for _ in range(6)][1:]
    assert all(sent is sent_again for sent, sent_again in zip(before, after, strict=True))
    assert await rest(behind) == DATA[4000:]


@pytest.mark.usefixtures("small")
async def test_who_began_with_longer_pieces_comes_to_those_of_the_others(path: Path) -> None:
    shared = Pieces()
    ahead, *behind = (shared.messages(path) for _ in range(3))
    assert read_piece(await anext(ahead)) == DATA[:1000]
    for messages in behind:
        await anext(messages)
    assert read_piece(await anext(behind[1])) == DATA[333:666]  # there are three now: theirs are a third as long
    assert read_piece(await anext(ahead)) == DATA[1000:1332]
    assert [read_piece(await anext(behind[1])) for _ in range(2)] == [DATA[666:999], DATA[999:1332]]
    assert await anext(ahead) is await anext(behind[1])
    assert await rest(ahead) == DATA[1665:]


@pytest.mark.usefixtures("small")
async def test_who_follows_from_afar_is_read_to_anew_and_no_more_is_kept_than_said(path: Path) -> None:
    shared = Pieces()
    ahead, behind = shared.messages(path), shared.messages(path)
    for messages in (ahead, behind):
        await anext(messages)
    for _ in range(100):
        await anext(ahead)
        assert sum(map(len, shared._kept.values())) <= 4000 + len(shared._kept) * 3  # each with its length before it
    assert await rest(behind) == DATA[500:]
    assert await rest(ahead) == DATA[1000 + 100 * 500 :]


@pytest.mark.usefixtures("small")
async def test_nothing_is_kept_when_all_have_ended(path: Path) -> None:
    shared = Pieces()
    one, two = shared.messages(path), shared.messages(path)
    for messages in (one, two):
        await anext(messages)
    await one.aclose()
    assert shared._kept
    await two.aclose()
    assert not shared._kept
    assert shared._kept_bytes == 0
    assert read_piece(await anext(shared.messages(path))) == DATA[:1000]  # alone again


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("at_once", [pieces._AT_ONCE, 0], ids=["as here", "cannot tell"])
async def test_a_file_that_got_shorter_ends_the_answer_with_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(pieces, "_AT_ONCE", at_once)
    messages = Pieces().messages(path)
    await anext(messages)
    os.truncate(path, 1500)
    with pytest.raises(EOFError, match=r"must stay as long as it is, .* ends at 1500"):
        await rest(messages)
