"""Values of tables and foreign JSON as identifiers, numbers, features and lists of events.

They raise InvalidValueError, with a message to follow the value, where an event cannot hold it. Nothing
becomes text unless a rule in `docs/events.md` says how.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from datetime import date
from decimal import Decimal
from typing import Any, Final

from recsys.errors import InvalidValueError
from streaming.encode.feature_spec import Kind
from streaming.ingest.mapping.bracketed import bracketed, is_bracketed

_WORDS: Final = {"true": True, "false": False}


def identifier(value: Any, nulls: Collection[str]) -> str | None:
    """Text as it is, UTF-8 as text, whole numbers without a decimal point, times as ISO 8601; None when missing."""
    if isinstance(value, str):
        if value in nulls:
            return None
        return value[:-2] if value.endswith(".0") and value[:-2].removeprefix("-").isdigit() else value
    value = _integral(scalar(value, nulls))
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float | bool):
        raise InvalidValueError("is not an identifier; write text or an integer")
    return str(value)


def number(value: Any, nulls: Collection[str]) -> Any:
    """The number; other text stays as it is, and decoding the line refuses it, naming the field."""
    value = scalar(value, nulls)
    if isinstance(value, Decimal):
        return float(value)
    return _parsed(value) if isinstance(value, str) else value


def feature(value: Any, kind: Kind | None, separator: str, nulls: Collection[str]) -> Any:
    """A feature's value. Text is a number or cut into a set if the model reads it so, and stays text otherwise."""
    if isinstance(value, str):
        if value in nulls:
            return None
        if kind == "multi":
            return [part for part in split(value, separator) if part]
        return _parsed(value) if kind == "numeric" else value
    if isinstance(value, list | tuple):
        return [feature(one, None, separator, ()) for one in value]
    value = scalar(value, nulls)
    if kind == "categorical":
        value = _integral(value)
    return float(value) if isinstance(value, Decimal) else value


_GROUPS: Final = r"[.\s'\u2019]"
_COMMA: Final = re.compile(
    rf"([+\-\u2212]?)[\s€$£]*([+\-\u2212]?)(\d{{1,3}}(?:{_GROUPS}\d{{3}})+|\d+)(?:,(\d+))?[\s€$£]*"
)


def with_point(value: Any) -> Any:
    """A number that is written with a decimal comma, with a point and no currency; any other value as it is.

    >>> with_point("1.234,5"), with_point("7,00 €"), with_point("3,4,5"), with_point(0.5)
    ('1234.5', '7.00', '3,4,5', 0.5)
    >>> with_point("-€5,00"), with_point("€ -5"), with_point("1'234,5"), with_point("-€-5")
    ('-5.00', '-5', '1234.5', '-€-5')
    """
    found = _COMMA.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or (found[1] and found[2]):
        return value
    sign, whole = (found[1] or found[2]).replace("\u2212", "-"), re.sub(_GROUPS, "", found[3])
    return f"{sign}{whole}" if found[4] is None else f"{sign}{whole}.{found[4]}"


def happened(value: Any, yes: Collection[str], nulls: Collection[str]) -> bool:
    """Whether a cell means yes: it is in `yes`, or without these true or a number above 0."""
    value = scalar(value, nulls)
    if yes:
        return str(value).lower() in yes if isinstance(value, bool | float) else identifier(value, ()) in yes
    if isinstance(value, str):
        value = _WORDS.get(value.strip().lower(), _parsed(value))
    if isinstance(value, str):
        raise InvalidValueError("is neither a number nor true or false; name what means yes in positive_values")
    return value is not None and value > 0


def _integral(value: Any) -> Any:
    """A float or Decimal that is whole as an integer; anything else as it is."""
    return int(value) if isinstance(value, float | Decimal) and value == int(value) else value


def scalar(value: Any, nulls: Collection[str]) -> Any:
    """None, bool, int, text, or a finite float or Decimal; bytes are UTF-8, dates and times become ISO 8601."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, bytes):
        value = _utf8(value)
    if isinstance(value, str):
        return None if value in nulls else value
    if isinstance(value, float | Decimal):
        return value if math.isfinite(value) else None
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        inner = next(iter(value), "NAME")
        raise InvalidValueError(f"is a struct; name one of its fields, such as 'COLUMN.{inner}'")
    if isinstance(value, list | tuple):
        raise InvalidValueError("is a list, not a single value")
    raise InvalidValueError(f"is a {type(value).__name__}; write text or a number")


def elements(value: Any, separator: str) -> list[Any]:
    """The elements of a list, or of text cut at `separator`; a single value is a list of one."""
    if isinstance(value, bytes):
        value = _utf8(value)
    if isinstance(value, str):
        return split(value, separator)
    return list(value) if isinstance(value, list | tuple) else [value]


def split(text: str, separator: str) -> list[str]:
    """The elements of a list in brackets, or text cut at `separator`, without the spaces around the parts."""
    if is_bracketed(text, separator):
        return bracketed(text)
    parts = text.split(separator)
    return [part.strip() for part in parts] if " " in text else parts


def _utf8(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidValueError("is binary and not UTF-8; write text or an integer") from None


def _parsed(text: str) -> Any:
    if "_" in text:  # only Python reads 1_000 as a number
        return text
    for parse in (int, float):
        try:
            return parse(text)
        except ValueError:
            continue
    return text
