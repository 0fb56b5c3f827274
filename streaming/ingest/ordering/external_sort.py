"""Sorting more rows than fit into memory: sorted runs in temporary files, merged.

Shape suffixes: N rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO, Final, Self

import numpy as np
import pyarrow as pa

FAN_IN: Final = 16
"""Runs that are merged at once."""
ROWS: Final = 4096
"""Rows of a batch that is read back."""
_COPIES: Final = 4
"""Copies of the rows in memory while they are sorted, plus a reserve."""


class ExternalSort:
    """Rows of one schema in ascending order of the integers in column `key`; equal ones stay in the order of `add`.

    Holds about `memory` bytes, and for each of `FAN_IN` runs a batch of `ROWS`. A context manager, which closes its
    temporary files. They have no names, so that nothing of them is left behind even by a kill.
    """

    def __init__(self, key: str, memory: int) -> None:
        self._key = key
        self._most = memory // _COPIES
        self._held: list[pa.RecordBatch] = []
        self._size = 0
        self._runs: list[IO[bytes]] = []
        self.spills = 0
        """Number of runs written so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for run in self._runs:
            run.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """More rows. Raises OSError when the disk is full."""
        self._held.append(batch)
        self._size += batch.nbytes
        if self._size > self._most:
            self._runs.append(self._write(_parts(self._sorted(self._held))))
            self._held, self._size = [], 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows in order, once."""
        if not self._runs:
            yield from _parts(self._sorted(self._held)) if self._held else ()
            return
        if self._held:
            self._runs.append(self._write(_parts(self._sorted(self._held))))
            self._held = []
        while len(self._runs) > FAN_IN:
            first, self._runs = self._runs[:FAN_IN], self._runs[FAN_IN:]
            # The merged run takes the place of the first ones, so that equal rows stay in order.
            self._runs.insert(0, self._write(self._merged(first)))
            for run in first:
                run.close()
        yield from self._merged(self._runs)

    def _sorted(self, batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
        whole = pa.concat_batches(batches)
        return whole.take(pa.array(np.argsort(whole.column(self._key).to_numpy(), kind="stable")))

    def _write(self, batches: Iterator[pa.RecordBatch]) -> IO[bytes]:
        file = tempfile.TemporaryFile()  # noqa: SIM115 -- closed when it has been merged
        self.spills += 1
        first = next(batches)
        with pa.ipc.new_stream(file, first.schema) as stream:
            stream.write_batch(first)
            for batch in batches:
                stream.write_batch(batch)
        return file

    def _merged(self, runs: Sequence[IO[bytes]]) -> Iterator[pa.RecordBatch]:
        """Takes from every run what is not later than the smallest last key among those that may have more."""
        unread = {number: _read(run) for number, run in enumerate(runs)}
        held: dict[int, pa.RecordBatch] = {}
        while held or unread:
            for number in [number for number in unread if number not in held]:
                batch = next(unread[number], None)
                if batch is None:
                    del unread[number]
                else:
                    held[number] = batch
            if not held:
                return
            keys = {number: held[number].column(self._key).to_numpy() for number in sorted(held)}
            # Of equal keys those of the earlier run go first: it may have more of them than the batch that is held.
            limit, least = min((keys[number][-1], number) for number in keys)
            cuts = {n: int(np.searchsorted(keys[n], limit, "right" if n <= least else "left")) for n in keys}
            yield self._sorted([held[n].slice(0, count) for n, count in cuts.items() if count])
            held = {n: held[n].slice(count) for n, count in cuts.items() if count < len(keys[n])}


def _parts(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    return (batch.slice(begin, ROWS) for begin in range(0, batch.num_rows, ROWS))


def _read(run: IO[bytes]) -> Iterator[pa.RecordBatch]:
    run.seek(0)
    with pa.ipc.open_stream(run) as stream:
        yield from stream
