"""How far one round could be verified, as a line of a table."""

from dataclasses import dataclass

from fedfraud.wire import RoundKey


@dataclass
class Depth:
    """In words; a dash is what a round does not have."""

    key: RoundKey
    step: str
    outcome: str
    banks: int
    contributions: str = "-"
    sum: str = "-"
    model: str = "-"

    @property
    def text(self) -> str:
        """One line of the table."""
        cells = self.key.run_id, self.key.round, self.step, self.outcome, self.banks
        return _line(*cells, self.contributions, self.sum, self.model)


def _line(*cells: object) -> str:
    run, number, step, outcome, banks, contributions, total, model = cells
    return f"{run:<22}{number:>6}  {step:<10}{outcome:<11}{banks:>5}  {contributions:<15}{total:<12}{model}"


HEADER = _line("run", "round", "step", "outcome", "banks", "contributions", "sum", "model")
