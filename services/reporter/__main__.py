"""`python -m services.reporter serve` follows the journal; `write` writes a report again; `schema` prints that of
`facts.json`."""

import argparse
import asyncio
import contextlib
import getpass
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import uvloop
from pydantic import SecretStr, ValidationError

from fedfraud import logs
from fedfraud.errors import Invalid, Misconfigured, setting_faults
from fedfraud.health import HealthServer
from fedfraud.logs import Log
from fedfraud.v1 import history_pb2_grpc
from services.reporter import check_model, desk, model_out, prompt, report
from services.reporter.exposition import Counts
from services.reporter.facts import RunFacts, schema
from services.reporter.follow import follow
from services.reporter.page.app import application
from services.reporter.page.archive import Archive
from services.reporter.page.feed import Feed
from services.reporter.page.server import PageServer
from services.reporter.settings import Settings

log = Log("reporter")


async def serve(settings: Settings, stop: asyncio.Event, on_page: Callable[[int], None] = lambda _: None) -> None:
    """Follows the journal, writes each run that ends and serves the page, until `stop`; `on_page` gets the page's port.

    In a process of its own: it sets the umask.
    """
    os.umask(0o002)  # the host's user shares the reports folder's group and may change and delete what appears
    counts = Counts()
    feed = Feed(Archive(settings.reports_dir))
    reports = desk.Desk(settings, counts, feed.refresh)

    async def write_run(run: RunFacts, stub: "history_pb2_grpc.HistoryServiceAsyncStub") -> None:
        await model_out.write(run, stub, settings.reports_dir)  # first: whoever sees the report finds the model too
        await reports.write(run)
        feed.refresh()

    async def tell(serving: bool) -> None:
        counts.connected.set(serving)
        await feed.set_connected(serving)
        if health:
            await health.set_serving(serving)

    async with contextlib.AsyncExitStack() as stack:
        health = HealthServer(settings.health_socket) if settings.health_socket else None
        if health:
            await health.start()
            stack.push_async_callback(health.stop)
        stack.push_async_callback(reports.close)
        if settings.page_listen:
            app = application(feed, settings.reports_dir, settings.page_host_names, counts)
            page = PageServer(app, settings.page_listen)
            await page.start()
            stack.push_async_callback(page.stop)
            stack.callback(feed.close)  # before it: open streams end at once
            log.info("page served", port=page.port)
            on_page(page.port)
        following = asyncio.create_task(follow(settings, write_run, tell, feed.take))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        failed = following.done()
        following.cancel()
        stopping.cancel()
        await asyncio.gather(following, stopping, return_exceptions=True)
        if failed:
            following.result()


async def _serve_until_signal(settings: Settings) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await serve(settings, stop)


def write(settings: Settings, reports: Path, run_id: str | None, show_prompt: bool = False) -> int:
    """Writes the report again from `facts.json`; asks for a key where somebody can answer. Returns the exit status.

    With `show_prompt` it prints what a model would be asked, and calls nobody.
    """
    run = desk.read_run(desk.run_folder(reports, run_id)) if run_id else desk.last_run(reports)
    if run is None:
        wanted = f"facts of run {run_id}" if run_id else "facts of a run"
        sys.stderr.write(f"There must be {wanted} under {reports}; none can be read.\n")
        return 1
    if show_prompt:
        sys.stdout.write(json.dumps(prompt.request(run, settings), indent=2) + "\n")
        return 0
    key = settings.key() or _ask_for_key()
    made = uvloop.run(desk.narrated(run, settings, key)) if key else report.compose(run)
    path = desk.write_report(desk.run_folder(reports, run.run.id), made)
    sys.stdout.write(f"{path}\n")
    return 0


def _ask_for_key() -> SecretStr | None:
    if not sys.stdin.isatty():
        return None
    try:
        answer = getpass.getpass("OpenAI API key (empty: the template writes the report): ").strip()
    except EOFError:
        answer = ""
    return Settings(openai_api_key=SecretStr(answer)).key() if answer else None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.reporter", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="serve|write|schema")
    commands.add_parser(
        "serve", help="follow the aggregator's journal until SIGTERM; settings come from the environment"
    )
    again = commands.add_parser(
        "write",
        help="write a report again from its facts.json",
        description="Writes report.html and report.md again from facts.json. "
        "With OPENAI_API_KEY, OPENAI_API_KEY_FILE or a key typed "
        "in when asked (hidden) a model writes the narrative, else the template.",
    )
    again.add_argument("--reports-dir", type=Path, default=Path("reports"), help="the reports folder (%(default)s)")
    again.add_argument(
        "--show-prompt", action="store_true", help="print the exact request that a model would get, and call nobody"
    )
    again.add_argument("--run", metavar="ID", help="the run (the one that started last)")
    commands.add_parser("schema", help="print the JSON schema of facts.json, which docs/facts.schema.json holds")
    check_model.add_arguments(
        commands.add_parser("check-model", help="say whether a model's files belong together, and to a journal")
    )
    return parser.parse_args()


def main() -> int:
    """Runs the command; 2 for a setting or file that it refuses."""
    arguments = _arguments()
    if arguments.command == "schema":
        sys.stdout.write(schema())
        return 0
    try:
        if arguments.command == "check-model":
            return check_model.main(arguments)
        settings = Settings()
        logs.configure(settings.log_level, settings.log_form)
        if arguments.command == "write":
            return write(settings, arguments.reports_dir, arguments.run, arguments.show_prompt)
        uvloop.run(_serve_until_signal(settings))
    except ValidationError as error:
        sys.stderr.write(f"reporter: {setting_faults(error)}\n")
        return 2
    except (Misconfigured, Invalid) as error:
        sys.stderr.write(f"reporter: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
