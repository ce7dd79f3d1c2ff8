"""The product's aggregator as a process, under a model of any size: `python benchmarks/sized_aggregator.py 64 32`.

A population fixes the model's layers and there is no setting for others, so these come in from outside; all else is
set by the environment, as always. It says its two ports on one line when it serves. Nothing else is imported: what the
process holds in memory is the aggregator's.
"""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import uvloop

from fedfraud.logs import configure
from fedfraud.manifest import Manifest
from services.aggregator import server
from services.aggregator.settings import Settings


def main() -> None:
    """Serves until it is killed."""
    hidden, settings, of_the_population = tuple(map(int, sys.argv[1:])), Settings(), server.manifest_of

    def of_this_size(settings: Settings) -> Manifest:
        return replace(of_the_population(settings), hidden_sizes=hidden)

    server.manifest_of = of_this_size
    configure(settings.log_level, settings.log_form)
    uvloop.run(server.serve(settings, asyncio.Event(), lambda *ports: print(*ports, flush=True)))


if __name__ == "__main__":
    main()
