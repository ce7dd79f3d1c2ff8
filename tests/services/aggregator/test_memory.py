"""The share of each transfer, and how many arenas a process's threads allocate from."""

import platform
import subprocess
import sys

import pytest

from services.aggregator.memory import Room

_THREADS = """
import re, sys, threading, ctypes
{first}
malloc = ctypes.CDLL(None).malloc
malloc.restype, held, go = ctypes.c_void_p, [], threading.Barrier(6)
def hold():
    held.append(malloc(5000))
    go.wait()
threads = [threading.Thread(target=hold) for _ in range(6)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len({{address >> 26 for address in held}}))
"""


def test_the_share_of_each_falls_with_their_number_and_not_to_nothing() -> None:
    room, found = Room(8 << 20, 1 << 16, 1 << 18), []
    for room.transfers in (0, 1, 32, 64, 128, 4096):
        found.append(room.share)
    assert found == [2**18, 2**18, 2**18, 2**17, 2**16, 2**16]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library has no arenas of this kind")
def test_threads_share_two_arenas() -> None:
    def arenas(first: str) -> int:
        code = _THREADS.format(first=first)
        return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

    assert arenas("") > 2
    assert arenas("from services.aggregator.memory import share_memory; share_memory()") <= 2
