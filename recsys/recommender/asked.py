"""Questions to the ranking, checked as the server checks requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from recsys.errors import InvalidValueError
from recsys.recommender.times import Time, millis
from serving.api.messages.schemas import RankRequest, RecommendRequest
from streaming.ingest.mapping.values import identifier
from streaming.ingest.refusals.decode_errors import FEATURES_BY_NAME

MOST_ITEMS = 10_000
"""As `Count` of the requests has it."""
Request = TypeVar("Request", RankRequest, RecommendRequest)


def count_of(k: object, *, required: bool) -> int | None:
    """How many items are asked for; None is all, unless it is `required`. Raises InvalidValueError, which names `k`."""
    if k is None and not required:
        return None
    if isinstance(k, int | np.integer) and not isinstance(k, bool) and 1 <= k <= MOST_ITEMS:
        return int(k)
    none = "" if required else ", or None for all"
    raise InvalidValueError(f"k is {k!r:.80}, write a whole number from 1 to {MOST_ITEMS:,}{none}")


def request(kind: type[Request], values: Mapping[str, Any], time: Time | None) -> Request:
    """The request with these values; those that are None are left out. Raises InvalidValueError."""
    given = {name: value for name, value in values.items() if value is not None}
    if time is not None:
        given["time"] = millis(time, "time")
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        if "item_features" in where:
            where, what = "item_features", FEATURES_BY_NAME
        raise InvalidValueError(f"{where.strip('`$.') or 'request'}: {what}") from None


def names_of(values: Iterable[object], what: str) -> list[str]:
    """Items as text, in order. Raises InvalidValueError for what is no collection of single items."""
    if isinstance(values, str | bytes | Mapping) or hasattr(values, "columns"):
        kind = type(values).__name__
        raise InvalidValueError(f"{what}: give a list, array or column of items, such as ['a', 'b'], not a {kind}")
    try:
        found = list(values)
    except TypeError:
        raise InvalidValueError(f"{what}: {values!r:.80} is not a list of items; write [{values!r:.80}]") from None
    return [name_of(value) for value in found]


def name_of(value: object) -> str:
    """A user or item as text, by the rule for tables: whole numbers are written without a decimal point."""
    try:
        found = identifier(_plain(value), ())
    except InvalidValueError as error:
        raise InvalidValueError(f"{value!r} {error}") from None
    if found is None:
        raise InvalidValueError("a user or item is text or an integer, not None")
    return found


def _plain(value: object) -> object:
    """A scalar of NumPy or Arrow as Python's own. Raises InvalidValueError for an array."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        raise InvalidValueError("is an array, not one user or item")
    return value.as_py() if isinstance(value, pa.Scalar) else value
