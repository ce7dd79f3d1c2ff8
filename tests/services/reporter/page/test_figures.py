"""A fact is printed by its key, escaped, and nothing is printed that is not a fact."""

import pytest

from services.reporter.page.figures import FORMS, Figures, byte_size
from tests.services.reporter.journals import Journal, two_banks


def test_a_figure_names_its_key_its_form_and_its_exact_value() -> None:
    html = Figures(two_banks().facts())("final.holdout.average_precision", "score")
    assert html == (
        '<data class="figure" data-fact="final.holdout.average_precision" data-form="score" value="0.7">0.700</data>'
    )


def test_what_is_not_known_is_a_dash_and_says_so() -> None:
    figures = Figures(Journal().started().finished().facts())
    for key in ("final.holdout.average_precision", "run.model_sha256", "run.reason"):
        assert figures(key) == '<span class="none" title="not known">–</span>'
        assert figures.text(key) == "–"


@pytest.mark.parametrize("key", ["final.nothing", "banks.2.seat", "run.id.first", "rounds.x.seconds"])
def test_a_key_that_the_facts_do_not_have_is_an_error(key: str) -> None:
    with pytest.raises((KeyError, IndexError, ValueError, TypeError)):
        Figures(two_banks().facts())(key)


def test_what_others_wrote_is_escaped_in_text_and_in_attributes() -> None:
    run = Journal().started().refused('"><script>alert(1)</script>', "<img src=x onerror=alert(1)>").finished().facts()
    html = Figures(run)("refusals.last.0.seat") + Figures(run)("refusals.last.0.reason")
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("<data ") == 2


def test_a_figure_of_another_run_names_it() -> None:
    assert ' data-run="earlier"' in Figures(two_banks().facts(), "earlier")("run.seed")


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("score", 0.76949, "0.769"),
        ("signed", -0.0104, "-0.010"),
        ("prevalence", 0.01981, "0.0198"),
        ("logit", 13.6037, "+13.604"),
        ("percent", 0.5063, "50.6 %"),
        ("rate", 0.02, "2.00 %"),
        ("count", 12345.0, "12,345"),
        ("whole", 0.95, "95 %"),
        ("two", 1.4445, "1.44"),
        ("five", 0.003912, "0.00391"),
        ("euro", 10289.67, "10,289.67"),
        ("seconds", 1234.567, "1,234.57 s"),
        ("text", True, "yes"),
        ("time", "2026-11-23T22:45:01Z", "22:45:01"),
        ("moment", "2026-11-23T22:45:01.25Z", "2026-11-23 22:45:01"),
    ],
)
def test_the_forms(form: str, value: object, text: str) -> None:
    assert FORMS[form](value) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(999, "999 B"), (1000, "1.0 kB"), (12_345, "12.3 kB"), (4_560_000, "4.56 MB"), (1_458_580_000, "1.46 GB")],
)
def test_bytes_are_in_powers_of_ten(size: int, text: str) -> None:
    assert byte_size(size) == text
