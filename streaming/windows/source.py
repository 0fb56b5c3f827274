"""The sources of fields that the stream computes, such as `item.rate(click, 1h)`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple, cast

from recsys.errors import InvalidValueError

Entity = Literal["user", "item", "pair"]

ENTITIES: Final[tuple[Entity, ...]] = ("user", "item", "pair")
FUNCTIONS: Final = ("count", "rate", "last")
IMPRESSION: Final = "impression"
"""Counted as an action: being shown, of a user a list of any length."""
FORMS: Final = (
    "user.count(ACTION, WINDOW), user.rate(ACTION, WINDOW) and user.last(ACTION), the same with item or pair (the user "
    "and the item), where ACTION is such as click or impression and WINDOW such as 10m, 1h or 24h"
)
"""The sources that there are, in words."""

_CALL = re.compile(r"(\w+)\.(\w+)\((.*)\)")
_ACTION = re.compile(r"[^\s(),]{1,512}")
_WINDOW = re.compile(r"([1-9]\d{0,5})([mhd])")
_UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST = 366 * 86_400_000


class StreamedSource(NamedTuple):
    """What a field reads. `window` is in ms, 0 for `last`; `name` is the source as events have it.

    `count`: how often the action was done to the entity in the window that ends at the impression. `rate`: that count
    over the count of impressions; missing without one. `last`: seconds since the action; missing if it never was done.
    """

    entity: Entity
    function: str
    action: str
    window: int
    name: str


@lru_cache(maxsize=4096)
def streamed_source(source: str) -> StreamedSource | None:
    """What `source` says, None if it is no call of a function. Raises InvalidValueError if it is one that is not there.

    >>> streamed_source("item.rate(click,1h)")
    StreamedSource(entity='item', function='rate', action='click', window=3600000, name='item.rate(click, 1h)')
    >>> streamed_source("item.price") is None
    True
    """
    call = _CALL.fullmatch(source)
    if call is None:
        return None
    entity, function, inside = call.groups()
    arguments = [argument.strip() for argument in inside.split(",")]
    if entity == "request":
        return None
    if entity not in ENTITIES or function not in FUNCTIONS:
        raise _wrong(source, f"there is no {entity}.{function}")
    if len(arguments) != (wanted := 1 if function == "last" else 2):
        raise _wrong(source, f"{function} takes {'an action' if wanted == 1 else 'an action and a window'}")
    if not _ACTION.fullmatch(arguments[0]):
        raise _wrong(source, f"{arguments[0]!r} is no action")
    if function == "rate" and arguments[0] == IMPRESSION:
        raise _wrong(source, "a rate is of another action for each impression")
    window = _milliseconds(source, arguments[1]) if wanted == 2 else 0
    name = f"{entity}.{function}({', '.join(arguments)})"
    return StreamedSource(cast(Entity, entity), function, arguments[0], window, name)


def _milliseconds(source: str, text: str) -> int:
    window = _WINDOW.fullmatch(text)
    if window is None:
        raise _wrong(source, f"the window {text!r} is not whole minutes, hours or days")
    duration = int(window[1]) * _UNITS[window[2]]
    if duration > _LONGEST:
        raise _wrong(source, f"the window {text} is longer than 366d")
    return duration


def _wrong(source: str, why: str) -> InvalidValueError:
    return InvalidValueError(f"source {source!r}: {why}. There are {FORMS}")
