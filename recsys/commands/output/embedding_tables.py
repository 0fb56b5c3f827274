"""The counters of an embedding store as a table for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table

from embedding.store import EmbeddingStore

COUNTERS = ("live", "evicted", "expired", "unadmitted", "refused", "stale", "nonfinite", "ahead")
COLD = ("cold", "moved_out", "brought_back")
"""Rows on disk now, and how many have gone there and come back."""
MIB = 1 << 20
UNBOUNDED = 10_000
"""A width at which nothing is cut."""
Column = tuple[str, list[str]]
"""Its name, and a cell for each table."""


def summary(store: EmbeddingStore) -> TableCounters:
    """One line per table: its counters since the log began, and its memory now."""
    return TableCounters({table: store.counters(table) for table in store.tables})


@dataclass(frozen=True)
class TableCounters:
    """As `summary`, of the counters of tables. Columns that are 0 in every table are left out, but for `live`.

    What is too wide for the terminal goes on in further tables below, so that no number is broken.
    """

    tables: Mapping[str, Mapping[str, int]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        left = self._columns()
        while left:
            taken = next(
                (count for count in range(len(left), 1, -1) if self._fits(left[:count], console, options.max_width)), 1
            )
            yield _drawn(self.tables, left[:taken])
            left = left[taken:]

    def _columns(self) -> list[Column]:
        tables = self.tables.values()
        names = [
            name for name in (*COUNTERS, *COLD) if name == "live" or any(counters.get(name) for counters in tables)
        ]
        counts = [(name.replace("_", " "), [f"{counters.get(name, 0):,}" for counters in tables]) for name in names]
        return [*counts, ("MiB", [f"{counters['bytes'] / MIB:,.2f}" for counters in tables])]

    def _fits(self, columns: Sequence[Column], console: Console, width: int) -> bool:
        unbounded = console.options.update_width(UNBOUNDED)
        return Measurement.get(console, unbounded, _drawn(self.tables, columns)).minimum <= width


def _drawn(tables: Iterable[str], columns: Sequence[Column]) -> Table:
    shown = Table(title="Embedding tables", title_justify="left", box=SIMPLE_HEAD, padding=0)
    shown.add_column("table", overflow="fold")
    for name, _ in columns:
        shown.add_column(name, justify="right", overflow="fold")
    for row in zip(tables, *(cells for _, cells in columns), strict=True):
        shown.add_row(*row)
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
