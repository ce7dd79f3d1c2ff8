"""Rebuilds an attempt from its transcript: the aggregator after a crash, and anybody who wants to check a sum."""

from collections.abc import Callable

from fedfraud.fixed_point import Words
from fedfraud.masking import Transcript
from fedfraud.masking_sum import MaskedSum, Stage


def replay(transcript: Transcript, words: Callable[[str], Words], stage: Stage = Stage.UNMASK) -> MaskedSum:
    """An attempt that has come to this stage, from the answers that were accepted; `words` gives a seat's masked words.
    Every signature, hash and count is checked again."""
    attempt = MaskedSum(transcript.parameters, transcript.roster)
    takes: tuple[Callable[[], object], ...] = (
        lambda: [attempt.advertise(answer) for answer in transcript.advertisements],
        lambda: [attempt.share(answer) for answer in transcript.shares],
        lambda: [attempt.mask(answer, words(answer.seat)) for answer in transcript.masked],
        lambda: [attempt.consent(answer) for answer in transcript.consents],
        lambda: [attempt.unmask(answer) for answer in transcript.unmaskings],
    )
    for number, take in enumerate(takes[: stage + 1]):
        take()
        if number < stage:
            attempt.close()
    return attempt


def recompute(transcript: Transcript, words: Callable[[str], Words]) -> Words:
    """The sum, (word_count,), by anybody who has the transcript and the masked words. A bank compares the transcript's
    parameters and roster with its own state's first."""
    return replay(transcript, words).open()
