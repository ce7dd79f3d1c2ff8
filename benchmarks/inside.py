"""What is asked from inside an image or a container: what imports cost there, and what its service holds.

The text of this file is run there by `python -c`, so it needs nothing but Python's own library.
"""

import builtins
import json
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

Costs = dict[str, list[float]]
"""CPU seconds and MB by package."""
_STATM, _PAGE_BYTES = os.open("/proc/self/statm", os.O_RDONLY), os.sysconf("SC_PAGE_SIZE")
PYTHON = "Python's own"
OURS = ("services", "fedfraud", "simulation")


def imported(names: Sequence[str]) -> Costs:
    """What importing these adds: of each package its modules' own part, without what they import in their turn."""
    costs: Costs = defaultdict(lambda: [0.0, 0.0])
    within = [[0.0, 0.0]]  # what is taken by imports inside of each import that is going on
    plain = builtins.__import__

    def charged(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        package = str(globals["__package__"]) if level and globals else name
        began = _now()
        within.append([0.0, 0.0])
        try:
            return plain(name, globals, locals, fromlist, level)
        finally:
            spent = [end - begin for begin, end in zip(began, _now(), strict=True)]
            inner, cost = within.pop(), costs[_named(package)]
            for part in (0, 1):
                cost[part] += spent[part] - inner[part]
                within[-1][part] += spent[part]

    builtins.__import__ = charged
    try:
        for name in names:
            charged(name)
    finally:
        builtins.__import__ = plain
    return dict(costs)


def _named(module: str) -> str:
    top = module.partition(".")[0]
    return PYTHON if top in sys.stdlib_module_names else "ours" if top in OURS else top


def _now() -> tuple[float, float]:
    resident = int(os.pread(_STATM, 100, 0).split()[1])
    return time.process_time(), resident * _PAGE_BYTES / 1e6


def held(folder: Path = Path("/proc")) -> dict[str, Any]:
    """Of the Python that runs a service: MB that are resident, of them its own and of files, and the packages that have
    libraries among these."""
    for process in folder.glob("[0-9]*"):
        with suppress(OSError):  # a probe that has ended meanwhile
            if not _serves((process / "cmdline").read_bytes().split(b"\0")):
                continue
            status = dict(re.findall(r"^(\w+):\s+(\d+) kB", (process / "status").read_text(), re.M))
            resident, own, files = (int(status[name]) * 1024 / 1e6 for name in ("VmRSS", "RssAnon", "RssFile"))
            packages = sorted(set(re.findall(r"/site-packages/(\w+)/", (process / "maps").read_text())))
            return {"resident": resident, "own": own, "files": files, "packages": packages}
    raise SystemExit("a process that runs a service must be there, there is none")


def _serves(words: Sequence[bytes]) -> bool:
    """Of a command's words: the container's init has the same ones behind its own name."""
    return words[0].rpartition(b"/")[2].startswith(b"python") and any(word.startswith(b"services.") for word in words)


def answer(words: Sequence[str]) -> dict[str, Any]:
    """To `held`, or to the names of modules: what importing them costs, and then what those behind `then` add."""
    if list(words) == ["held"]:
        return held()
    first, _, later = " ".join(words).partition(" then ")
    begun = list(_now())
    return {"begun": begun, "start-up": imported(first.split()), "later": imported(later.split())}


if __name__ == "__main__":
    print(json.dumps(answer(sys.argv[1:])))
