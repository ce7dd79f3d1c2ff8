"""A chunk's Arrow columns to the contract's values: numbers, times, flags and ids, and which rows have none.

Whole columns at a time; a value is looked at by itself only where its column does not convert as a whole.
"""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from services.bank_client.column_map import Origin
from services.bank_client.sources import Chunk

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
Mask = NDArray[np.bool_]

HOUR, DAY = 3_600, 86_400
NO_TIME = np.iinfo(np.int64).min
_SCALES = {"plain": 1.0, "seconds": 1.0, "milliseconds": 1e-3, "hours": float(HOUR), "days": float(DAY)}
_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_SPACE, _SIGN = r"[\s\x{A0}\x{202F}]", "[$€£]"
_MOST_SECONDS = 1e11  # the year 5138
LEAST_TIME, MOST_TIME = 0, int(_MOST_SECONDS)
"""Times are not before 1970, and none that is looked at further is after MOST_TIME."""


class WrongType(Exception):
    """A column holds what no value of its kind can come from; the words say what it holds."""


def cells(chunk: Chunk, origin: Origin, missing: tuple[str, ...]) -> pa.Array:
    """The bank's cells of one canonical column, null where one of the missing texts stands."""
    columns = [_nulled(chunk.columns[name], missing) for name in origin.columns]
    if len(columns) == 1:
        return columns[0]
    parts = [_text(column) for column in columns]
    if origin.form == "date parts":
        year, month, day, clock = parts
        month, day, clock = (pc.utf8_lpad(part, width, "0") for part, width in ((month, 2), (day, 2), (clock, 5)))
        return pc.binary_join_element_wise(pc.binary_join_element_wise(year, month, day, "-"), clock, " ")
    return pc.binary_join_element_wise(*parts, "-")


def numbers(column: pa.Array, form: str = "plain", decimal: str = ".", *, may_be_flags: bool = False) -> Floats:
    """(rows,) float64, NaN where there is none or it cannot be read. Booleans are 0 and 1 where they may be flags."""
    kind = column.type
    if pa.types.is_string(kind):
        column = _money(column, decimal) if form == "money" else _plain(column)
    elif pa.types.is_boolean(kind) and not may_be_flags:
        raise WrongType(f"must hold numbers, got {kind}")
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        if pa.types.is_null(kind):
            return np.full(len(column), math.nan)
        if not pa.types.is_decimal(kind):
            raise WrongType(f"must hold numbers, got {kind}")
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))  # null becomes NaN


def number_rule(origin: Origin) -> str:
    """What a column of numbers must hold, for a sentence."""
    if origin.form != "money":
        return "must hold finite numbers"
    example = "1,234.50" if origin.decimal == "." else "1.234,50"
    return f"must hold amounts such as {example}, with {origin.decimal!r} before the cents"


def times(column: pa.Array, origin: Origin) -> NDArray[np.int64]:
    """(rows,) whole seconds since 1970 UTC, rounded down; NO_TIME where there is none or it cannot be read."""
    kind = column.type
    if origin.form in ("seconds", "milliseconds", "hours", "days"):
        seconds = np.floor(numbers(column) * _SCALES[origin.form] + origin.start_time)
        found = _whole(seconds)
    elif pa.types.is_null(kind):
        return np.full(len(column), NO_TIME)
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        found = _seconds(column, origin.zone)
    elif pa.types.is_string(kind):
        found = _parsed(column, origin.zone)
    else:
        raise WrongType(f"must hold times, or numbers with a form that says of what, got {kind}")
    found[found != NO_TIME] += origin.shift_days * DAY
    return found


def flags(column: pa.Array, origin: Origin) -> NDArray[np.int8]:
    """(rows,) 1, 0, -1 where there is none, -2 where it is neither."""
    if origin.values:
        places: dict[str, int] = dict(origin.values)
        unique = pc.dictionary_encode(_text(column))
        known = [places.get(text, -2) for text in unique.dictionary.to_pylist()]
        codes = unique.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
        return np.asarray(np.array([*known, -1], np.int8)[codes])
    if pa.types.is_string(column.type):
        return flags(column, origin.model_copy(update={"values": {"0": 0, "1": 1, "0.0": 0, "1.0": 1}}))
    values = numbers(column, may_be_flags=True)
    found = np.full(len(values), -2, np.int8)
    for number in (0, 1):
        found[values == number] = number
    found[column.is_null().to_numpy(zero_copy_only=False) | np.isnan(values)] = -1
    return found


def texts(column: pa.Array) -> pa.Array:
    """Ids as text, null where there is none; whole numbers that are stored as floats have no point."""
    if pa.types.is_floating(column.type):
        try:
            column = column.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise WrongType("must hold ids, got fractions") from error
    return _nulled(_text(column), ("",))


def shown(column: pa.Array, index: int) -> str:
    """A cell for a sentence: short, and nothing where there is none."""
    try:
        value: Any = column[index].as_py()
    except (ValueError, OverflowError):  # a time that Python has none for
        value = column[index].value
    if value is None:
        return "nothing"
    if isinstance(value, float):
        return f"{value:g}"
    return repr(value[:40]) if isinstance(value, str) else str(value)[:40]


def _nulled(column: pa.Array, missing: tuple[str, ...]) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if not pa.types.is_string(column.type) or not missing:
        return column
    return pc.if_else(pc.is_in(column, pa.array(missing, pa.string())), pa.scalar(None, pa.string()), column)


def _plain(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.float64())
    except pa.ArrowInvalid:  # Python's float would take 1_000 and the digits of other scripts
        return _where(column, rf"^\s*[+-]?{_NUMBER}\s*$", pc.utf8_trim_whitespace(column))


def _money(column: pa.Array, decimal: str) -> pa.Array:
    """A separator of thousands stands before groups of three digits alone: 12,50 is neither 1250 nor 12.5."""
    point, thousands = (r"\.", ",") if decimal == "." else (",", r"\.")
    grouped = "|".join(rf"[0-9]{{1,3}}(?:{each}[0-9]{{3}})+" for each in (thousands, _SPACE))
    amount = rf"(?:(?:[0-9]+|{grouped})(?:{point}[0-9]*)?|{point}[0-9]+)"
    known = rf"^{_SPACE}*[+-]?{_SPACE}*{_SIGN}?{_SPACE}*[+-]?{amount}{_SPACE}*{_SIGN}?{_SPACE}*$"
    bare = pc.replace_substring_regex(column, rf"{_SIGN}|{thousands}|{_SPACE}", "")
    return _where(column, known, pc.replace_substring_regex(bare, point, "."))


def _where(column: pa.Array, pattern: str, read: pa.Array) -> pa.Array:
    """The numbers of what was read of each cell, null where the cell is none by the pattern."""
    found = pc.if_else(pc.match_substring_regex(column, pattern), read, pa.scalar(None, pa.string()))
    return pc.if_else(pc.match_substring_regex(found, rf"^[+-]?{_NUMBER}$"), found, None).cast(pa.float64())


def _text(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise WrongType(f"must hold text or whole numbers, got {column.type}") from error


def _parsed(column: pa.Array, zone: str) -> NDArray[np.int64]:
    """ISO 8601 with a space or T, with or without an offset; the date's hyphens may be slashes."""
    column = pc.replace_substring_regex(column, r"^(\d{4})/(\d{2})/(\d{2})", r"\1-\2-\3")
    for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return _seconds(column.cast(kind), zone)
        except pa.ArrowInvalid:
            continue
    return np.asarray(_each(column, lambda text: _one_time(text, zone), NO_TIME, np.int64))


def _one_time(text: str, zone: str) -> int:
    when = datetime.fromisoformat(text.strip())
    if when.tzinfo is not None:
        return math.floor(when.timestamp())
    return int(_seconds(pa.array([when], pa.timestamp("us")), zone)[0])


def _seconds(column: pa.Array, zone: str) -> NDArray[np.int64]:
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if column.type.tz is None and zone != "UTC":
        try:
            column = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="earliest")
        except pa.ArrowInvalid as error:
            raise Invalid(f"a zone must be a name such as Europe/Zurich, got {zone[:40]!r}") from error
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
    counts = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False) // per_second
    return np.where(column.is_null().to_numpy(zero_copy_only=False), NO_TIME, counts)


def _whole(seconds: Floats) -> NDArray[np.int64]:
    found = np.full(len(seconds), NO_TIME)
    good = np.abs(seconds) < _MOST_SECONDS  # not NaN either
    found[good] = seconds[good].astype(np.int64)
    return found


def _each(column: pa.Array, read: Callable[[str], Any], otherwise: Any, kind: type) -> Any:  # noqa: ANN401  # of any kind
    """Value by value: what cannot be read is `otherwise`."""
    values: NDArray[Any] = np.full(len(column), otherwise, kind)
    for place, text in enumerate(column.to_pylist()):
        if text is not None:
            try:
                values[place] = read(text)
            except (ValueError, OverflowError):
                continue
    return values


def time_text(seconds: int) -> str:
    """A time for a sentence."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
