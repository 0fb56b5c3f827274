"""The sources of fields that the stream computes, such as `item.rate(click, 1h)`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple, cast

from recsys.errors import InvalidValueError

Entity = Literal["user", "item", "pair"]
RecordKind = Literal["user", "item", "pair", "history"]

ENTITIES: Final[tuple[Entity, ...]] = ("user", "item", "pair")
RECORDS: Final[tuple[RecordKind, ...]] = (*ENTITIES, "history")
"""What the stream keeps: counters of each entity, and users' histories."""
FUNCTIONS: Final = ("count", "rate", "last")
RECENT: Final = "recent"
LONGEST_HISTORY: Final = 1000
"""Items."""
IMPRESSION: Final = "impression"
"""Counted as an action: being shown, of a user a list of any length."""
FORMS: Final = (
    "user.count(ACTION, WINDOW), user.rate(ACTION, WINDOW) and user.last(ACTION), the same with item or pair (the user "
    "and the item), where ACTION is such as click or impression and WINDOW such as 10m, 1h or 24h; and "
    "user.recent(ACTION, N), the last N items that the user did the action with"
)
"""The sources that there are, in words."""

_CALL = re.compile(r"(\w+)\.(\w+)\((.*)\)")
_ACTION = re.compile(r"[^\s(),]{1,512}")
_LENGTH = re.compile(r"[1-9]\d{0,3}")
_WINDOW = re.compile(r"([1-9]\d{0,5})([mhd])")
_UNITS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
_LONGEST = 366 * 86_400_000


class StreamedSource(NamedTuple):
    """What a field reads. `window` is in ms, 0 for `last` and `recent`; `name` is the source as events have it.

    `count`: how often the action was done to the entity in the window that ends at the impression. `rate`: that count
    over the count of impressions; missing without one. `last`: seconds since the action; missing if it never was done.
    `recent`: the last `length` items that the user did the action with, the latest first.
    """

    entity: Entity
    function: str
    action: str
    window: int
    name: str
    length: int = 0

    @property
    def record(self) -> RecordKind:
        """The kind of record that the value is read from."""
        return "history" if self.function == RECENT else self.entity


@lru_cache(maxsize=4096)
def streamed_source(source: str) -> StreamedSource | None:
    """What `source` says, None if it is no call of a function. Raises InvalidValueError if it is one that is not there.

    >>> streamed_source("user.recent(click,50)")
    StreamedSource(entity='user', function='recent', action='click', window=0, name='user.recent(click, 50)', length=50)
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
    if (entity, function) == ("user", RECENT):
        return _history(source, arguments)
    if entity not in ENTITIES or function not in FUNCTIONS:
        raise _wrong(source, f"there is no {entity}.{function}")
    if len(arguments) != (wanted := 1 if function == "last" else 2):
        raise _wrong(source, f"{function} takes {'an action' if wanted == 1 else 'an action and a window'}")
    _check_action(source, arguments[0])
    if function == "rate" and arguments[0] == IMPRESSION:
        raise _wrong(source, "a rate is of another action for each impression")
    window = _milliseconds(source, arguments[1]) if wanted == 2 else 0
    name = f"{entity}.{function}({', '.join(arguments)})"
    return StreamedSource(cast(Entity, entity), function, arguments[0], window, name)


def _history(source: str, arguments: Sequence[str]) -> StreamedSource:
    if len(arguments) != 2 or not _LENGTH.fullmatch(arguments[1]) or int(arguments[1]) > LONGEST_HISTORY:
        raise _wrong(source, f"recent takes an action and a number of items, 1 to {LONGEST_HISTORY}")
    action, length = arguments
    _check_action(source, action)
    if action == IMPRESSION:
        raise _wrong(source, "a history is of what users do with an item, not of what they are shown")
    return StreamedSource("user", RECENT, action, 0, f"user.recent({action}, {length})", int(length))


def _check_action(source: str, text: str) -> None:
    if not _ACTION.fullmatch(text):
        raise _wrong(source, f"{text!r} is no action")


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
