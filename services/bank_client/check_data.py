"""`check-data`: reads the bank's rows as `serve` would, and says what would be refused. Nothing is sent anywhere."""

import argparse
from pathlib import Path

from fedfraud.contract import contract_named
from fedfraud.errors import Invalid, Misconfigured
from services.bank_client import enrol, own_data
from services.bank_client.column_map import ColumnMap, read_map
from services.bank_client.presets import PRESETS, preset_named
from services.bank_client.settings import Settings

DESCRIPTION = f"""\
Reads this bank's rows as `serve` does before it joins, holds them to the data contract, and prints every rule that is
broken with file, column and row. No network is needed, and nothing leaves this machine.

where the rows are, by environment variables:
  DATA_DIR=/data             the bank's folder
  DATASET=dataset.parquet    in it or a whole path: a .parquet or .csv file, a folder of daily drops, or a SQLite file
  DATASET_QUERY=SELECT ...   the rows as a query, of that SQLite file or of a PostgreSQL server
  DATASET_URL_FILE=/run/url  a file with that server's postgresql://user:password@host/database

what their columns are called (the contract's own names unless one is set):
  DATA_PRESET=handbook       one of {", ".join(PRESETS)}
  COLUMN_MAP=columns.toml    a file in the folder or by a whole path, TOML or JSON, over the preset if there is one

which days of payments count:
  FIRST_DAY=2026-01-01       day 0 of the feature plan, everywhere the same (default: the population's)

example: DATA_DIR=. DATASET=payments.csv COLUMN_MAP=columns.toml python -m services.bank_client check-data

exit status: 0 the rows would be taken, 1 they would be refused, 2 a setting or column map is wrong
"""


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command's options and its help."""
    checking = commands.add_parser(
        "check-data",
        help="check this bank's rows against the data contract, without a network",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    checking.add_argument("--contract", default="", metavar="NAME", help="which contract (default: what is mapped to)")
    checking.add_argument("--json", type=Path, metavar="FILE", help="write the report here too, for programs")


def check_data(settings: Settings, contract: str, json_file: Path | None) -> int:
    """Prints the report; the exit status is 1 where rows are refused."""
    report = own_data.load(settings, contract_named(contract or _mapped_to(settings))).report
    print(report.text())
    if json_file:
        try:
            json_file.write_text(report.json() + "\n", encoding="utf-8")
        except OSError as error:
            raise Misconfigured(f"the report must be writable: {error}") from error
    return 0 if report.passed else 1


def _mapped_to(settings: Settings) -> str:
    """The contract of the map or preset, or that of the population that the bank enrolled for."""
    unset = ColumnMap("")
    base = preset_named(settings.data_preset) if settings.data_preset else unset
    mapped = read_map(settings.data_dir / settings.column_map, base) if settings.column_map else base
    if mapped.contract:
        return mapped.contract
    try:
        return enrol.load_enrolment(settings.data_dir).population
    except Misconfigured:
        raise Invalid("a bank that has not enrolled must name the contract: --contract cards") from None
