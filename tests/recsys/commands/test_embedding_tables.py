"""The table of what happened to ids, which `recsys train` closes with."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
from rich.console import Console

from embedding.local.store import LocalStore
from embedding.store import Table
from recsys.commands.output.embedding_tables import COLD, COUNTERS, TableCounters, summary


def said(store: LocalStore) -> str:
    console = Console(width=200, record=True, file=StringIO())
    console.print(summary(store))
    return console.export_text()


def test_rows_on_disk_are_shown_where_there_may_be_some(tmp_path: Path) -> None:
    store = LocalStore([Table("item", 4, capacity=2, cold_capacity=8), Table("user", 4)], cold_folder=tmp_path)
    for key in (1, 2, 3, 1):
        store.lookup("item", np.array([key], np.uint64), now=0)
    counters = store.counters("item")
    assert (counters["cold"], counters["moved_out"], counters["brought_back"]) == (1, 2, 1)
    lines = {line.split()[0]: line.split() for line in said(store).splitlines() if line.strip()}
    item, user = lines["item"], lines["user"]
    assert lines["table"][-6:] == ["cold", "moved", "out", "brought", "back", "MiB"]
    assert item[:2] == ["item", "3"]
    assert item[-4:-1] == ["1", "2", "1"]
    assert user[-4:-1] == ["0", "0", "0"]


def test_a_store_in_memory_alone_has_no_columns_of_the_disk() -> None:
    assert "cold" not in said(LocalStore([Table("user", 4)]))


def test_no_number_or_word_is_broken_at_80_columns() -> None:
    counters = {name: 1_234_567_890 + place for place, name in enumerate((*COUNTERS, *COLD))}
    console = Console(width=80, record=True, file=StringIO())
    console.print(TableCounters({f"table_{number}": counters | {"bytes": 5 << 30} for number in range(10)}))
    said = console.export_text()
    words = said.split()
    assert all(f"{count:,}" in words for count in counters.values())
    assert all(word in words for name in counters for word in name.split("_"))
    assert words.count("5,120.00") == 10
    assert max(map(len, said.splitlines())) <= 80


def test_columns_of_zeros_are_left_out() -> None:
    store = LocalStore([Table("user", 4)])
    assert said(store).split()[2:5] == ["table", "live", "MiB"]
