"""The report's words on a recalibration of the final model: what it would be and gain, and that it is not used."""

from services.reporter.document import Block, Paragraph
from services.reporter.facts import RunFacts
from services.reporter.reading import put

_FIT = "final.recalibration"


def recalibration(run: RunFacts) -> list[Block]:
    """What was fitted, if it was: on the rows that it was fitted on, and on the hold-out where there is one."""
    found = run.final.recalibration
    if found is None:
        return []
    elsewhere = ""
    if found.holdout_log_loss is not None and run.final.holdout is not None:
        elsewhere = (
            f" On the public hold-out, which it was not fitted on, it would be {put(f'{_FIT}.holdout_log_loss')} "
            f"instead of {put('final.holdout.log_loss')}."
        )
    slope, intercept, fitted = (put(f"{_FIT}.{name}") for name in ("slope", "intercept", "pooled_log_loss"))
    return [
        Paragraph(
            f"Read as probabilities, the scores fit all banks' validation rows best with a slope of {slope} and an "
            f"intercept of {intercept} on their log-odds. The log loss there would be {fitted} instead of "
            f"{put('final.pooled.log_loss')}, on the very rows that this was fitted on.{elsewhere} It is not in the "
            "model, no other figure here has it, and no ranking would change."
        )
    ]
