"""The whole network as local processes, from the first key to the report: `python -m services`."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import grpc
import uvloop
from pydantic import ValidationError

from fedfraud.channel import mutual_channel
from fedfraud.enrolment import JoinFolder, enrol
from fedfraud.errors import FedfraudError, setting_faults
from fedfraud.fixed_point import MAX_SEATS
from fedfraud.identity import new_key
from fedfraud.recipe import DEFAULTS, RECIPES
from fedfraud.transactions import PRESETS, SIMULATED
from fedfraud.v1 import history_pb2, history_pb2_grpc
from services.aggregator.conductor import check_settings
from services.aggregator.operate import whole_number
from services.aggregator.server import manifest_of
from services.aggregator.settings import Settings
from services.bank_client.settings import Settings as BankSettings
from services.local import paths
from services.local.console import Console
from services.local.processes import LocalNetwork
from services.reporter import desk
from services.reporter.facts import RunFacts
from services.reporter.fold import Facts
from services.reporter.settings import Settings as ReporterSettings

_POLL_SECONDS = 0.05
_REPORT_SECONDS = 15.0
_CENTRAL_SECONDS = 30.0
"""What a run waits for central at its end; it has begun before the last training round was committed."""
_STAGE_SECONDS = 0.2
"""For each bank, of a masked stage: all of them answer it on one machine."""


def main() -> int:
    """Parses the command line, runs the network, and leaves nothing running."""
    arguments = _parser().parse_args()
    recipe, rounds = DEFAULTS.get(arguments.population, DEFAULTS["tutorial"])
    arguments.recipe, arguments.rounds = arguments.recipe or recipe, arguments.rounds or rounds
    run_dir = arguments.run_dir or paths.new_run_dir()
    try:
        settings = _settings(arguments)
        check_settings(settings, manifest_of(settings))
        BankSettings()
        ReporterSettings().key()
        paths.check_output(arguments.reports_dir, arguments.json)
        paths.claim(run_dir)
    except ValidationError as error:
        sys.stderr.write(f"fedfraud: {setting_faults(error)}\n")
        return 2
    except FedfraudError as error:
        sys.stderr.write(f"fedfraud: {error}\n")
        return 2
    console = Console(arguments.banks, arguments.rounds)
    network = LocalNetwork(run_dir, settings, forks=True)
    console.say(
        f"{arguments.banks} banks, {arguments.rounds} rounds, recipe {arguments.recipe}, "
        f"population {arguments.population}, seed {arguments.seed}; run folder {run_dir}"
    )
    try:
        _begin(arguments, network, console)
        return uvloop.run(_run(arguments, network, console))
    except FedfraudError as error:
        sys.stderr.write(f"fedfraud: {error}\n")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.say("stopping")
        return 130
    finally:
        network.stop()


async def _run(arguments: argparse.Namespace, network: LocalNetwork, console: Console) -> int:
    main_task = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, lambda: main_task.cancel() if main_task else None)
    await asyncio.to_thread(_start, arguments, network, console)
    run = await _follow(network, console, arguments.rounds)
    network.withdraw_central()
    console.part("report")
    report = await _report(network, console, arguments.reports_dir, run)
    console.result(run, str(report or "-"))
    if arguments.json:
        await asyncio.to_thread(arguments.json.write_text, run.to_json(), "utf-8")
    if run.run.outcome != "finished":
        console.say(f"the run {run.run.outcome}: {run.run.reason}")
    if arguments.keep:
        console.say(f"the network stays up at {network.address}; Ctrl-C ends it. The page: {network.page_url()}")
        console.say("What an operator needs:")
        console.say(network.operating)
        await asyncio.Event().wait()
    return 0 if report and run.run.outcome == "finished" else 1


def _begin(arguments: argparse.Namespace, network: LocalNetwork, console: Console) -> None:
    """Forks what needs no torch, while this is one thread."""
    console.say("starting the aggregator and the reporter")
    network.write_population(0 if _hosts(arguments) else arguments.banks)
    network.announce_central()
    network.begin_aggregator()
    network.start_reporter(arguments.reports_dir, arguments.page_port)


def _start(arguments: argparse.Namespace, network: LocalNetwork, console: Console) -> None:
    network.await_aggregator()
    hosts = _hosts(arguments)
    shared = f" in {hosts} {'process' if hosts == 1 else 'processes'}" if hosts else ""
    console.say(f"the aggregator serves at {network.address}; starting {arguments.banks} banks{shared}")
    console.part("joining")
    if hosts:
        network.start_hosted_banks(arguments.banks, hosts)
    else:
        for number in range(1, arguments.banks + 1):
            network.start_bank(number)
    if page := network.page_url():
        taken = "" if page.endswith(f":{arguments.page_port}") else f" (port {arguments.page_port} is taken)"
        console.say(f"the page is at {page}{taken}")


def _hosts(arguments: argparse.Namespace) -> int:
    """How many processes host the banks; 0 where each bank has its own."""
    if arguments.hosts is None:
        cores = os.cpu_count() or 1
        return cores if cores < arguments.banks else 0
    return min(int(arguments.hosts), int(arguments.banks))


async def _follow(network: LocalNetwork, console: Console, rounds: int) -> RunFacts:
    """Shows the journal until a run has ended, or until it cannot."""
    following = asyncio.create_task(_follow_journal(network, console, rounds))
    watching = asyncio.create_task(_watch_processes(network, console))
    try:
        await asyncio.wait({following, watching}, return_when=asyncio.FIRST_COMPLETED)
        return following.result() if following.done() else watching.result()
    finally:
        following.cancel()
        watching.cancel()


async def _follow_journal(network: LocalNetwork, console: Console, rounds: int) -> RunFacts:
    facts, sequence = Facts(), 0
    join = JoinFolder.read(network.join_dir / "operator")
    while True:
        _, own = await enrol(network.enrolment_address, join, new_key())
        async with mutual_channel(network.address, join.ca_pem, own) as channel:
            stub = history_pb2_grpc.HistoryServiceStub(channel)
            with contextlib.suppress(grpc.aio.AioRpcError):  # its certificate lives for minutes: enrol again
                async for message in stub.WatchHistory(history_pb2.WatchHistoryRequest(after_sequence=sequence)):
                    for entry in message.entries:
                        sequence = entry.sequence
                        console.show(entry)
                        if _last_is_next(entry, rounds):
                            await asyncio.to_thread(network.start_central)
                        if ended := facts.apply(entry):
                            return ended


def _last_is_next(entry: history_pb2.Entry, rounds: int) -> bool:
    """Whether all training rounds but the last are committed: central has drawn its rows when the machine has time."""
    return entry.WhichOneof("event") == "round_committed" and entry.round_committed.step >= rounds - 1


async def _watch_processes(network: LocalNetwork, console: Console) -> NoReturn:
    """Says which process ended early; gives up when no run can come of what is left."""
    said: set[str] = set()
    while True:
        for name, process in network.processes.items():
            if name not in ("population", "central") and name not in said and process.exitcode is not None:
                said.add(name)
                console.say(f"{name} ended with status {process.exitcode}, see {network.log_file(name)}")
                if not name.startswith("bank"):
                    raise FedfraudError(f"the {name} must run, it ended; see {network.log_file(name)}")
        if not console.running and len(said) > network.spare_banks:
            raise FedfraudError(f"a run needs a quorum of banks, {len(said)} ended; see {network.run_dir}/bank-*/log")
        await asyncio.sleep(_POLL_SECONDS * 4)


async def _report(network: LocalNetwork, console: Console, reports_dir: Path, run: RunFacts) -> Path | None:
    """The report's path, once the reporter has finished it (a model's narrative may take a while); None if it cannot.

    What the journal says of the run is known without it.
    """
    reporter, log = network.processes["reporter"], network.log_file("reporter")
    folder = desk.run_folder(reports_dir, run.run.id)
    deadline = time.monotonic() + ReporterSettings().openai_timeout + _REPORT_SECONDS
    while True:
        ended, late = reporter.exitcode, time.monotonic() > deadline  # before the look at the folder: it may be done
        if await asyncio.to_thread(desk.is_written, folder, run.run.id):
            return folder / "report.md"
        if ended is not None:
            console.say(f"the reporter ended with status {ended} and wrote no report, see {log}")
            return None
        if late:
            console.say(f"the reporter must write a report in time, {folder} has none; see {log}")
            return None
        await asyncio.sleep(_POLL_SECONDS)


def _settings(arguments: argparse.Namespace) -> Settings:
    return Settings(
        expected_banks=arguments.banks,
        rounds=arguments.rounds,
        recipe=arguments.recipe,
        population=arguments.population,
        preset=arguments.preset,
        seed=arguments.seed,
        aggregation=arguments.aggregation,
        quorum=arguments.quorum,
        round_deadline=arguments.deadline,
        stage_deadline=max(10.0, _STAGE_SECONDS * arguments.banks),
        hostnames="127.0.0.1,localhost",
        central_wait=_CENTRAL_SECONDS,
        autostart=True,
        max_seats=MAX_SEATS,
        simulation=True,
    )


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults beside the options that have one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def _own(what: int) -> str:
    """The defaults of each population, in words."""
    return ", ".join(f"{default[what]} for {population}" for population, default in DEFAULTS.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m services",
        description="Runs the whole network as local processes: an aggregator, banks and a reporter that speak gRPC "
        "over mutual TLS on loopback. Ends by itself with a report; Ctrl-C ends it at once.",
        formatter_class=_Help,
    )
    add = parser.add_argument
    add("--banks", type=whole_number(1, MAX_SEATS), default=10, metavar="N", help="how many banks")
    add(
        "--hosts",
        type=whole_number(0, MAX_SEATS),
        metavar="N",
        help="how many processes host the banks; 0: each bank has its own (default: one for each core, or 0 with as "
        "many cores as banks)",
    )
    add("--rounds", type=whole_number(1, 10_000), metavar="N", help=f"committed training rounds (default: {_own(1)})")
    add("--recipe", help=f"hyperparameters: {', '.join(RECIPES)} (default: {_own(0)})")
    add("--population", default="tutorial", help=f"the simulated world: {', '.join(SIMULATED)}")
    add("--preset", default="", help="how the population is dealt out to banks; cards: " + ", ".join(PRESETS["cards"]))
    add("--seed", type=whole_number(0, 2**32 - 1), default=7, metavar="N", help="seed of the population and of the run")
    add(
        "--aggregation",
        choices=("secure", "plain"),
        default="secure",
        help="secure: the aggregator learns sums alone, needs 4 banks; plain: it sees each bank's integers",
    )
    add(
        "--quorum",
        type=whole_number(0, MAX_SEATS),
        default=0,
        metavar="N",
        help="contributions a round needs; 0: 2/3 of the banks and one",
    )
    add("--deadline", type=float, default=60.0, metavar="S", help="seconds that a round waits for its banks")
    add("--run-dir", type=Path, metavar="DIR", help="keys, data, journal and logs (default: runs/<time>-<digits>)")
    add("--reports-dir", type=Path, default=Path("reports"), metavar="DIR", help="where <run id>/report.md appears")
    add("--page-port", type=whole_number(1, 65535), default=8080, metavar="N", help="the live page's, else a free one")
    add("--json", type=Path, metavar="FILE", help="write the facts there too")
    add("--keep", action="store_true", help="leave the network up after the run, until Ctrl-C")
    return parser


if __name__ == "__main__":
    sys.exit(main())
