"""Rows that are lists with what was done beside them, and rules for users without a name and repeated items."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec import UNSET

from streaming.events.schema import ItemUpdate
from streaming.ingest.counts import Counts
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.log.memory_log import MemoryLog
from tests.streaming.ingest.shapes.tables import ingested
from tests.streaming.ingest.test_pipeline import stored
from tests.streaming.strategies import NOW

LIST = {"id": "id", "time": "at", "user": "who", "items": "shown"}


def test_items_with_their_labels_behind_them(tmp_path: Path) -> None:
    columns = LIST | {"actions.click": "shown"}
    mapping = Mapping("impression", columns, separator=" ", label_separator="-")
    found = ingested(
        tmp_path / "a.tsv", "id\tat\twho\tshown\nr1\t5\tu\tN-1-1 N2-0 N3-1\nr2\t6\tv\tN4-0\nr3\t7\tv\tN4\n", mapping
    )
    assert [one.items for one in found.lists] == [["N-1", "N2", "N3"], ["N4"]]
    assert found.clicks == [("r1", "N-1", "click"), ("r1", "N3", "click")]
    assert [one.time for one in found.done] == [5, 5]
    reason = "items: 'N4' in column 'shown' lacks a label after '-' (label_separator)"
    assert found.dead == [(4, reason)]
    assert found.counts == Counts(4, 0, 1)


def test_shown_and_clicked_items_in_one_row(tmp_path: Path) -> None:
    table = pa.table({
        "id": [1, 2, 3], "at": [5, 6, 7], "who": [7, 8, 9],
        "shown": [[1, 2, 3], [4, 5], [6]], "clicked": [[2], [], None], "bought": [[2, 3], [5], []],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "a.parquet")
    mapping = Mapping("impression", LIST | {"actions.click": "clicked", "actions.buy": "bought"})
    log = MemoryLog()
    ingest = Ingest(log, DeadLetters(tmp_path / "dead"), window=10_000, clock=lambda: NOW)
    assert ingest.run(open_source(tmp_path / "a.parquet", mapping)) == Counts(7)
    done = [e for e in stored(log) if type(e).__name__ == "Interaction"]
    assert {(e.impression, e.item, e.action) for e in done} == {  # type: ignore[union-attr]
        ("1", "2", "click"), ("1", "2", "buy"), ("1", "3", "buy"), ("2", "5", "buy"),
    }  # fmt: skip


def test_a_column_says_which_items_are_available(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("at,what,state\n5,a,sold\n6,b,on sale\n7,c,\n")
    columns = {"time": "at", "item": "what", "available": "state"}
    log = MemoryLog()
    ingest = Ingest(log, DeadLetters(tmp_path / "dead"), window=10_000, clock=lambda: NOW)
    ingest.run(open_source(tmp_path / "a.csv", Mapping("item", columns, positive_values=["on sale"])))
    updates = [one for one in stored(log) if isinstance(one, ItemUpdate)]
    assert [(one.item, one.available) for one in updates] == [("a", False), ("b", True), ("c", UNSET)]


def test_an_action_a_column(tmp_path: Path) -> None:
    columns = {"time": "t", "impression": "r", "item": "i", "actions.click": "click", "actions.buy": "buy"}
    content = "t,r,i,click,buy\n5,r,a,1,0\n6,r,b,2,1\n7,r,c,0,\n8,r,d,maybe,0\n"
    found = ingested(tmp_path / "a.csv", content, Mapping("interaction", columns))
    assert found.clicks == [("r", "a", "click"), ("r", "b", "click"), ("r", "b", "buy")]
    reason = (
        "actions.click: 'maybe' in column 'click' is neither a number nor true or false; name what means yes in "
        "positive_values"
    )
    assert found.dead == [(5, reason)]


@pytest.mark.parametrize(
    ("rule", "items", "prices"),
    [("refuse", [], []), ("first", ["a", "b", "c"], [1, 2, 4]), ("last", ["b", "a", "c"], [2, 3, 4])],
)
def test_an_item_twice_in_a_list(tmp_path: Path, rule: Any, items: list[str], prices: list[int]) -> None:
    mapping = Mapping(
        "impression", LIST | {"item_features.price": "p"}, kinds={"price": "numeric"}, repeated_items=rule
    )
    found = ingested(tmp_path / "a.csv", "id,at,who,shown,p\nr,5,u,a|b|a|c,1|2|3|4\n", mapping)
    assert [one.items for one in found.lists] == [items] * bool(items)
    assert [one.item_features["price"] for one in found.lists] == [prices] * bool(prices)
    assert len(found.dead) == (rule == "refuse")


def test_users_without_a_name(tmp_path: Path) -> None:
    content = "id,at,who,shown\nr1,5,,a\nr2,6,u,b\nr3,7,null,c\n"
    found = ingested(tmp_path / "a.csv", content, Mapping("impression", LIST))
    assert [one.user for one in found.lists] == ["u"]
    assert [line for line, _ in found.dead] == [2, 4]
    named = ingested(tmp_path / "b.csv", content, Mapping("impression", LIST, anonymous="request"))
    assert [one.user for one in named.lists] == ["anonymous:r1", "u", "anonymous:r3"]
    nobody = {name: column for name, column in LIST.items() if name != "user"}
    unnamed = ingested(tmp_path / "c.csv", content, Mapping("impression", nobody, anonymous="request"))
    assert [one.user for one in unnamed.lists] == ["anonymous:r1", "anonymous:r2", "anonymous:r3"]
