"""Tables with some of their rows on disk, for tests that are written for tables in memory."""

from __future__ import annotations

from dataclasses import replace

from embedding.store import Table

MOST = 1 << 13
"""Rows that such tests need at most: the files of more would take time and room."""


def tiered(table: Table, share: float = 0.5, most: int = MOST) -> Table:
    """The same with that share of the rows in memory, at least one of them, and the others on disk."""
    total = min(table.total_capacity, most)
    warm = max(1, int(total * share))
    return replace(table, capacity=warm, cold_capacity=total - warm)
