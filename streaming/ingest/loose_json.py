"""Events in files whose ids are numbers, or whose times are text: what tables may have as well."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from recsys.errors import InvalidValueError
from streaming.events.columns import KINDS
from streaming.ingest.mapping.event_time import millis_reader

_IDS: Final = ("id", "user", "item", "impression")
_times: Final = {unit: millis_reader(unit) for unit in ("ms", "iso")}


def strict(line: bytes) -> bytes | None:
    """The event as `docs/events.md` has it: whole numbers as ids become text, times in ISO 8601 or text numbers.

    None if the line is no such event, or is one already.

    >>> strict(b'{"type":"item","time":"1970-01-01T00:00:01Z","item":7,"features":{}}')
    b'{"type":"item","time":1000,"item":"7","features":{}}'
    """
    try:
        event = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("type") not in KINDS:
        return None
    changed = {name: _text(event[name]) for name in _IDS if name in event}
    if isinstance(event.get("items"), list):
        changed["items"] = [_text(item) for item in event["items"]]
    if "time" in event:
        changed["time"] = _time(event["time"])
    same = all(type(event[name]) is type(value) and event[name] == value for name, value in changed.items())
    return None if same else msgspec.json.encode(event | changed)


def _text(value: Any) -> Any:
    return str(value) if type(value) is int else value


def _time(value: Any) -> Any:
    """Milliseconds since the epoch; what is none stays, and is refused with its reason."""
    if isinstance(value, int):
        return value
    unit = "iso" if isinstance(value, str) and not value.strip().replace(".", "", 1).isdecimal() else "ms"
    try:
        return _times[unit](value)
    except InvalidValueError:
        return value
