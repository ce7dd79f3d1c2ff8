"""What a person sees of a local run: who joined, each round, and the result."""

import sys
import time
from itertools import pairwise

from fedfraud.v1 import history_pb2, model_pb2
from fedfraud.wire import role_from_proto, scores_from_proto
from services.reporter.facts import RunFacts

# The banks' validation rows score the model that a round begins with, so that column lags the others by a round.
_HEADER = f"{'round':>8}  {'banks':>5}  {'AP hold-out':>11}  {'AUROC':>6}  {'pooled before':>13}  {'seconds':>7}"


class Console:
    """Prints lines as the journal grows, and remembers when each part of the run began."""

    def __init__(self, banks: int, rounds: int) -> None:
        self._banks = banks
        self._rounds = rounds
        self._began = time.monotonic()
        self._joined: set[str] = set()
        self.running = False
        self._parts: list[tuple[str, float]] = [("start", self._began)]

    def say(self, text: str) -> None:
        """A line with the seconds since the start."""
        sys.stdout.write(f"{time.monotonic() - self._began:6.1f} s  {text}\n")
        sys.stdout.flush()

    def part(self, name: str) -> None:
        """A part of the run begins."""
        self._parts.append((name, time.monotonic()))

    def show(self, entry: history_pb2.Entry) -> None:
        """One journal entry, if a person wants to know of it."""
        match entry.WhichOneof("event"):
            case "lease_granted":
                self._joined.add(entry.lease_granted.seat)
                lease = entry.lease_granted.fencing_number
                again = "" if lease == 1 else f", lease {lease}"
                self.say(f"{entry.lease_granted.seat} joined ({len(self._joined)} of {self._banks}{again})")
            case "seat_absent":
                self.say(f"{entry.seat_absent.seat} left")
            case "certificate_revoked" if entry.certificate_revoked.seat:
                event = entry.certificate_revoked
                self.say(f"{event.seat} ({role_from_proto(event.role).value}) was revoked: {event.reason}")
            case "run_started":
                self.running = True
                self.part("rounds")
                self.say(f"run {entry.run_started.run_id} started, quorum {entry.run_started.quorum}")
                self.say(_HEADER)
            case "contribution_refused":
                refused = entry.contribution_refused
                self.say(f"refused {refused.seat}: {refused.status}: {refused.reason}")
            case "round_abandoned":
                self.say(f"round abandoned: {entry.round_abandoned.reason}")
            case "round_void":
                self.say(f"round void: {entry.round_void.reason}")
            case "round_committed":
                self._committed(entry.round_committed)

    def _committed(self, event: history_pb2.RoundCommitted) -> None:
        preparing = "counters" if model_pb2.SEGMENT_KIND_COUNT in event.segments else "scaler"
        name = (
            preparing if event.step == 0 else "final" if event.step > self._rounds else f"{event.step}/{self._rounds}"
        )
        # A score that the rows do not define is unset: it is no zero.
        holdout = scores_from_proto(event.holdout) if event.HasField("holdout") else None
        pooled = scores_from_proto(event.pooled) if event.HasField("pooled") else None
        self.say(
            f"{name:>8}  {len(event.seats):>5}  "
            f"{_figure(holdout.average_precision if holdout else None):>11}  "
            f"{_figure(holdout.roc_auc if holdout else None):>6}  "
            f"{_figure(pooled.average_precision if pooled else None):>13}  {event.seconds:>7.2f}"
        )

    def result(self, run: RunFacts, report: str) -> None:
        """The table of the result, the times of the parts, and where the report lies."""
        ended = time.monotonic()
        lines = ["", *_table(run), ""]
        starts = [*self._parts, ("", ended)]
        times = [f"{name} {after - at:.1f} s" for (name, at), (_, after) in pairwise(starts)]
        lines += [
            f"time    {', '.join(times)}; {ended - self._began:.1f} s in all",
            f"model   {run.run.model_sha256 or '-'}",
        ]
        lines += [f"report  {report}"]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


def _table(run: RunFacts) -> list[str]:
    """Average precision of banks alone and of the federation, on the hold-out and on the banks' own validation rows."""
    rows = [f"{'average precision':<34}{'hold-out':>9}{'own rows':>10}"]
    for title, pick in (("best", max), ("mean", _mean), ("worst", min)):
        holdout = [b.alone_holdout for b in run.banks if b.alone_holdout is not None]
        own = [b.alone for b in run.banks if b.alone is not None]
        cells = [_figure(pick(values) if values else None) for values in (holdout, own)]
        rows.append(f"{'a bank alone, ' + title:<34}{cells[0]:>9}{cells[1]:>10}")
    federated = [b.federated for b in run.banks if b.federated is not None]
    holdout_scores = run.final.holdout
    cells = [
        _figure(holdout_scores.average_precision if holdout_scores else None),
        _figure(_mean(federated) if federated else None),
    ]
    rows.append(f"{'federated (own rows: mean)':<34}{cells[0]:>9}{cells[1]:>10}")
    scored = holdout_scores or run.final.pooled
    if holdout_scores is None and scored:  # the rows that all banks validate on, together
        rows.append(f"{'federated (own rows: together)':<34}{'-':>9}{_figure(scored.average_precision):>10}")
    column = 9 if holdout_scores else 19
    if central := run.final.central:
        place = "all rows in one place" + ("" if holdout_scores else " (together)")
        rows.append(f"{place:<34}{_figure(central.average_precision):>{column}}")
    rows.append(f"{'no skill (share of frauds)':<34}{_figure(scored.prevalence if scored else None):>{column}}")
    return rows


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
