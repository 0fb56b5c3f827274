"""Questions to the ranking, checked as the server checks requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from recsys.errors import InvalidValueError
from recsys.recommender.times import Time, millis
from serving.api.schemas import RankRequest, RecommendRequest
from streaming.ingest.mapping.values import identifier

Request = TypeVar("Request", RankRequest, RecommendRequest)


def request(kind: type[Request], values: Mapping[str, Any], time: Time | None) -> Request:
    """The request with these values; those that are None are left out. Raises InvalidValueError."""
    given = {name: value for name, value in values.items() if value is not None}
    if time is not None:
        given["time"] = millis(time, "time")
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at ")
        raise InvalidValueError(f"{where.strip('`$.') or 'request'}: {what}") from None


def name_of(value: object) -> str:
    """A user or item as text, by the rule for tables: whole numbers are written without a decimal point."""
    plain = value.item() if hasattr(value, "item") and not isinstance(value, str) else value
    try:
        found = identifier(plain, ())
    except InvalidValueError as error:
        raise InvalidValueError(f"{value!r} {error}") from None
    if found is None:
        raise InvalidValueError("a user or item is text or an integer, not None")
    return found
