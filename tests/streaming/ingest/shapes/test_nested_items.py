"""Rows that name several items: each is an event of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streaming.ingest.mapping.column_mapping import Mapping
from tests.streaming.ingest.shapes.tables import ingested

T = 1_600_000_000_000
ORDERS = {"time": "at", "user": "who", "item": "lines.sku", "action": "what", "item_features.price": "lines.price"}


def order(n: int, user: str, *skus: str, **more: Any) -> dict[str, Any]:
    lines = [{"sku": sku, "price": len(skus) + k} for k, sku in enumerate(skus)]
    return {"at": T + 1000 * n, "who": user, "what": "buy", "lines": lines} | more


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_each_item_of_an_order_is_bought(tmp_path: Path) -> None:
    content = lines(order(0, "ann", "tea", "milk"), order(1, "bob", "oats", "rye"))
    found = ingested(tmp_path / "a.jsonl", content, Mapping("feedback", ORDERS))
    assert found.dead == []
    assert len(found.lists) == len({one.id for one in found.lists}) == len(found.clicks) == 2
    shown = {(item, price) for one in found.lists
             for item, price in zip(one.items, one.item_features["price"], strict=True)}  # fmt: skip
    assert shown == {("tea", 2), ("milk", 3), ("oats", 2), ("rye", 3)}
    assert {action for _, _, action in found.clicks} == {"buy"}


def test_a_session_has_the_time_and_the_action_of_each_of_its_events(tmp_path: Path) -> None:
    rows = [
        {
            "who": user,
            "events": [{"i": f"{user}{k}", "t": T + 1000 * k + n, "a": "buy" if k else "see"} for k in (0, 1)],
        }
        for n, user in enumerate("pq")
    ]
    columns = {"time": "events.t", "user": "who", "item": "events.i", "action": "events.a"}
    found = ingested(tmp_path / "a.jsonl", lines(*rows), Mapping("feedback", columns, negatives_within=100))
    assert sorted((one.time // 1000 * 1000, *sorted(one.items)) for one in found.lists) == [
        (T, "p0", "q0"),
        (T + 1000, "p1", "q1"),
    ]
    assert {(item[1], action) for _, item, action in found.clicks} == {("0", "see"), ("1", "buy")}


@pytest.mark.parametrize("with_id", [False, True])
def test_interactions_with_several_items_of_a_list_are_several(tmp_path: Path, *, with_id: bool) -> None:
    columns = {"time": "at", "impression": "list", "item": "lines.sku"} | ({"id": "key"} if with_id else {})
    content = lines(order(0, "ann", "tea", "milk", list="r1", key="o1"), order(1, "bob", "oats", list="r2", key="o2"))
    found = ingested(tmp_path / "a.jsonl", content, Mapping("interaction", columns))
    assert found.clicks == [("r1", "tea", "click"), ("r1", "milk", "click"), ("r2", "oats", "click")]
    assert not with_id or [one.id for one in found.done] == ["o1", "o1-1", "o2"]


def test_a_list_in_the_text_of_a_cell_is_several_items(tmp_path: Path) -> None:
    content = "at,who,what\n1000,ann,\"[1, 2]\"\n2000,bob,\"['x y' 'z']\"\n3000,cid,[odd\n3000,dot,p\n"
    columns = {"time": "at", "user": "who", "item": "what"}
    found = ingested(tmp_path / "a.csv", content, Mapping("feedback", columns))
    assert found.dead == []
    assert {item for one in found.lists for item in one.items} == {"1", "2", "x y", "z", "[odd", "p"}


def test_interactions_in_text_are_several_as_well(tmp_path: Path) -> None:
    content = 'at,list,what\n1000,r1,"[1, 2]"\n2000,r2,x\n'
    columns = {"time": "at", "impression": "list", "item": "what"}
    found = ingested(tmp_path / "a.csv", content, Mapping("interaction", columns))
    assert found.clicks == [("r1", "1", "click"), ("r1", "2", "click"), ("r2", "x", "click")]


def test_an_empty_list_is_a_missing_item(tmp_path: Path) -> None:
    content = lines(order(0, "ann"), order(1, "bob", "oats"), order(2, "cid", "rye"))
    found = ingested(tmp_path / "a.jsonl", content, Mapping("feedback", ORDERS))
    assert (found.dead, found.counts.dead) == ([(1, "item: missing")], 1)


def test_one_bad_item_costs_itself_alone(tmp_path: Path) -> None:
    content = lines(order(0, "ann", "tea", "milk"), order(1, "bob", "oats"), order(2, "cid", "rye"))
    found = ingested(tmp_path / "a.jsonl", content.replace('"milk"', "1.5"), Mapping("feedback", ORDERS))
    assert [line for line, _ in found.dead if "1.5" in _] == [1]
    assert {item for one in found.lists for item in one.items} <= {"tea", "oats", "rye"}


def test_sorting_keeps_each_item_and_each_refusal(tmp_path: Path) -> None:
    content = lines(order(9, "ann", "tea", "milk"), order(1, "bob", "oats"), order(2, "cid", "rye", "rice"))
    content = content.replace('"milk"', "1.5").replace('"tea"', "2.5")
    found = ingested(tmp_path / "a.jsonl", content, Mapping("feedback", ORDERS), sort_memory=1 << 20)
    assert [line for line, reason in found.dead if "identifier" in reason] == [1, 1]
    assert found.counts.dead == len(found.dead)


def test_a_list_is_no_user(tmp_path: Path) -> None:
    content = lines(order(0, "ann", "tea") | {"who": ["ann"]}, order(1, "bob", "oats"))
    found = ingested(tmp_path / "a.jsonl", content, Mapping("feedback", ORDERS))
    assert "is a list, not a single value" in found.dead[0][1]
