"""Events of every kind for property tests."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st

from streaming.events.schema import LARGEST, Event, Impression, Interaction, ItemUpdate, UserUpdate

NOW = 2_000_000_000_000

text = st.text(st.characters(codec="utf-8"), max_size=8)
ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
times = st.integers(0, NOW)
numbers = st.floats(allow_nan=False, allow_infinity=False)
outcomes = st.floats(-LARGEST, LARGEST)
integers = st.integers(-(2**63), 2**63 - 1)
values = st.none() | st.booleans() | integers | numbers | text | st.lists(text | integers, max_size=3)
features = st.dictionaries(text, values, max_size=3)


@st.composite
def impressions(draw: st.DrawFn) -> Impression:
    items = draw(st.lists(ids, min_size=1, max_size=5, unique=True))
    count = len(items)
    propensity = st.floats(0, 1, exclude_min=True)

    def per_item(element: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
        return st.lists(element, min_size=count, max_size=count)

    return Impression(
        id=draw(ids),
        time=draw(times),
        user=draw(ids),
        items=items,
        features=draw(features),
        item_features=draw(st.dictionaries(text, per_item(values), max_size=2)),
        scores=draw(st.just([]) | per_item(numbers)),
        propensities=draw(st.just([]) | per_item(propensity)),
        experiment=draw(text),
        arm=draw(text),
        model=draw(text),
        latency=draw(st.none() | st.floats(0, LARGEST)),
        degraded=draw(st.lists(st.sampled_from(["no_model", "deadline", "rows"]), max_size=2)),
    )


interactions = st.builds(
    Interaction, time=times, impression=ids, item=ids, action=ids, value=outcomes, id=ids | st.just("")
)
user_updates = st.builds(UserUpdate, time=times, user=ids, features=features, id=ids | st.just(""))
item_updates = st.builds(
    ItemUpdate,
    time=times,
    item=ids,
    features=features,
    available=st.booleans() | st.just(msgspec.UNSET),
    id=ids | st.just(""),
)
events: st.SearchStrategy[Event] = impressions() | interactions | user_updates | item_updates
