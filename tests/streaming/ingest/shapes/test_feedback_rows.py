"""Feedback without lists: a second item is shown beside each, by a rule that does not tell which one was chosen."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from streaming.ingest.counts import Counts
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.shapes import feedback_rows
from tests.streaming.ingest.shapes.tables import Found, ingested

COLUMNS = {"time": "t", "user": "u", "item": "i"}
FEEDBACK = Mapping("feedback", COLUMNS, negatives_within=60_000)


def plays(count: int, seed: int = 3) -> str:
    """Items become known one after the other, so that a rule that looks backwards only would be seen."""
    rng = np.random.default_rng(seed)
    rows = [f"{1000 * n},u{rng.integers(200)},i{n // 20 + rng.integers(40)}\n" for n in range(count)]
    return "t,u,i\n" + "".join(rows)


def share_clicked(found: Found, sighting: int) -> float:
    """Of the n-th time that an item is shown."""
    clicked = {(one.impression, one.item) for one in found.done}
    seen, labels = Counter[str](), list[bool]()
    for one in found.lists:
        for item in one.items:
            seen[item] += 1
            if seen[item] == sighting:
                labels.append((one.id, item) in clicked)
    return float(np.mean(labels))


@pytest.mark.slow
def test_the_label_cannot_be_told_from_the_sighting_number(tmp_path: Path) -> None:
    found = ingested(tmp_path / "a.csv", plays(20_000), FEEDBACK)
    assert len(found.lists) == len(found.done) > 9_900
    assert all(len(one.items) == 2 for one in found.lists)
    places = {one.impression: one.item for one in found.done}
    assert np.mean([one.items[0] == places[one.id] for one in found.lists]) == pytest.approx(0.5, abs=0.02)
    for sighting in range(1, 6):
        assert share_clicked(found, sighting) == pytest.approx(0.5, abs=0.07)


@pytest.mark.slow
def test_rows_are_used_once_near_in_time_and_the_same_whatever_the_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback_rows, "CHUNK", 1_000)
    content = plays(3_000)
    found = ingested(tmp_path / "a.csv", content, FEEDBACK)
    assert [one.id for one in ingested(tmp_path / "a.csv", content, FEEDBACK).lists] == [one.id for one in found.lists]
    other = ingested(tmp_path / "a.csv", content, Mapping("feedback", COLUMNS, negatives_within=60_000, seed=1))
    assert [one.time for one in other.lists] != [one.time for one in found.lists]
    rows = {(line.split(",")[1], line.split(",")[2], int(line.split(",")[0])) for line in content.split()[1:]}
    for one, done in zip(found.lists, found.done, strict=True):
        (lent,) = (item for item in one.items if item != done.item)
        assert (one.user, done.item, one.time) in rows
        assert any(item == lent and abs(at - one.time) <= 60_000 and user != one.user for user, item, at in rows)
    assert found.counts.dead == 3_000 - 2 * len(found.lists)


def test_rows_without_a_partner_and_without_an_action_are_refused(tmp_path: Path) -> None:
    columns = COLUMNS | {"value": "v", "actions.buy": "b", "features.f": "f", "item_features.p": "p"}
    content = "t,u,i,v,b,f,p\n5,u,a,2,1,x,1\n6,v,b,3,1,y,2\n7,w,c,1,0,z,3\n999000,w,d,1,1,z,3\n8,,e,1,1,z,4\n"
    mapping = Mapping("feedback", columns, negatives_within=60_000, kinds={"p": "numeric"})
    found = ingested(tmp_path / "a.csv", content, mapping)
    assert found.counts == Counts(2, 0, 3)
    (shown,), (done,) = found.lists, found.done
    assert (sorted(shown.items), done.action, done.value) == (["a", "b"], "buy", 2 if done.item == "a" else 3)
    assert shown.features == {"f": "x" if done.item == "a" else "y"}
    assert shown.item_features == {"p": [1 if item == "a" else 2 for item in shown.items]}
    assert sorted(found.dead) == [
        (4, "actions: none happened in this row"),
        (5, "no row of another user with another item is near enough in time (negatives_within)"),
        (6, "user: missing"),
    ]


def test_recbole_files(tmp_path: Path) -> None:
    content = "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ta\t5\t100.5\nv\tb\t4\t101\n"
    columns = {"user": "user_id", "item": "item_id", "value": "rating", "time": "timestamp"}
    found = ingested(tmp_path / "ml.inter", content, Mapping("feedback", columns, "s"))
    assert found.counts == Counts(2)
    assert {*found.lists[0].items} == {"a", "b"}


def test_ratings_with_two_colons(tmp_path: Path) -> None:
    columns = {"user": "1", "item": "2", "value": "3", "time": "4"}
    text = {"delimiter": "::", "header": False}
    found = ingested(
        tmp_path / "ratings.dat", "1::7::5::100\n2::8::3::101\n", Mapping("feedback", columns, "s"), format="csv",
        text=text,
    )  # fmt: skip
    assert found.counts == Counts(2)
