"""`python -m services.bank_client enrol | check-data | serve | verify | score | serve-scores`, and what a simulation
needs.

A command imports what the others do not need when it is chosen: a short command starts sooner.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import uvloop
from pydantic import ValidationError

from fedfraud.enrolment import JoinFolder
from fedfraud.errors import FedfraudError, setting_faults
from fedfraud.logs import Log, configure
from fedfraud.recipe import DEFAULTS
from fedfraud.trade import USUAL_TERMS, terms_of
from fedfraud.transactions import SIMULATED, preset_of
from services.bank_client import check_data, score_file
from services.bank_client.enrol import ensure_enrolled
from services.bank_client.settings import Settings

_log = Log("bank")


def main() -> int:
    """Parses the command line and does what it says."""
    parser = argparse.ArgumentParser(prog="python -m services.bank_client", description="One bank of fedfraud.")
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    commands.add_parser("enrol", help="make a key and take a seat, unless this volume has one")
    check_data.add_command(commands)
    commands.add_parser("simulate", help="simulation: enrol, write-shard and serve in one")
    commands.add_parser("write-shard", help="simulation: write this seat's shard to the volume, unless it is there")
    holdout = commands.add_parser("write-holdout", help="simulation: write the public hold-out for the aggregator")
    holdout.add_argument("--population", default="tutorial", help="which population (default: tutorial)")
    holdout.add_argument("--seed", type=int, default=7, help="the population's seed (default: 7)")
    holdout.add_argument("file", type=Path, help="the .npz file to write")
    central = commands.add_parser(
        "write-central", help="simulation: train on all rows in one place, and write its scores"
    )
    central.add_argument("--population", choices=SIMULATED, default="tutorial", help="which one (default: tutorial)")
    central.add_argument("--preset", default="", help="how the population is dealt out to banks (default: its first)")
    central.add_argument("--seed", type=int, default=7, help="the seed of population and run (default: 7)")
    central.add_argument("--recipe", default="", help="the run's recipe (default: the population's)")
    central.add_argument("--rounds", type=int, default=0, help="the run's training rounds (default: the population's)")
    central.add_argument("--banks", type=int, default=10, help="the banks whose rows it has (default: 10)")
    usual = ",".join(map(str, USUAL_TERMS.budgets))
    central.add_argument("--alert-budgets", default="", help=f"the run's, separated by commas (default: {usual})")
    central.add_argument("--headline-budget", default="", help=f"one of them (default: {USUAL_TERMS.headline})")
    central.add_argument("--admin-cents", default="", help=f"what an alert costs (default: {USUAL_TERMS.admin_cents})")
    central.add_argument("file", type=Path, help="the JSON file to write")
    commands.add_parser("serve", help="answer rounds until SIGTERM; every setting is an environment variable")
    verifying = commands.add_parser("verify", help="check that an exported journal holds every receipt of this bank")
    verifying.add_argument("export", type=Path, metavar="EXPORT", help="what `services.aggregator export` wrote")
    verifying.add_argument("--words", type=Path, metavar="DIR", help="the masked words that were exported with it")
    score_file.add_command(commands)
    commands.add_parser(
        "serve-scores", help="answer Score on the bank's Unix socket, SCORE_SOCKET, until SIGTERM; needs no network"
    )
    arguments = parser.parse_args()
    configure()
    return _told(lambda: _run(arguments))


def _told(work: Callable[[], int]) -> int:
    """What the work comes to; what a person can mend is said in a line, and is a 2."""
    try:
        return work()
    except ValidationError as error:
        _log.error("cannot go on", reason=setting_faults(error))
    except FedfraudError as error:
        _log.error("cannot go on", reason=error)
    except grpc.aio.AioRpcError as error:
        _log.error("refused by the aggregator", status=error.code().name, reason=error.details())
    return 2


def _run(arguments: argparse.Namespace) -> int:
    settings = Settings()
    configure(settings.log_level, settings.log_form)
    if arguments.what == "simulate":
        from services.bank_client import participant  # noqa: F401  # before the fork, which has it then as well
        from services.bank_client.simulated import in_a_fork, make_bank

        if status := in_a_fork(lambda: _told(lambda: make_bank(settings))):
            return status
    return uvloop.run(_command(arguments, settings))


async def _command(arguments: argparse.Namespace, settings: Settings) -> int:
    match arguments.what:
        case "enrol":
            enrolment = await ensure_enrolled(settings)
            _log.info("enrolled", seat=enrolment.seat, slot=enrolment.slot or "-")
        case "write-shard":
            # Only the commands that write import the simulation: what serves cannot tell simulated data from real.
            from services.bank_client.write_shard import write_shard

            enrolment = await ensure_enrolled(settings)
            write_shard(**enrolment.shard, data_dir=settings.data_dir)
        case "write-holdout":
            from services.bank_client.write_shard import write_holdout

            write_holdout(arguments.population, arguments.seed, arguments.file)
        case "write-central":
            from fedfraud.central import Purpose
            from services.bank_client.write_central import write_central

            recipe, rounds = DEFAULTS[arguments.population]
            purpose = Purpose.of(
                population=arguments.population,
                preset=preset_of(arguments.population, arguments.preset),
                seed=arguments.seed,
                recipe=arguments.recipe or recipe,
                rounds=arguments.rounds or rounds,
                banks=arguments.banks,
                terms=terms_of(arguments.alert_budgets, arguments.headline_budget, arguments.admin_cents),
            )
            write_central(purpose, arguments.file)
        case "check-data":
            return check_data.check_data(settings, arguments.contract, arguments.json)
        case "verify":
            from services.bank_client.verify import verify

            join = JoinFolder.read(settings.join_dir)
            found = verify(settings.data_dir, join.ca_pem, arguments.export, arguments.words, settings.roster_file)
            print(found.text)
            return 1 if found.faults else 0
        case "score":
            return score_file.score_file(settings, arguments.file, arguments.out, arguments.reasons, arguments.since)
        case "serve-scores":
            from services.bank_client.score_service import serve_scores

            return await serve_scores(settings, _stopped())
        case "serve" | "simulate":
            from services.bank_client.participant import BankClient

            status = await BankClient(settings, _stopped()).serve()
            # The interpreter's own end would wait for a thread that imports torch, then take torch apart: seconds.
            os._exit(status)
    return 0


def _stopped() -> asyncio.Event:
    """Set by the signals that end a service."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


if __name__ == "__main__":
    sys.exit(main())
