"""The words that the check knows."""

import pytest

from services.reporter.wording import BETTER, DOWN, UP, WORSE, is_number_word, may_open


@pytest.mark.parametrize(
    "word", ["one", "Twelve", "twentyfive", "thousands", "tenfold", "sixth", "halves", "XIV", "couple"]
)
def test_a_number_word_is_known_in_any_form(word: str) -> None:
    assert is_number_word(word)


@pytest.mark.parametrize(
    "word", ["score", "seconds", "pairs", "oneself", "attention", "often", "someone", "I", "mix", "AP"]
)
def test_a_word_that_only_holds_a_number_is_none(word: str) -> None:
    assert not is_number_word(word)


def test_a_direction_is_known_in_any_form_and_a_part_of_a_word_is_none() -> None:
    assert all(words.search(text) for words, text in ((UP, "it increased"), (UP, "Higher"), (DOWN, "decreasing")))
    assert all(words.search(text) for words, text in ((BETTER, "an improvement"), (WORSE, "worsened")))
    assert not any(words.search(text) for words, text in ((DOWN, "lessons"), (BETTER, "against"), (WORSE, "the worst")))


def test_a_sentence_begins_with_an_ordinary_word_or_a_name_of_the_trade() -> None:
    assert all(may_open(word) for word in ("The", "Banks", "AUROC", "Retraining", "Consequently"))
    assert not any(may_open(word) for word in ("Barclays", "ING", "Wells", "Sterling0", "Ally"))
