"""How the record of a user's history is written, and what sources read of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import msgspec
from xxhash import xxh3_64_hexdigest

from streaming.windows.streamed_source import RECENT, StreamedSource

Acts = list[tuple[int, str]]
"""Event times (ms) and items, oldest first; equal times in the order in which they were read."""

_VERSION = 1
"""Of the record."""
_RECORD = msgspec.msgpack.Decoder(list[Acts])


@dataclass(frozen=True, slots=True)
class HistoryLayout:
    """The actions of which a history is kept, and how many items of each."""

    lengths: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, sources: Iterable[StreamedSource]) -> Self:
        """What these sources read, of each action the longest."""
        lengths: dict[str, int] = {}
        for source in sources:
            if source.function == RECENT:
                lengths[source.action] = max(source.length, lengths.get(source.action, 0))
        return cls(tuple(sorted(lengths.items())))

    @property
    def kind(self) -> str:
        """What the records are of."""
        return "history"

    @property
    def key(self) -> str:
        """Equal for layouts whose records are."""
        return xxh3_64_hexdigest(repr((_VERSION, self.kind, self.lengths)).encode())

    def read(self, record: bytes | None) -> list[Acts]:
        """What a record holds, by action; None is that of a user who did nothing. Raises ValueError for others."""
        if record is None:
            return [[] for _ in self.lengths]
        try:
            acts = _RECORD.decode(record)
        except msgspec.DecodeError as error:
            raise ValueError(f"not a history: {error}") from error
        if len(acts) != len(self.lengths):
            raise ValueError(f"a record of {len(acts)} actions instead of {len(self.lengths)}")
        return acts


class HistoryReader:
    """Values of some sources, from records."""

    def __init__(self, layout: HistoryLayout, sources: Sequence[StreamedSource]) -> None:
        self.layout = layout
        codes = {action: code for code, (action, _) in enumerate(layout.lengths)}
        self._sources = [(source.name, codes[source.action], source.length) for source in sources]

    def values(self, records: Sequence[bytes | None], time: int) -> dict[str, list[Any]]:
        """One list of items for each record by the name of the source, as of `time` (ms), the latest item first.

        None is the record of a user who did nothing, and so is one that cannot be read.
        """
        values: dict[str, list[Any]] = {name: [] for name, _, _ in self._sources}
        for record in records:
            acts = self._read(record)
            for name, code, length in self._sources:
                before = [item for at, item in reversed(acts[code]) if at < time]
                values[name].append(before[:length])
        return values

    def _read(self, record: bytes | None) -> list[Acts]:
        try:
            return self.layout.read(record)
        except ValueError:
            return self.layout.read(None)
