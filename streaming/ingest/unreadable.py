"""Sources that cannot be read, or not to their end, beside others that can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recsys.errors import BrokenSourceError, IngestError
from streaming.ingest.formats.sources import BEGIN, Position
from streaming.ingest.ordering.merge_by_time import Piece


class Unreadable:
    """Lets the other sources of a merge be read first, and says at the end which ones broke off."""

    def __init__(self) -> None:
        self._errors: list[str] = []

    def add(self, error: IngestError) -> None:
        self._errors.append(str(error))

    def until_broken(self, pieces: Iterator[Piece]) -> Iterator[Piece]:
        """The pieces of a source up to where it breaks off."""
        try:
            yield from pieces
        except IngestError as error:
            self.add(error)

    def report(self) -> None:
        """Raises BrokenSourceError that names the sources which broke off since the last report, if there are any."""
        errors, self._errors = self._errors, []
        if errors:
            raise BrokenSourceError("; ".join(errors))


class UnreadableSource:
    """The source for a file that cannot be opened: reading it raises `error`."""

    def __init__(self, name: str, error: Exception) -> None:
        self.name = name
        self._error = error

    def identity(self, before: Position) -> str:  # noqa: ARG002
        return ""  # nothing of it is known

    def blocks(self, start: Position = BEGIN) -> Iterator[Any]:  # noqa: ARG002
        """Raises OSError."""
        raise OSError(str(self._error)) from self._error
