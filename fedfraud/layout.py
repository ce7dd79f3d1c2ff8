"""Which segments a contribution has, which codec each of them, and which words are whose."""

from collections.abc import Sequence

from fedfraud.errors import Invalid
from fedfraud.fixed_point import CountCodec, EvaluateCodec, Segment, TrainCodec, Words
from fedfraud.manifest import Manifest
from fedfraud.recipe import Recipe
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.trade import USUAL_TERMS, TradeTerms
from fedfraud.trade_codec import TradeCodec

Codec = CountCodec | TrainCodec | StandardiseCodec | EvaluateCodec | TradeCodec


class Layout:
    """Which words of a contribution belong to which segment."""

    def __init__(
        self, segments: Sequence[Segment], manifest: Manifest, recipe: Recipe, terms: TradeTerms = USUAL_TERMS
    ) -> None:
        self.codecs: dict[Segment, Codec] = {s: codec_for(s, manifest, recipe, terms) for s in segments}
        if not segments or len(self.codecs) != len(segments):
            raise Invalid(f"segments must be one or more and differ, got {[s.value for s in segments]}")
        self.length = sum(codec.length for codec in self.codecs.values())

    def part(self, words: Words, segment: Segment) -> Words:
        """The segment's words of a contribution or of a sum."""
        return words[self.place(segment)]

    def place(self, segment: Segment) -> slice:
        """Where they begin and end."""
        start = 0
        for kind, codec in self.codecs.items():
            if kind is segment:
                return slice(start, start + codec.length)
            start += codec.length
        raise Invalid(f"no {segment.value} segment in this layout: {[s.value for s in self.codecs]}")

    def check_sum(self, words: Words, contributions: int) -> None:
        """Holds an opened sum of so many contributions to what they can add up to within their bounds."""
        for segment, codec in self.codecs.items():
            codec.check_sum(self.part(words, segment), contributions)

    def check(self, words: Words) -> None:
        """Holds one bank's contribution to the length and the bounds of every segment."""
        if len(words) != self.length:
            raise Invalid(f"a contribution must have {self.length} words, got {len(words)}")
        for segment, codec in self.codecs.items():
            codec.check(self.part(words, segment))


def count_codec(manifest: Manifest) -> CountCodec:
    """The codec of the buckets and days of the manifest's feature plan."""
    plan = manifest.feature_plan
    if plan is None:
        raise Invalid(f"a count segment must be of transactions, the population {manifest.population!r} has none")
    return CountCodec(plan.bucket_count, plan.counted_days)


def trade_codec(manifest: Manifest, terms: TradeTerms = USUAL_TERMS) -> TradeCodec:
    """The codec of the test days of the manifest's feature plan and of the run's budgets."""
    if manifest.feature_plan is None:
        raise Invalid(f"a trade segment must be of transactions, the population {manifest.population!r} has none")
    return TradeCodec(manifest.feature_plan.test_days, terms.budgets, terms.headline)


def standardise_codec(manifest: Manifest) -> StandardiseCodec:
    """The codec of the manifest's features."""
    return StandardiseCodec(tuple(feature.resolution for feature in manifest.features))


def train_codec(manifest: Manifest, recipe: Recipe) -> TrainCodec:
    """The codec of the manifest's parameters under the recipe's clip."""
    return TrainCodec(manifest.parameter_count, recipe.clip)


def codec_for(segment: Segment, manifest: Manifest, recipe: Recipe, terms: TradeTerms = USUAL_TERMS) -> Codec:
    """The one codec of a segment under a manifest, a recipe and the terms of the trade."""
    match segment:
        case Segment.COUNT:
            return count_codec(manifest)
        case Segment.STANDARDISE:
            return standardise_codec(manifest)
        case Segment.TRAIN:
            return train_codec(manifest, recipe)
        case Segment.EVALUATE:
            return EvaluateCodec()
        case Segment.TRADE:
            return trade_codec(manifest, terms)
