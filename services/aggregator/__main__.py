"""`python -m services.aggregator serve`, `... verify`, `... export FILE` and `... operate COMMAND`."""

import argparse
import asyncio
import re
import signal
import sys
from pathlib import Path

import uvloop
from pydantic import ValidationError

from fedfraud.errors import FedfraudError, setting_faults
from fedfraud.logs import Log, configure
from services.aggregator import operate
from services.aggregator.server import serve
from services.aggregator.settings import OperatorSettings, Settings
from services.aggregator.verify import export, verify


def main() -> int:
    """Parses the command line and does what it says."""
    parser = argparse.ArgumentParser(prog="python -m services.aggregator", description="The aggregator of fedfraud.")
    commands = parser.add_subparsers(dest="what", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="run rounds until SIGTERM; every setting is an environment variable")
    verifying = commands.add_parser("verify", help="check a data folder, whole or in use, and say how deep")
    verifying.add_argument(
        "--seen",
        type=_seen,
        metavar="N:HEAD",
        help="an entry and its head in hexadecimal, as an earlier verify printed them: a journal that lost its last "
        "entries is whole in itself, and only what was seen of it shows that",
    )
    exporting = commands.add_parser("export", help="write the signed journal for a bank to check its receipts against")
    exporting.add_argument("file", type=Path, metavar="FILE", help="the file to write")
    exporting.add_argument(
        "--words", type=Path, metavar="DIR", help="copy the masked contributions that are kept, to open sums again"
    )
    for offline in (verifying, exporting):
        offline.add_argument("--data-dir", type=Path, metavar="DIR", help="the aggregator's folder (default: DATA_DIR)")
    operate.add_commands(commands.add_parser("operate", help="the operator's commands"))
    arguments = parser.parse_args()
    configure()
    try:
        if arguments.what == "operate":
            return operate.main(arguments, OperatorSettings())
        settings = Settings()
        if arguments.what == "verify":
            found = verify(arguments.data_dir or settings.data_dir, arguments.seen)
            print(found.text)
            return 1 if found.faults else 0
        if arguments.what == "export":
            data_dir = arguments.data_dir or settings.data_dir
            print(f"{export(data_dir, arguments.file, arguments.words)} entries in {arguments.file}")
            return 0
        configure(settings.log_level, settings.log_form)
        uvloop.run(_serve(settings))
    except ValidationError as error:
        Log("aggregator").error(_cannot(arguments.what), reason=setting_faults(error))
        return 2
    except FedfraudError as error:
        Log("aggregator").error(_cannot(arguments.what), reason=error)
        return 2
    return 0


def _cannot(command: str) -> str:
    return "cannot start" if command == "serve" else f"cannot {command}"


def _seen(text: str) -> tuple[int, bytes]:
    number, _, head = text.partition(":")
    if not re.fullmatch(r"[1-9][0-9]{0,17}:[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError(f"must be an entry's number, a colon and 64 hexadecimal digits, got {text!r}")
    return int(number), bytes.fromhex(head)


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, stop)


if __name__ == "__main__":
    sys.exit(main())
