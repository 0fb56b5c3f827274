"""The cheap score of a two-tower model.

Shape suffixes: C candidates.
"""

from __future__ import annotations

import numpy as np

from serving.cache.entity_cache import EntityFeatures
from serving.model.loaded_model import LoadedModel
from serving.ranking.exploration import Floats
from serving.ranking.query import Query
from serving.ranking.request_features import user_vector


class TowerProducts:
    """The product of the user's vector with the item's: their cosine. The model's towers learned it from clicks."""

    name = "two_tower"

    def __init__(self, entities: EntityFeatures) -> None:
        self._entities = entities

    def of(self, query: Query, model: LoadedModel) -> Floats | None:
        """As `CheapScores.of`. Raises InvalidValueError if a feature is of the wrong kind."""
        if model.two_tower is None or not len(model.two_tower.items):
            return None
        vector_E = user_vector(model, self._entities, query.user, query.features, query.time)
        return model.two_tower.items.products(vector_E, query.items).astype(np.float64)

    def learn(self, query: Query, model: LoadedModel, shares_C: Floats) -> None:
        """Nothing: the towers learn from clicks, in the trainer."""
