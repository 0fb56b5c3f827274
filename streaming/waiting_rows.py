"""Training rows that wait for their batch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from recsys.errors import InvalidValueError
from streaming.encode.batch import TrainingBatch
from streaming.encode.encoded_rows import EncodedRows, Packed, pack
from streaming.encode.feature_spec import FeatureSpec
from streaming.encode.user_rows import without_users


class WaitingRows:
    """Rows in the order in which they came, cut into batches of `batch_size`."""

    def __init__(self, batch_size: int) -> None:
        """Raises InvalidValueError for an impossible `batch_size`."""
        if batch_size < 1:
            raise InvalidValueError(f"batch_size is {batch_size}; it must be at least 1")
        self._batch_size = batch_size
        self._ready: deque[EncodedRows] = deque()
        """Batches that were cut and are not taken."""
        self._rows: list[EncodedRows] = []

    def __len__(self) -> int:
        return sum(map(len, self._all()))

    def add(self, rows: EncodedRows) -> None:
        self._rows.append(rows)

    def full(self) -> Iterator[TrainingBatch]:
        """Cut and take full batches. Those not taken yet go on waiting."""
        if sum(map(len, self._rows)) >= self._batch_size:
            parts = EncodedRows.concat(self._rows).split(self._batch_size)
            self._rows = [parts.pop()] if len(parts[-1]) < self._batch_size else []
            self._ready.extend(parts)
        while self._ready:
            yield self._ready.popleft().batch()

    def drain(self) -> list[TrainingBatch]:
        """Take all rows, the last batch with fewer than `batch_size`."""
        batches = list(self.full())
        rest, self._rows = self._rows, []
        return [*batches, EncodedRows.concat(rest).batch()] if rest else batches

    def forget(self, user: str, spec: FeatureSpec) -> int:
        """Drop the rows of a user; returns how many there were."""
        before = len(self)
        kept = [without_users(rows, spec, [user]) for rows in self._all()]
        self.replace([rows for rows in kept if len(rows)])
        return before - len(self)

    def packed(self) -> Packed | None:
        """All rows, None if there are none."""
        waiting = self._all()
        return pack(EncodedRows.concat(waiting)) if waiting else None

    def replace(self, rows: Sequence[EncodedRows]) -> None:
        """These rows wait in place of all others."""
        self._ready, self._rows = deque(), list(rows)

    def _all(self) -> list[EncodedRows]:
        return [*self._ready, *self._rows]
