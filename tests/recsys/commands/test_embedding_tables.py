"""The table of what happened to ids, which `recsys train` closes with."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
from rich.console import Console

from embedding.local.store import LocalStore
from embedding.store import Table
from recsys.commands.output.embedding_tables import summary


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
