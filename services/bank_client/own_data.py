"""A bank's own rows, from whatever keeps them, checked against the contract before the bank joins.

Rows are read once, a chunk at a time, and leave here as arrays and as a report. Once a rule is broken the rows that
follow are checked and not kept.
"""

import re
import time
from pathlib import Path
from typing import Any

from fedfraud.contract import Contract, feature_table
from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan, plan_of
from fedfraud.logs import Log
from fedfraud.transactions import Feature
from services.bank_client.checks import Checked
from services.bank_client.column_map import ColumnMap, read_map
from services.bank_client.dataset import Rows
from services.bank_client.findings import Broken, Fault, Findings, Report
from services.bank_client.presets import preset_named
from services.bank_client.readers import OwnData, PaymentsReader, Reader, TableReader
from services.bank_client.row_names import RowNames
from services.bank_client.settings import Settings
from services.bank_client.sources import Source, file_source

_log = Log("data")


def load(settings: Settings, contract: Contract, now: float | None = None, *, keep_ids: bool = False) -> OwnData:
    """Reads and checks all rows. Settings and maps that are wrong are an Invalid; rows that are, a report."""
    column_map = map_of(settings, contract)
    plan = plan_of(contract.name, settings.first_day)
    query = settings.dataset_query
    if query and not contract.is_payments and not re.search(r"\border\s+by\b", query, re.IGNORECASE):
        _log.warning("a query without ORDER BY: rows in another order are another dataset, with another split")
    found = read(source_of(settings, column_map), contract, column_map, now, plan, keep_ids=keep_ids)
    for sentence in found.report.warnings:
        _log.warning(sentence)
    return found


def read(
    source: Source,
    contract: Contract,
    column_map: ColumnMap,
    now: float | None = None,
    plan: FeaturePlan | None = None,
    *,
    keep_ids: bool = False,
    unscored: range = range(0),
) -> OwnData:
    """The same from a source and a map. `now`, in seconds since 1970, is what nothing may be later than, and of
    payments that are to be scored none may be of a time in `unscored`."""
    findings, figures, began = Findings(), dict[str, Any](rows=0), time.monotonic()
    checked = Checked(contract, column_map, findings, int(time.time() if now is None else now), unscored)
    names = RowNames(checked, keep_ids)
    reader: Reader = PaymentsReader(checked, plan, names) if contract.is_payments else TableReader(checked, names)
    try:
        for chunk in source.chunks(column_map.names(contract), findings):
            figures["rows"] += len(chunk)
            reader.take(chunk)
    except Broken as error:
        for fault in error.faults(source.name):
            findings.add(fault)
    else:
        if not figures["rows"] and not findings:
            findings.add(Fault("empty", f"{source.name} must have at least 1 row, got 0", source.name))
        if figures["rows"]:
            reader.end(figures, source.name)
    figures["seconds"] = round(time.monotonic() - began, 2)
    left_out = column_map.left_out
    report = Report(contract.name, contract.sha256.hex(), source.name, figures, left_out, findings)
    return reader.made(report) if report.passed else OwnData(report)


def read_table(path: Path, features: tuple[Feature, ...]) -> Rows:
    """The rows of a file or folder that has the features' own names; what is wrong is an Invalid."""
    contract = feature_table("of its own", features)
    found = read(file_source(path, ","), contract, ColumnMap(contract.name))
    found.report.findings.refuse()
    return found.table()


def map_of(settings: Settings, contract: Contract) -> ColumnMap:
    """The bank's column map by its settings: a preset, a file, a file over a preset, or every name as it is."""
    chosen = preset_named(settings.data_preset) if settings.data_preset else ColumnMap(contract.name)
    if settings.column_map:
        chosen = read_map(settings.data_dir / settings.column_map, chosen)
    chosen.check(contract)
    return chosen


def source_of(settings: Settings, column_map: ColumnMap) -> Source:
    """Where the rows are by the bank's settings: a query's URL goes before a file."""
    if settings.dataset_url_file:
        from services.bank_client.sql import PostgresQuery

        return PostgresQuery(_secret(settings.dataset_url_file), settings.dataset_query)
    path = settings.data_dir / settings.dataset
    if settings.dataset_query:
        from services.bank_client.sql import SqliteQuery

        return SqliteQuery(path, settings.dataset_query)
    return file_source(path, column_map.delimiter)


def _secret(path: Path) -> str:
    if str(path).startswith(("postgresql:", "postgres:")):  # the URL itself: no message may repeat it
        raise Invalid("DATASET_URL_FILE must be the path of a file that holds the URL, got a URL")
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Broken("readable", f"DATASET_URL_FILE must be readable: {type(error).__name__}, {path}") from None
