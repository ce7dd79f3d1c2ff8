"""The English that the check of a model's prose knows: number words, directions, and how a sentence may begin."""

import re

_UNITS = "one two three four five six seven eight nine"
_NUMBERS = (
    f"zero nil nought naught {_UNITS} ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen "
    "twenty thirty forty fourty fifty sixty seventy eighty ninety hundred thousand million billion trillion "
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth twentieth hundredth thousandth "
    "half halve halved halves halving quarter dozen score couple pair myriad once twice thrice "
    "double doubled doubling triple tripled treble quadruple quadrupled percent percentage permille"
).split()
# Words of the trade that are spelt like a number.
_INNOCENT = {"score", "scores", "second", "seconds", "pair", "pairs", "percentage"}
_NUMBER_WORD = re.compile(rf"(?:{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})+(?:s|th|ths|fold)?")
_ROMAN = re.compile(r"(?=[IVXLC]{2,})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
NUMBER_PHRASE = re.compile(r"\bper ?cent\b|\bper mill?e\b|\bbasis points?\b|\b\w*fold\b|\btimes\b", re.IGNORECASE)
"""Words that scale a number, or are one together."""
QUANTITY = re.compile(
    r"\b(?:nothing|nobody|none|everything|everybody|everyone)\b|"
    r"\b(?:no|zero) (?:\w+ ){0,2}(?:banks?|frauds?|transactions?|alerts?|rounds?)\b|"
    r"\b(?:all|every|each|both|most|any|few|many|several|almost) (?:\w+ ){0,2}"
    r"(?:frauds?|transactions?|alerts?|rounds?)\b",
    re.IGNORECASE,
)
"""Claims of a quantity without a number: `no bank`, `every fraud`. The template makes them from the facts."""


def is_number_word(word: str) -> bool:
    """Whether a word says a number: `twelve`, `twentyfold`, `XII`; not `score`."""
    plain = word.lower()
    return plain not in _INNOCENT and bool(_NUMBER_WORD.fullmatch(plain) or _ROMAN.fullmatch(word))


def _stems(text: str) -> re.Pattern[str]:
    """Whole words; a hyphen at the end stands for any ending."""
    words = [re.escape(word.rstrip("-")) + (r"[a-z]*" if word.endswith("-") else "") for word in text.split()]
    return re.compile(rf"(?<![\w-])(?:{'|'.join(words)})(?![\w-])", re.IGNORECASE)


UP = re.compile(
    _stems(
        "rise rises rising rose risen increas- grow grows growing grew grown climb- higher greater larger above "
        "exceed- surpass- upward upwards"
    ).pattern
    # What is asked for is no claim.
    + r"|\bmore\b(?! (?:rows|seeds|rounds|data|labels|transactions|time|runs|often|closely|recent)\b)",
    re.IGNORECASE,
)
DOWN = _stems(
    "fall falls falling fell fallen decreas- declin- dropped shrink- shrank lower lowered lowers lowering less fewer "
    "smaller below downward downwards reduc- diminish-"
)
BETTER = _stems("improv- better benefit- outperform- gain gains gained gaining stronger superior win wins won")
WORSE = _stems(
    "worse worsen- degrad- deteriorat- underperform- lose loses losing lost weaker inferior regress- suffer- "
    "harm- hurt-"
)
UNCHANGED = _stems("unchanged equal equals equally stable steady flat identical")
DIRECTIONS = ((UP, 1, False), (DOWN, -1, False), (BETTER, 1, True), (WORSE, -1, True), (UNCHANGED, 0, False))
"""Words, the sign that they claim, and whether they judge: less log loss is better."""
UNCHECKABLE = re.compile(
    r"\b(?:not|no|never|neither|nor|without|hardly|barely|cannot|fails?|failed|all|every|each|both|most|none|any|few|"
    r"many|several|always|only|everyone|everybody|nobody|nowhere|half|majority|minority|rest|others?)\b|n['’]t\b",
    re.IGNORECASE,
)
"""Words with which no direction can be held to the sign of a figure."""
BEST = _stems("best highest largest greatest strongest top")
WORST = _stems("worst lowest smallest weakest bottom")

JUDGEMENTS = _stems(
    "excellent perfect- flawless outstanding reliabl- unreliabl- guarantee- safe safely certain certainly deploy- "
    "rollout approv- production useless proven"
)
"""Verdicts: the report gives its own, from the facts."""
INSTRUCTIONS = _stems("ignore instruct- prompt prompts password- click visit download http https www javascript")
"""What an injected text says; a report has no use for it."""

TOPICS = {
    "accuracy": _stems("accuracy"),
    "average precision": re.compile(r"\baverage precisions?\b|\bAPs?\b"),
    "AUROC": re.compile(r"\bAU-?ROC\b|\bROC\b|\bAUC\b", re.IGNORECASE),
    "recall": _stems("recall"),
    "log loss": re.compile(r"\blog[- ]loss\b", re.IGNORECASE),
    "prevalence": _stems("prevalence"),
    "central": _stems("central centrally centralised centralized"),
    "pooled": _stems("pooled"),
    "hold-out": re.compile(r"\bhold-?outs?\b", re.IGNORECASE),
}
"""What a figure can be about: a sentence with figures that names one must hold a figure about it."""
PLACES = frozenset({"central", "pooled", "hold-out"})
"""The topics that are no metric."""

NAMES = frozenset(
    {"AP", "AUROC", "AUC", "ROC", "FedAvg", "Federated", "Federation", "Brier", "GDPR", "DORA", "PSI", "AI"}
)
"""What may be spelt with a capital anywhere."""
_OPENERS = frozenset(
    """
    a about accuracy across act after again against agree alert alerts alone also although among an analyse analyze and
    another approach as ask assess at attention auroc average aggregation
    bank banks be because before being beside besides between beyond both but by
    calibrate calibration care cards check choose clip clipping collect compare compared comparison confirm consider
    continue contributions convergence customers
    data decide define depending despite differences disclosed discuss do document drift due during
    each either ensure establish evaluate even evidence examine explain extend
    false few figures final fix for fraud frauds from further
    given have heterogeneity hence here hold-out how however
    identify if in include independent inspect instead interpret investigate is it its
    keep knowledge labels later let limit limits local log look low
    make many measure metrics missing model models monitor more moreover most much
    neither new next no nor not note now
    obtain of on operators or other others otherwise our out outside over overall own
    participants patterns per performance personal pilot plan pooled precision prepare prevalence privacy probabilities
    probability protect provide publish put
    rather read recall receive record refusals refused regular relative repeat report require results retain retrain
    review reviewers risk risks rounds run
    scores secure see seek select separate set several share show similarly simulated since small so some stability
    staff start still stop such
    take test than that the their them then there therefore these they this those though threshold thresholds through
    thus to together track train training transactions treat true
    uncertainty under understand unless until update uplift use users
    validate validation values verify void
    wait watch we weigh when where whereas whether which while who whoever why with within
    work write yet you your
    """.split()  # noqa: SIM905  a column of words is easier to read than a list of strings
)
_ENDINGS = ("ing", "ly")


def may_open(word: str) -> bool:
    """Whether a sentence may begin with this word: unknown ones with a capital could be an invented name."""
    plain = word.lower()
    return plain in _OPENERS or word in NAMES or (plain.endswith(_ENDINGS) and len(plain) > 5 and not word.isupper())
