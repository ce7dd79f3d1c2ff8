"""What a bank's rows break: each rule with file, column, row and value, bounded however many there are.

All of it stays in the bank.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid

SHOWN_A_RULE = 5
"""Rows named for one rule of one column; the others are counted."""
SHOWN = 100
"""Rows named in all."""


class Broken(Invalid):
    """A rule broken by a whole file: it cannot be read, or lacks columns, each with a sentence."""

    def __init__(self, rule: str, *sentences: str, columns: tuple[str, ...] = ("",)) -> None:
        super().__init__(sentences[0])
        self._rule, self._sentences, self._columns = rule, sentences, columns

    def faults(self, file: str) -> "Iterator[Fault]":
        """One a column."""
        for sentence, column in zip(self._sentences, self._columns, strict=True):
            yield Fault(self._rule, sentence, file, column)


@dataclass(frozen=True)
class Fault:
    """One rule broken in one place; `column` and `row` are empty and 0 where it is of the whole file."""

    rule: str
    sentence: str
    file: str
    column: str = ""
    row: int = 0


@dataclass
class Findings:
    """Collects faults while rows are read."""

    faults: list[Fault] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows, or files, that break a rule in a column."""

    def __bool__(self) -> bool:
        return bool(self.counts)

    def add(self, fault: Fault, count: int = 1) -> None:
        """One fault, which stands for `count` rows."""
        self.counts[fault.rule, fault.column] += count
        if self.counts[fault.rule, fault.column] - count < SHOWN_A_RULE and len(self.faults) < SHOWN:
            self.faults.append(fault)

    def rows(
        self, rule: str, file: str, column: str, bad: NDArray[np.bool_], told: Callable[[int], tuple[str, int]]
    ) -> None:
        """The rows of a chunk that break a rule: `told` gives an index's sentence, without row, and row number."""
        places = np.flatnonzero(bad)
        for index in places[:SHOWN_A_RULE].tolist():
            sentence, row = told(index)
            self.add(Fault(rule, f"{sentence} in row {row}", file, column, row))
        self.counts[rule, column] += max(len(places) - SHOWN_A_RULE, 0)

    def refuse(self) -> None:
        """Raises an Invalid with the first fault and how many there are; nothing where there is none."""
        if self:
            total = sum(self.counts.values())
            more = f" (and {total - 1:,} more; `check-data` lists them)" if total > 1 else ""
            raise Invalid(f"{self.faults[0].sentence}{more}")


@dataclass(frozen=True)
class Report:
    """What a check of a bank's data found, for people and for programs. `figures` are counts and times by name;
    `warnings` are sentences about rows that are taken all the same."""

    contract: str
    contract_sha256: str
    source: str
    figures: dict[str, Any]
    left_out: dict[str, str]
    findings: Findings
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the bank may join with these rows."""
        return not self.findings

    @property
    def timing(self) -> dict[str, str]:
        """How long it took, for a log line."""
        return {"seconds": str(self.figures["seconds"])}

    def json(self) -> str:
        """For programs: one object, keys as the fields."""
        broken = [{"rule": rule, "column": column, "count": n} for (rule, column), n in self.findings.counts.items()]
        told = {
            "version": 1,
            "contract": self.contract,
            "contract_sha256": self.contract_sha256,
            "source": self.source,
            "passed": self.passed,
            "figures": self.figures,
            "left_out": self.left_out,
            "broken": broken,
            "warnings": list(self.warnings),
            "faults": [asdict(fault) for fault in self.findings.faults],
        }
        return json.dumps(told, indent=2, ensure_ascii=False)

    def text(self) -> str:
        """For people: figures, what is left out and why, then every rule that is broken."""
        lines = [f"data of {self.source} against the contract {self.contract} ({self.contract_sha256[:12]})"]
        lines += [f"  {name.replace('_', ' ')}: {_printed(value)}" for name, value in self.figures.items()]
        lines += [f"  left out: {column}, {why}" for column, why in self.left_out.items()]
        lines += [f"WARNING {sentence}" for sentence in self.warnings]
        for (rule, column), count in self.findings.counts.items():
            lines.append(f"REFUSED {rule}{f', column {column}' if column else ''}: {count:,}")
            named = [f for f in self.findings.faults if (f.rule, f.column) == (rule, column)]
            lines += [f"    {fault.sentence}" for fault in named]
            lines += [f"    and {count - len(named):,} more"] if count > len(named) else []
        lines.append("passed: the bank may join" if self.passed else "refused: the bank would not join")
        return "\n".join(lines)


def _printed(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
