"""What a program has in its hands (frames, files, events) as sources of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import msgspec

from recsys import wiring
from recsys.config.schema import Config
from recsys.config.sections.log import MappingSection
from recsys.errors import InvalidValueError
from recsys.recommender.sources import frames
from recsys.recommender.times import millis
from streaming.events.columns import EVENT_TYPES
from streaming.ingest.codec import encode_json
from streaming.ingest.formats.sources import BEGIN, Block, Position, Source

_CHUNK: Final = 4096


class EventObjects:
    """Events as dicts, as in JSON lines, or as objects of `streaming.events.schema`. A position's line is the event."""

    name = "events"

    def __init__(self, events: Iterable[Any]) -> None:
        self._events = events

    def blocks(self, start: Position = BEGIN) -> Iterator[Block]:
        events, line = iter(self._events), start.line
        while chunk := list(islice(events, _CHUNK)):
            lines, faults = list[bytes](), dict[int, str]()
            for i, event in enumerate(chunk):
                try:
                    lines.append(_line(event))
                except (TypeError, ValueError, RecursionError) as error:
                    lines.append(b"")
                    faults[i] = str(error)
            end = Position(line + len(chunk))
            yield Block(lines, Position(line), end, faults, lambda i, at=line: Position(at + i), _raw(chunk))  # type: ignore[misc]
            line = end.line

    def identity(self, before: Position) -> str:  # noqa: ARG002
        """Empty: events are known by their ids alone."""
        return ""


def sources(
    config: Config,
    data: Any,
    mapping: str | Mapping[str, Any] | MappingSection | None,
    folder: Path,
    doubts: list[str],
    *,
    sort: bool = False,
) -> list[Source]:
    """The sources of everything in `data`; frames are written into `folder`, to be read by the rules for files.

    What should be said of the frames is added to `doubts`. Raises InvalidValueError for what is neither frame, path,
    event nor an iterable of one of these.
    """
    if frames.is_frame(data):
        return frames.sources(config, data, mapping, folder, doubts, sort=sort)
    if isinstance(data, str | Path):
        return list(wiring.file_sources(frames.mapped(config, mapping), [Path(data)], sort=sort))
    if isinstance(data, Mapping) or _is_event(data):
        return [EventObjects([data])]
    if not isinstance(data, Iterable):
        raise InvalidValueError(f"cannot ingest a {type(data).__name__}: give a frame, a path, or events")
    rest = iter(data)
    first = list(islice(rest, 1))
    if first and (frames.is_frame(first[0]) or isinstance(first[0], str | Path)):
        parts = enumerate(chain(first, rest))
        return [
            source
            for n, part in parts
            for source in sources(config, part, mapping, _made(folder / str(n)), doubts, sort=sort)
        ]
    return [EventObjects(chain(first, rest))]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _is_event(value: Any) -> bool:
    return type(value) in EVENT_TYPES


def _line(event: Any) -> bytes:
    if _is_event(event):
        return encode_json(event)
    if isinstance(event, Mapping):
        time = event.get("time")
        fields = {**event, "time": millis(time, "time")} if isinstance(time, datetime) else dict(event)
        return msgspec.json.encode(fields, enc_hook=_plain)
    raise InvalidValueError(f"a {type(event).__name__} is no event: give dicts, or objects of streaming.events.schema")


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays as Python's. Raises TypeError for anything else."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} has no place in an event")


def _raw(chunk: list[Any]) -> Any:
    return lambda i: repr(chunk[i]).encode()
