"""`score FILE`: probability, decision and reasons for each transaction of a file. Nothing is sent anywhere."""

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import pyarrow as pa

from fedfraud.contract import ID
from fedfraud.errors import Misconfigured
from fedfraud.logs import Log
from services.bank_client import own_data
from services.bank_client.attribution import Floats
from services.bank_client.conversion import time_text
from services.bank_client.features import DAY
from services.bank_client.known_payments import Known, MerchantRisk, joined
from services.bank_client.score_desk import MOST_REASONS, REASONS
from services.bank_client.score_inputs import ScoreInputs, read_inputs, read_known
from services.bank_client.scoring import Scorer, Scores
from services.bank_client.settings import Settings
from services.bank_client.sources import file_source
from services.bank_client.transactions import Integers

DESCRIPTION = """\
Scores the transactions of FILE with the model that this bank's newest run left on its volume. No network is needed,
nothing is sent anywhere and nothing on the volume changes. Where the bank has payments, those of its data (DATASET and
the settings beside it, see check-data) are what their customers did before; rows of FILE may be among them.

FILE is a .csv or .parquet file, or a folder of them, under the column names that the bank's own rows have: the same
DATA_PRESET and COLUMN_MAP count. It needs no labels. A row that breaks a rule is refused by file, column and row.

what is written, a line a transaction, payments in the order of time:
  transaction_id       or file and row where the bank has no ids
  probability          of fraud, 0 to 1
  alert                yes or no, at the threshold for the bank's ALERT_BUDGET; empty where it has none
  reason_1, weight_1 … the groups of features that weigh most, the weightiest first. The weight is what a group adds to
                       the log-odds of fraud against a transaction that is usual in every feature: below 0 it speaks
                       against fraud
  stale_days           days by which what is known of merchants lags behind; 0 while the run's counters reach far enough
  model_sha256, feature_plan_sha256
As .jsonl the same, with the features behind each reason: their values, and what is usual.

examples: DATA_DIR=/data python -m services.bank_client score today.csv --out scored.csv
          DATA_DIR=/data python -m services.bank_client score /data/dataset.parquet --since 2018-05-23

exit status: 0 scored, 2 refused: no kept model, a setting, or a row of FILE
"""
_BLOCK_ROWS = 4_096
_SAID_EACH = 5.0
"""Seconds between two lines of progress."""

_log = Log("score")


class Asked(NamedTuple):
    """Rows to be scored: what each is called, its features, and its stale days."""

    ids: pa.Array
    features: Floats
    stale_days: Integers


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command's options and its help."""
    scoring = commands.add_parser(
        "score",
        help="score a file of transactions with the model of this bank's newest run, without a network",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    scoring.add_argument("file", type=Path, metavar="FILE", help="the transactions: .csv, .parquet or a folder of them")
    scoring.add_argument(
        "--out", type=Path, metavar="FILE", help="where to write, .csv or .jsonl (default: CSV to standard output)"
    )
    scoring.add_argument(
        "--since",
        type=_day,
        metavar="DAY",
        help="leave payments before this day out, YYYY-MM-DD in UTC (default: none)",
    )
    scoring.add_argument(
        "--reasons", type=int, default=REASONS, metavar="N", help=f"reasons a row, 0 for none (default: {REASONS})"
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a day must be a date, YYYY-MM-DD, got {text[:40]!r}") from None


def score_file(settings: Settings, file: Path, out: Path | None, reason_count: int, since: date | None = None) -> int:
    """Scores the file; the exit status is 0, and what is refused is raised before a line is written."""
    if not 0 <= reason_count <= MOST_REASONS:
        raise Misconfigured(f"--reasons must be 0 to {MOST_REASONS}, got {reason_count}")
    if out is not None and out.suffix not in (".csv", ".jsonl"):
        raise Misconfigured(f"--out must be a .csv or .jsonl file, got {out.name}")
    inputs = read_inputs(settings)
    asked = read_asked(settings, inputs, file, since)
    _warn(asked, inputs.risk)
    write = _json_lines if out is not None and out.suffix == ".jsonl" else _csv
    try:
        with _written(out) as stream:
            alerts = write(stream, inputs.scorer, asked, reason_count)
            stream.flush()
    except BrokenPipeError:  # who reads has enough: nothing is to be said at the interpreter's end either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    kept = inputs.scorer.kept
    _log.info(
        "scored",
        rows=len(asked.ids),
        alerts="-" if kept.scoring.threshold is None else alerts,
        run=kept.run_id,
        variant=kept.scoring.name,
        model=kept.scoring.model_sha256.hex(),
    )
    return 0


def read_asked(settings: Settings, inputs: ScoreInputs, file: Path, since: date | None = None) -> Asked:
    """The file's rows and their features, whole columns at a time; of payments those of `since` and later."""
    contract, column_map = inputs.contract.without_labels(), inputs.column_map
    start = 0 if since is None else (since - date(1970, 1, 1)).days * DAY
    unscored = range(0) if inputs.risk is None else range(start, inputs.risk.first_time)
    source = file_source(file, column_map.delimiter)
    found = own_data.read(source, contract, column_map, keep_ids=True, unscored=unscored)
    found.report.findings.refuse()
    assert found.ids is not None  # noqa: S101  # for the type checker: they were asked for
    if inputs.risk is None or found.payments is None:
        if since is not None:
            raise Misconfigured(f"--since must be for payments, {contract.name} has features")
        rows = found.table()
        return Asked(found.ids, rows.features, np.zeros(len(rows), np.int64))
    has_ids = not column_map.origin(ID).row_number
    known = read_known(settings, inputs).since(inputs.risk.plan)
    first = int(np.searchsorted(found.payments.time, start))
    asked, names = found.payments.take(np.arange(first, len(found.payments))), found.ids.slice(first)
    payments, places = joined(known, Known(asked, names if has_ids else None))
    return Asked(names, inputs.risk.features(payments, places), inputs.risk.stale_days(asked.time))


def _warn(asked: Asked, risk: MerchantRisk | None) -> None:
    stale = int(np.count_nonzero(asked.stale_days))
    if stale and risk is not None:
        _log.warning(
            "merchants are seen as on the newest day that the run's counters reach: another run brings them up to date",
            rows=stale,
            of=len(asked.ids),
            newest_day=time_text(risk.plan.start_time + risk.newest_day() * DAY)[:10],
            most_days=int(asked.stale_days.max()),
        )


def _scored(scorer: Scorer, asked: Asked, reason_count: int) -> Iterator[tuple[int, Scores]]:
    """The first row of each block, and its scores; says every few seconds how far it is."""
    said = time.monotonic()
    for start in range(0, len(asked.features), _BLOCK_ROWS):
        yield start, scorer.score(asked.features[start : start + _BLOCK_ROWS], reason_count)
        if time.monotonic() - said > _SAID_EACH:
            said = time.monotonic()
            _log.info("scoring", rows=min(start + _BLOCK_ROWS, len(asked.features)), of=len(asked.features))


def _csv(stream: TextIO, scorer: Scorer, asked: Asked, reason_count: int) -> int:
    """Writes one line a row; returns how many are alerts."""
    most = min(reason_count, scorer.reason_count)
    writer, alerts, hashes = csv.writer(stream, lineterminator="\n"), 0, _hashes(scorer)
    named = [name for place in range(1, most + 1) for name in (f"reason_{place}", f"weight_{place}")]
    writer.writerow(["transaction_id", "probability", "alert", *named, "stale_days", *hashes])
    for line in _lines(scorer, asked, reason_count):
        alerts += bool(line["alert"])
        told = {None: "", True: "yes", False: "no"}[line["alert"]]
        reasons = [cell for reason in line["reasons"] for cell in (reason.name, f"{reason.weight:.4f}")]
        writer.writerow(
            [line["transaction_id"], repr(line["probability"]), told, *reasons, line["stale_days"], *hashes.values()]
        )
    return alerts


def _json_lines(stream: TextIO, scorer: Scorer, asked: Asked, reason_count: int) -> int:
    """The same as JSON, with what each reason is about."""
    alerts, hashes = 0, _hashes(scorer)
    for line in _lines(scorer, asked, reason_count):
        alerts += bool(line["alert"])
        told = {**line, "reasons": [asdict(reason) for reason in line["reasons"]], **hashes}
        stream.write(json.dumps(told, ensure_ascii=False) + "\n")
    return alerts


def _lines(scorer: Scorer, asked: Asked, reason_count: int) -> Iterator[dict[str, Any]]:
    for start, scores in _scored(scorer, asked, reason_count):
        names = asked.ids.slice(start, len(scores.probabilities)).to_pylist()
        for place, probability in enumerate(scores.probabilities.tolist()):
            yield {
                "transaction_id": names[place],
                "probability": probability,
                "alert": None if scores.alerts is None else bool(scores.alerts[place]),
                "reasons": scores.reasons[place] if scores.reasons else (),
                "stale_days": int(asked.stale_days[start + place]),
            }


def _hashes(scorer: Scorer) -> dict[str, str]:
    kept = scorer.kept
    return {
        "model_sha256": kept.scoring.model_sha256.hex(),
        "feature_plan_sha256": kept.feature_plan_sha256.hex(),
    }


@contextmanager
def _written(out: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that is whole or not there, for its owner alone."""
    if out is None:
        yield sys.stdout
        return
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with open(temporary, "x", encoding="utf-8", newline="", opener=_owners) as stream:  # its mode
            yield stream
        temporary.replace(out)
    except OSError as error:
        raise Misconfigured(f"--out must be writable: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _owners(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
