"""Which rows changed since the last acknowledged export, on a GPU. Suffixes: N rows of a call, U rows that changed."""

from __future__ import annotations

import torch

from embedding.gpu import sweep
from embedding.gpu.id_table import GpuIdTable
from embedding.gpu.launch import launch
from recsys.errors import InvalidValueError


class TouchedRows:
    """A double-buffered bitmap of a table's rows: nothing is forgotten before its export is acknowledged.

    Marks go to one bitmap. An export merges them into the other and lists that one, again and again until it is
    acknowledged; what is marked in between waits for the next export.

    >>> table = GpuIdTable(capacity=100, device="cuda")  # doctest: +SKIP
    >>> touched = TouchedRows(table)  # doctest: +SKIP
    >>> touched.mark(table.find_or_insert(torch.tensor([7, 8], device="cuda"), minute=0)[0])  # doctest: +SKIP
    >>> sorted(touched.export()[0].tolist())  # doctest: +SKIP
    [7, 8]
    """

    def __init__(self, table: GpuIdTable) -> None:
        self._table = table
        words = table.capacity // 32 + 1
        self._fresh = torch.zeros(words, dtype=torch.int32, device=table.device)
        self._told = torch.zeros_like(self._fresh)

    def mark(self, rows_N: torch.Tensor) -> None:
        """Mark rows (int64) as changed; -1 is ignored."""
        if rows_N.dtype != torch.int64 or rows_N.dim() != 1:
            raise InvalidValueError(f"rows are {rows_N.dtype} {list(rows_N.shape)}: give int64 of one dimension")
        launch(sweep.mark, len(rows_N), 128, self._fresh, rows_N.contiguous(), len(rows_N))

    def export(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and rows that changed and are still live. The same again, and more, until `acknowledge`."""
        self._told |= self._fresh
        self._fresh.zero_()
        ids_U, rows_U, _ = self._table.entries(self._told)
        return ids_U, rows_U

    def acknowledge(self) -> None:
        """Forget the last export, which arrived; rows marked since stay marked."""
        self._told.zero_()
