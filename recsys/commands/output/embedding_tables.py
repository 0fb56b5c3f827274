"""The counters of an embedding store as a table for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from rich.box import SIMPLE_HEAD
from rich.table import Table

from embedding.store import EmbeddingStore

COUNTERS = ("live", "evicted", "expired", "unadmitted", "refused", "stale", "nonfinite", "ahead")
COLD = ("cold", "moved_out", "brought_back")
"""Rows on disk now, and how many have gone there and come back."""
MIB = 1 << 20


def summary(store: EmbeddingStore) -> Table:
    """One line per table: its counters since the log began, and its memory now."""
    return drawn({table: store.counters(table) for table in store.tables})


def drawn(tables: Mapping[str, Mapping[str, int]]) -> Table:
    """As `summary`, of the counters of tables; those of rows on disk only if there may be some."""
    names = (*COUNTERS, *(name for name in COLD if any(name in counters for counters in tables.values())))
    shown = Table(title="Embedding tables", title_justify="left", box=SIMPLE_HEAD, padding=0)
    shown.add_column("table", overflow="fold")
    for name in (*names, "MiB"):
        shown.add_column(
            name.replace("_", " "), justify="right", overflow="fold"
        )  # no digit is lost in a narrow terminal
    for table, counters in tables.items():
        shown.add_row(table, *(f"{counters.get(name, 0):,}" for name in names), f"{counters['bytes'] / MIB:,.2f}")
    return shown


def refused(store: EmbeddingStore) -> Counter[str]:
    """Per table, the look-ups of new ids that were refused a row."""
    return Counter({table: store.counters(table)["refused"] for table in store.tables})


def warnings(store: EmbeddingStore, before: Counter[str]) -> Iterator[str]:
    """A warning for each table that has refused more ids than `before`."""
    for table, count in (refused(store) - before).items():
        yield (
            f"{table}: {count:,} look-ups of new ids were refused a row, because one batch has more distinct ids than "
            f"capacity = {store.tables[table].capacity:,}: raise it in [features.tables.{table}], or lower "
            "training.batch_size."
        )
