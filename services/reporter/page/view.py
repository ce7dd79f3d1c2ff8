"""What the page shows: the state of things in a word, and each section as HTML, from facts alone."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.reporter.derived import comparable, middle_budget
from services.reporter.facts import BankFacts, Event, RunFacts, SeatState
from services.reporter.page import charts
from services.reporter.page.archive import Beside, EarlierRun
from services.reporter.page.figures import Figures
from services.reporter.reading import agreed
from services.reporter.rounding import sign
from services.reporter.score_facts import Budget, CurveFacts, ScoreFacts
from services.reporter.summary import seat_order
from services.reporter.trade_parts import has_central

SECTIONS = (
    "status",
    "verdict",
    "convergence",
    "banks",
    "cost",
    "events",
    "thresholds",
    "trade",
    "gain",
    "heterogeneity",
    "release",
    "settings",
    "report",
    "runs",
)
"""In the order in which the page has them; each is a template."""
SHOWN_EVENTS = 60
"""Events on the page; the facts hold more."""

State = Literal["connecting", "waiting", "running", "void", "finished", "stopped", "failed"]
LABELS: dict[State, str] = {
    "connecting": "Connecting",
    "waiting": "Waiting for banks",
    "running": "Running",
    "void": "Round without result",
    "finished": "Finished",
    "stopped": "Stopped",
    "failed": "Failed",
}

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Shown:
    """All that the page is made of at one moment. `connected`: whether the journal's stream is up."""

    connected: bool
    run: RunFacts | None
    seats: dict[str, SeatState] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    earlier: list[EarlierRun] = field(default_factory=list)
    beside: Beside = field(default_factory=Beside)
    live: bool = True
    """False for an earlier run, of which nothing changes any more."""

    @property
    def state(self) -> State:
        """In one word."""
        if self.run is None:
            return "waiting" if self.connected or self.seats else "connecting"
        if self.run.run.outcome:
            return self.run.run.outcome
        return "void" if self.run.rounds and self.run.rounds[-1].outcome != "committed" else "running"


def sections(shown: Shown) -> dict[str, str]:
    """The HTML of every section by name, and the window's title as text."""
    context = _context(shown)
    drawn = {name: _templates.get_template(f"sections/{name}.html").render(context).strip() for name in SECTIONS}
    return {**drawn, "title": title(shown)}


def page(drawn: dict[str, str], version: str) -> str:
    """The whole page around drawn sections; `version` names what a live page shows, empty for an earlier run."""
    html = {name: Markup(text) for name, text in drawn.items()}  # noqa: S704  # made by templates that escape
    return _templates.get_template("page.html").render(sections=html, version=version, title=drawn["title"])


def problem(title: str, text: str) -> str:
    """A page that says what is not there."""
    return _templates.get_template("problem.html").render(title=title, text=text)


def title(shown: Shown) -> str:
    """The window's title: how things stand, first."""
    return f"{LABELS[shown.state]} · fedfraud" + (f" · {shown.run.run.id}" if shown.run else "")


def _context(shown: Shown) -> dict[str, object]:
    run = shown.run
    head = headline(run) if run else None
    return {
        "state": shown.state,
        "label": LABELS[shown.state],
        "connected": shown.connected,
        "live": shown.live,
        "beside": shown.beside,
        "run": run,
        "fig": Figures(run) if run else None,
        "seats": dict(sorted(shown.seats.items(), key=lambda item: seat_order(item[0]))),
        "present": sum(state == "present" for state in shown.seats.values()),
        "head": head,
        "rows": {"holdout": "the public hold-out", "pooled": "all banks’ validation rows"},
        "comparison": comparison(run) if run else None,
        "curve": curve(run) if run else None,
        "lead": lead_budget(run) if run else None,
        "has_central_trade": has_central(run) if run else False,
        "comparable": comparable(run) if run else False,
        "agreed": agreed,
        "change": lambda uplift: {1: "gain", -1: "loss", 0: ""}[sign(uplift)],
        "doing": doing(run) if run else {},
        "uncompared": uncompared(run) if run else [],
        "gains": gains(run) if run else [],
        "silent": silent(run) if run else set(),
        "news": news(shown),
        "earlier": [
            (each, Figures(each.run, each.run.run.id))
            for each in shown.earlier
            if run is None or each.run.run.id != run.run.id
        ],
        "charts": charts,
    }


def headline(run: RunFacts) -> tuple[str, ScoreFacts] | None:
    """The key of the scores that the verdict rests on, and these: the hold-out, else the banks' rows; of the last
    round that was measured, while or when the last model was not."""
    for name, scores in (("holdout", run.final.holdout), ("pooled", run.final.pooled)):
        if scores is not None and scores.average_precision is not None:
            return f"final.{name}", scores
    for place in reversed(range(len(run.rounds))):
        for name, scores in (("holdout", run.rounds[place].holdout), ("pooled", run.rounds[place].pooled)):
            if scores is not None and scores.average_precision is not None:
                return f"rounds.{place}.{name}", scores
    return None


def comparison(run: RunFacts) -> tuple[str, str, str, int] | None:
    """The keys of the figures alone and federated of the banks that disclose both, on which rows, and whether federated
    is higher, 1, lower, -1, or the same as it is printed, 0."""
    final = run.final
    if final.uplift_holdout and final.compared_alone_holdout:
        way = sign(final.uplift_holdout.mean)
        return "final.compared_alone_holdout", "final.compared_federated_holdout", "the public hold-out", way
    if final.uplift and final.compared_alone:
        way = sign(final.uplift.mean)
        return "final.compared_alone", "final.compared_federated", "their own validation rows", way
    return None


def curve(run: RunFacts) -> tuple[str, CurveFacts, ScoreFacts | None] | None:
    """The key of the thresholds to show, these, and the scores on the same rows."""
    if run.final.holdout_curve:
        return "final.holdout_curve", run.final.holdout_curve, run.final.holdout
    return ("final.pooled_curve", run.final.pooled_curve, run.final.pooled) if run.final.pooled_curve else None


def lead_budget(run: RunFacts) -> tuple[str, Budget] | None:
    """The key of the alert budget that the page leads with, and it: the one that the report speaks of."""
    found = curve(run)
    if found is None or not found[1].budgets:
        return None
    place = middle_budget(found[1])
    return f"{found[0]}.budgets.{place}", found[1].budgets[place]


def doing(run: RunFacts) -> dict[str, str]:
    """What each seat of the open round's cohort does, in a word or two."""
    if run.open is None:
        return {}
    return {
        **dict.fromkeys(run.open.cohort, "dropped out"),
        **dict.fromkeys(run.open.sat_out, "sat out"),
        **dict.fromkeys(run.open.awaited, "waited for" if run.open.stage else "working"),
        **dict.fromkeys(run.open.answered, "answered"),
    }


def uncompared(run: RunFacts) -> list[list[int]]:
    """The places of the banks whose comparison is not known, those of one reason together."""
    reasons: dict[str, list[int]] = {}
    for place, bank in enumerate(run.banks):
        if bank.no_uplift:
            reasons.setdefault(bank.no_uplift, []).append(place)
    return list(reasons.values())


def gains(run: RunFacts) -> list[tuple[int, BankFacts]]:
    """Banks with their place in the facts: the largest gain first, then those that disclose no comparison."""
    order = {True: 1, False: 0}
    return sorted(enumerate(run.banks), key=lambda item: (order[item[1].uplift is None], -(item[1].uplift or 0)))


def silent(run: RunFacts) -> set[str]:
    """Banks that have not answered since others last did, or that the last round waited for in vain; none while a round
    is open."""
    if run.open:
        return set()
    newest = max((bank.last_answered_round or 0 for bank in run.banks), default=0)
    last = run.rounds[-1] if run.rounds else None
    lost = [one.seat for one in last.missing if one.stage == last.stage] if last and last.stage else []
    return {*lost, *(bank.seat for bank in run.banks if (bank.last_answered_round or 0) < newest)}


def news(shown: Shown) -> list[tuple[Event, str]]:
    """The last events, the newest first, each with its key in the run's facts if it is one of theirs."""
    own = shown.run.events if shown.run else []
    told = [(event, f"events.{place}") for place, event in enumerate(own)]
    known = {(event.time, event.text) for event in own}
    later = [(event, "") for event in shown.events if (event.time, event.text) not in known]
    return [*told, *later][::-1][:SHOWN_EVENTS]
