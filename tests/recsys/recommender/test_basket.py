"""Baskets, from items' features in the log to recommendations."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys import Config, Recommender
from streaming.events.schema import ItemUpdate
from tests.recsys.recommender.conftest import SETTINGS, START, prepared, world

MENUS: dict[str, list[str | int]] = {"tea": ["morning", "guests"], "coffee": ["morning"], "cola": ["party"]}


@pytest.mark.slow
def test_a_basket_is_completed_from_the_feature_of_items_until_they_are_withdrawn(tmp_path: Path, graphs: Path) -> None:
    shares = {"basket": 0.5, "popular": 0.3}
    made = Config.model_validate(SETTINGS | {"item_sets": {"feature": "item.menus"}, "serving": {"shares": shares}})
    with Recommender(made, folder=prepared(tmp_path, graphs)) as shop:
        shop.ingest([ItemUpdate(time=START, item=name, features={"menus": menus}) for name, menus in MENUS.items()])
        shop.ingest(world(40))
        shop.fit()
        found = shop.recommend(0, 4, basket=["coffee"])
        sources = found.to_pandas().set_index("item")["source"].to_dict()
        assert sources == {
            "tea": "basket",
            "cola": "popular",
            "water": "popular",
        }
        shop.ingest([ItemUpdate(time=START + 9_000_000, item="tea", available=False)])
        shop.fit()
        assert {row.item for row in shop.recommend(0, 4, basket=["coffee"])} == {"cola", "water"}
