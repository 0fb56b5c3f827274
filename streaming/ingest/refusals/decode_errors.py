"""Why a line was refused, with the name of the field where the parser's message has none."""

from __future__ import annotations

import json
from math import isinf
from typing import Any, Final

import msgspec

from streaming.events.columns import KINDS
from streaming.events.schema import Value

FEATURES_BY_NAME: Final = 'Expected an object of features by name, such as {"price": [1.5, 2.0]} for two items'
_PER_ITEM: Final = "Expected an array with one value per item, in their order, such as [1.5, 2.0] for two items"


def explain(line: bytes, error: Exception) -> str:
    """The reason to show, from the error that decoding `line` raised.

    >>> explain(b'{"value": NaN}', msgspec.DecodeError("JSON is malformed"))
    'value: NaN is not a number that JSON has'
    """
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {_first_not_utf8(line, error)}"
    reason = str(error) or type(error).__name__
    if isinstance(error, msgspec.ValidationError) and reason.endswith(("`$.type`", "field `type`")):
        what, at, where = reason.partition(" - at ")
        return f"{what}; the kinds are {', '.join(KINDS)}{at}{where}"
    if isinstance(error, msgspec.ValidationError) and reason.endswith("`$.item_features`"):
        return f"item_features: {FEATURES_BY_NAME}"
    if isinstance(error, msgspec.ValidationError) and "[...]" not in reason:
        return reason
    if not isinstance(error, msgspec.DecodeError):
        return reason
    try:
        found = _named(json.loads(line, parse_constant=_Constant, parse_int=_integer), reason)
    except (ValueError, RecursionError):
        return reason
    return found.encode("utf-8", "backslashreplace").decode()  # Python's parser reads half a surrogate pair as text


def _first_not_utf8(line: bytes, error: UnicodeDecodeError) -> int:
    """Position in the whole line: the parser's own counts from the beginning of a string in it."""
    try:
        line.decode()
    except UnicodeDecodeError as whole:
        return whole.start
    return error.start


def _integer(text: str) -> int:
    """Python refuses to parse thousands of digits; 21 are enough, because 64 bits have at most 20."""
    return int(text[:21])


class _Constant(str):
    """NaN, Infinity or -Infinity, which Python's parser reads and JSON does not have."""

    __slots__ = ()


def _named(event: Any, reason: str) -> str:
    for path, value in _leaves(event, ""):
        if isinstance(value, _Constant):
            return f"{path}: {value} is not a number that JSON has"
        if isinstance(value, float) and isinf(value):
            return f"{path}: a number out of range"
    for where in ("features", "item_features") if isinstance(event, dict) else ():
        for name, value in event[where].items() if isinstance(event.get(where), dict) else ():
            if where == "item_features" and not isinstance(value, list):
                by_item = "; names are those of features, not of items" if isinstance(value, dict) else ""
                return f"{where}.{name}: {_PER_ITEM}{by_item}"
            for one in value if isinstance(value, list) and where == "item_features" else [value]:
                try:
                    msgspec.convert(one, Value)
                except msgspec.ValidationError as error:
                    return f"{where}.{name}: {str(error).partition(' - at ')[0]}"
    return reason


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for name, inner in value.items() for leaf in _leaves(inner, f"{path}.{name}" if path else name)]
    if isinstance(value, list):
        return [leaf for i, inner in enumerate(value) for leaf in _leaves(inner, f"{path}[{i}]")]
    return [(path, value)]
