"""Rules for what a log leaves open: users without a name, an item twice in a list, what was done with an item."""

from __future__ import annotations

from typing import Any, Final

from streaming.ingest.mapping.column_mapping import Repeated

_PER_ITEM: Final = ("scores", "propensities")


def interactions(impression: str, time: int, done: dict[str, list[str]], value: Any = None) -> list[dict[str, Any]]:
    """One interaction for each action and item; `done` has the items by action."""
    more = {} if value is None else {"value": value}
    return [
        {"type": "interaction", "time": time, "impression": impression, "item": item, "action": action} | more
        for action, items in done.items()
        for item in dict.fromkeys(items)
    ]


def complete(impression: dict[str, Any]) -> bool:
    """Whether the list is complete; interactions with an incomplete one would have no list."""
    items = impression.get("items", ())
    return {"id", "time", "user"} <= impression.keys() and 0 < len(items) == len(set(items))


def name_user(impression: dict[str, Any]) -> None:
    """Give a list without a user an anonymous user of its own."""
    if "user" not in impression and "id" in impression:
        impression["user"] = f"anonymous:{impression['id']}"


def keep_once(impression: dict[str, Any], rule: Repeated) -> None:
    """Keep each item once in the list and in the lists parallel to it."""
    items = impression.get("items", ())
    if rule == "refuse" or len(set(items)) == len(items):
        return
    count, order = len(items), range(len(items))
    places = {items[i]: i for i in (order if rule == "last" else reversed(order))}
    kept = sorted(places.values())
    impression["items"] = [items[i] for i in kept]
    beside = [(impression, name) for name in _PER_ITEM if name in impression]
    beside += [(impression["item_features"], name) for name in impression.get("item_features", ())]
    for parent, name in beside:
        if len(parent[name]) == count:  # decoding the line refuses any other length, naming the field
            parent[name] = [parent[name][i] for i in kept]
