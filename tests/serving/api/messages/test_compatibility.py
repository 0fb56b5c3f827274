"""Clients of the frozen document of v1 get on with the server of today."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.api.messages.compatibility import REMEDY, broken, main
from serving.api.messages.openapi import document

FROZEN = Path(__file__).parents[4] / "docs" / "openapi.v1.json"
V1: dict[str, Any] = json.loads(FROZEN.read_text(encoding="utf-8"))
Change = Callable[[dict[str, Any], dict[str, Any]], object]
"""Of the paths and the schemas of a document."""


def changed(change: Change) -> list[str]:
    now = copy.deepcopy(V1)
    change(now["paths"], now["components"]["schemas"])
    return broken(V1, now)


def test_nothing_was_taken_from_v1() -> None:
    """`python -m serving.api.messages.compatibility docs/openapi.v1.json` freezes what was added, too."""
    changes = broken(V1, document("1"))
    assert not changes, "\n".join([*changes, REMEDY])


def test_every_route_of_today_is_frozen() -> None:
    assert V1["paths"].keys() == document("1")["paths"].keys(), "freeze the new route with v1, see compatibility.py"


RANK, ANSWER = "POST /v1/rank, request", "POST /v1/rank, answer 200"
BREAKING: dict[str, tuple[Change, str]] = {
    "a route is gone": (lambda paths, _: paths.pop("/v1/rank"), "POST /v1/rank is gone"),
    "a method is gone": (lambda paths, _: paths["/v1/users/{user}"].clear(), "DELETE /v1/users/{user} is gone"),
    "a key is needed": (
        lambda paths, _: paths["/v1/rank"]["post"].update(security=[{"key": []}]),
        "POST /v1/rank: other security",
    ),
    "a field of a request is gone": (
        lambda _, kinds: kinds["RankRequest"]["properties"].pop("count"),
        f"{RANK}.count is gone",
    ),
    "a field of a request is needed": (
        lambda _, kinds: kinds["RankRequest"]["required"].append("time"),
        f"{RANK}.time is required now",
    ),
    "a new field of a request is needed": (
        lambda _, kinds: (
            kinds["RankRequest"]["properties"].update(place={"type": "string"}),
            kinds["RankRequest"]["required"].append("place"),
        ),
        f"{RANK}.place is required now",
    ),
    "a request may be less long": (
        lambda _, kinds: kinds["RankRequest"]["properties"]["items"].update(maxItems=500),
        f"{RANK}.items: maxItems 10000 before, 500 now",
    ),
    "a field of a request has another type": (
        lambda _, kinds: kinds["RankRequest"]["properties"]["log"].update(type="string"),
        f"{RANK}.log: boolean before, string now",
    ),
    "a kind of value is refused": (
        lambda _, kinds: kinds["RankRequest"]["properties"]["features"]["additionalProperties"]["anyOf"].pop(),
        f"{RANK}.features[]: null before, ",
    ),
    "an event is refused": (
        lambda _, kinds: kinds["UserUpdate"]["properties"]["type"].update(enum=["person"]),
        "POST /v1/events, request.type: enum ",
    ),
    "a field of an answer is gone": (
        lambda _, kinds: kinds["RankedItem"]["properties"].pop("score"),
        f"{ANSWER}.items[].score is gone",
    ),
    "a field of an answer may be missing": (
        lambda _, kinds: kinds["RankedItem"]["required"].remove("score"),
        f"{ANSWER}.items[].score may be missing now",
    ),
    "a field of an answer may be null": (
        lambda _, kinds: kinds["RankedItem"]["properties"].update(
            score={"anyOf": [{"type": "number"}, {"type": "null"}]}
        ),
        f"{ANSWER}.items[].score: number before, null now",
    ),
}


@pytest.mark.parametrize("name", BREAKING)
def test_what_clients_of_v1_rely_on_is_named(name: str) -> None:
    change, said = BREAKING[name]
    assert any(one.startswith(said) for one in changed(change)), changed(change)


HARMLESS: dict[str, Change] = {
    "a route": lambda paths, _: paths.update({"/v1/new": paths["/v1/rank"]}),
    "a field of a request": lambda _, kinds: kinds["RankRequest"]["properties"].update(place={"type": "string"}),
    "a field of an answer": lambda _, kinds: (
        kinds["RankedItem"]["properties"].update(why={"type": "string"}),
        kinds["RankedItem"]["required"].append("why"),
    ),
    "longer requests": lambda _, kinds: kinds["RankRequest"]["properties"]["items"].update(maxItems=20_000),
    "a request that needs less": lambda _, kinds: kinds["RankRequest"]["required"].remove("user"),
    "a kind of event": lambda paths, kinds: (
        kinds.update(View=kinds["Interaction"] | {"properties": {"type": {"enum": ["view"]}}}),
        paths["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]["anyOf"].append(
            {"$ref": "#/components/schemas/View"}
        ),
    ),
    "other words": lambda _, kinds: kinds["RankRequest"].update(description="Other words."),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_added_harms_no_client(name: str) -> None:
    assert changed(HARMLESS[name]) == []


def test_the_command_freezes_additions_and_nothing_else(tmp_path: Path) -> None:
    frozen = tmp_path / "v1.json"
    main(frozen)
    assert broken(V1, json.loads(frozen.read_text())) == []
    more = copy.deepcopy(V1)
    more["components"]["schemas"]["RankRequest"]["properties"]["place"] = {"type": "string"}
    frozen.write_text(json.dumps(more))
    with pytest.raises(SystemExit, match=r"place is gone\n.*as /v2"):
        main(frozen)
    assert json.loads(frozen.read_text()) == more
