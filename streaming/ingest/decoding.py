"""Lines of JSON as valid events, or why they are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final

import msgspec

from recsys.errors import InvalidValueError
from streaming.events.schema import ClientEvent, Event, Interaction
from streaming.ingest.refusals.decode_errors import explain
from streaming.ingest.validation import Rules

_AT_ONCE: Final = 64
"""Lines that are decoded together: of many more, too many would be decoded one by one for one that is refused."""
_decode = msgspec.json.Decoder(ClientEvent).decode
_time = attrgetter("time")
_Mend = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Reject:
    """A line that is not an event: its index in the call, the reason, and its content."""

    line: int
    reason: str
    raw: bytes = field(repr=False)


def decode_events(
    lines: Sequence[bytes], now: int, rules: Rules | None = None, mend: _Mend = lambda _line: None
) -> tuple[list[Event], list[Reject]]:
    """Valid events in order, whose ids may be empty, and the refused lines; blank ones are neither.

    `now` is the clock (ms since the epoch) that `rules.max_future` counts from. What `mend` makes of a refused line is
    tried.
    """
    rules = rules or Rules()
    events: list[Event] = []
    rejects: list[Reject] = []
    for begin in range(0, len(lines), _AT_ONCE):
        some = lines[begin : begin + _AT_ONCE]
        if (every := decode_all(some, now, rules)) is not None:
            events += every
            continue
        for number, line in enumerate(some, begin):
            found = _decoded(line, number, now, rules, mend)
            if isinstance(found, Reject):
                rejects.append(found)
            elif found is not None:
                events.append(found)
    return events, rejects


def decode_all(lines: Sequence[bytes], now: int, rules: Rules | None = None) -> list[Event] | None:
    """As `decode_events` of lines that are all events; None if one is not, or may not be."""
    rules = rules or Rules()
    if max(map(len, lines), default=0) > rules.max_line:
        return None
    try:
        events: list[Event] = list(map(_decode, lines))
        for event in events:
            if type(event) is not Interaction:  # most are interactions, and their types say it all
                rules.check(event)
    except (ValueError, RecursionError):
        return None
    return events if max(map(_time, events), default=0) <= now + rules.max_future else None


def _decoded(line: bytes, number: int, now: int, rules: Rules, mend: _Mend) -> Event | Reject | None:
    """The event of a line, as it stands or mended, or why it is refused; None for a blank one."""
    told = line
    try:
        return _checked(line, now, rules)
    except (ValueError, RecursionError) as error:
        reason: Exception = error
    if isinstance(reason, msgspec.ValidationError) and (mended := mend(line)) is not None:
        told = mended
        try:
            return _checked(mended, now, rules)
        except (ValueError, RecursionError) as error:
            reason = error
    return Reject(number, explain(told[: rules.max_line + 1], reason), line) if line.strip() else None


def _told(millis: int) -> str:
    """A time (ms) as the event has it, and as a date where there is one."""
    try:
        return f"{millis} ({datetime.fromtimestamp(millis // 1000, UTC):%Y-%m-%dT%H:%M:%SZ})"
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return str(millis)


def _span(millis: int) -> str:
    return f"{millis / 60_000:g} minutes" if millis >= 60_000 else f"{millis} ms"


def _checked(line: bytes, now: int, rules: Rules) -> Event:
    """Raises ValueError or RecursionError for a line that is no valid event."""
    if len(line) > rules.max_line:
        raise InvalidValueError(f"longer than {rules.max_line} bytes")
    event: Event = _decode(line)
    if event.time > now + rules.max_future:
        raise InvalidValueError(
            f"time: {_told(event.time)} is more than {_span(rules.max_future)} after the clock, {_told(now)}"
        )
    rules.check(event)
    return event
