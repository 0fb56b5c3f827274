"""Items whose vectors are nearest to the user's."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from serving.cache.entity_cache import EntityFeatures
from serving.model.loaded_model import Models
from serving.ranking.request_features import user_vector
from serving.retrieval.retriever import Candidates, RetrievalQuery

TWO_TOWER = "two_tower"


class TwoTowerItems:
    """By the two-tower model of the query's arm; nothing if the arm's model has none. The score is the cosine."""

    def __init__(self, models: Models, entities: EntityFeatures) -> None:
        self._models, self._entities = models, entities

    def retrieve(self, query: RetrievalQuery, count: int, exclude: AbstractSet[str] = frozenset()) -> Candidates:
        model = self._models.get(query.arm.model)
        if model is None or model.two_tower is None or not len(model.two_tower.items):
            return Candidates()
        vector_E = user_vector(model, self._entities, query.user, query.features, query.time)
        ids, scores = model.two_tower.items.search(vector_E, count, exclude)
        return Candidates(ids, [TWO_TOWER] * len(ids), scores)
