"""Items with a beginning and an end, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from recsys import wiring
from recsys.config.file import parse
from streaming.ingest.codec import Rules
from tests.serving.api.asking import Start, rank, ready, shown
from tests.serving.api.test_preranking import published as with_vectors
from tests.serving.fakes import SPEC

BEGIN, END = 1_700_000_000_000, 1_700_000_600_000
TIMES = {"available_from": "item.starts", "available_until": "item.ends"}
SHARES = {"popular": 0.3, "recent": 0.3, "two_tower": 0.4}
published = with_vectors


@pytest.fixture
def app(start: Start, published: Any) -> httpx.Client:
    """`a` to `d` have vectors; `e` is popular alone, `f` recent alone. The even ones have times."""
    published.publish_catalog([("e", 1.0)], [("f", BEGIN)])
    of_all: dict[str, Any] = {"starts": BEGIN, "ends": END}
    features = {"b": of_all, "d": {"starts": BEGIN}, "e": of_all, "f": of_all, "a": {"starts": None}}
    published.publish_entities({}, features)
    return ready(start(shares=SHARES, rules=Rules.of(SPEC, keep_unknown=True, times=("starts", "ends")), **TIMES))


def candidates(app: httpx.Client, time: int, **more: Any) -> dict[str, str]:
    """Items with their sources."""
    answer = app.post("/v1/recommend", json={"user": "u", "time": time, **more}).json()
    return {item["item"]: item["source"] for item in answer["items"]}


def test_every_source_has_an_item_from_its_first_moment_to_its_last(app: httpx.Client) -> None:
    everything = {**dict.fromkeys("abcd", "two_tower"), "e": "popular", "f": "recent"}
    assert candidates(app, BEGIN) == candidates(app, END - 1) == everything
    assert set(candidates(app, BEGIN - 1)) == {"a", "c"}
    assert set(candidates(app, END)) == {"a", "c", "d"}  # d has no end
    assert shown(rank(app, "e", "f", time=END)) == ["e", "f"]  # what is asked for is ranked


def test_items_that_are_not_there_take_no_places(app: httpx.Client) -> None:
    assert set(candidates(app, BEGIN - 1, count=2)) == {"a", "c"}
    assert set(candidates(app, BEGIN, where={"ends": END})) == {"b", "e", "f"}


def test_times_that_are_no_numbers_are_refused(app: httpx.Client) -> None:
    event = {"type": "item", "time": BEGIN, "item": "a", "features": {"starts": "soon"}}
    answer = app.post("/v1/events", json=event)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, "features.starts")
    rules = wiring.rules(parse('[serving]\navailable_until = "item.ends"\n', Path("recsys.toml")))
    assert rules.item is not None
    assert rules.item["ends"] == "numeric"
    assert "" not in rules.item
