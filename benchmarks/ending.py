"""How a benchmark ends: at its end, or before it by Ctrl-C, SIGTERM or a terminal that closes."""

import signal
import sys
from collections.abc import Callable
from typing import NoReturn

INTERRUPTED = 130
_TOLD = (signal.SIGTERM, signal.SIGHUP)


def run(main: Callable[[], int | None]) -> NoReturn:
    """Runs a benchmark to its exit status. SIGTERM and SIGHUP end it as Ctrl-C does: it takes away what it began, and
    says in a line that it was interrupted."""
    for which in _TOLD:
        if signal.getsignal(which) is not signal.SIG_IGN:  # nohup's
            signal.signal(which, _interrupt)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


def deaf(*more: signal.Signals) -> None:
    """From here on nobody cuts short what takes things away: `timeout` sends its signal twice, and so do hands."""
    for which in (*_TOLD, *more):
        signal.signal(which, lambda *_: None)


def _interrupt(*_: object) -> None:
    deaf()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's, for what it starts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)  # asyncio knows what to do with this one
