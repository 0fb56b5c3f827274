"""The two-tower model over users and films of MovieLens 1M. Shape suffixes: U users, I items, P likes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embedding.local.store import LocalStore
from recsys import wiring
from recsys.config.file import parse
from recsys.datasets.ml1m_by_time import Bools, Ints, RatedItems
from recsys.retrieval_study.neighbours import Floats
from recsys.training.retrieval.retrieval_learner import RetrievalLearner
from streaming.encode.batch import Jagged, TrainingBatch
from streaming.encode.encoder import Encoder
from streaming.encode.scaling import Scaling

SETTINGS = """
[features]
fields = [
  { name = "user", source = "user" },
  { name = "gender", source = "request.gender" },
  { name = "age", source = "request.age" },
  { name = "occupation", source = "request.occupation" },
  { name = "item", source = "item" },
  { name = "genres", kind = "multi", source = "item.genres" },
  { name = "year", source = "item.year" },
  { name = "decade", source = "item.decade" },
]
[training]
sparse_lr = 0.05
seed = SEED
[retrieval]
two_tower = true
dim = 64
vector = 64
layers = []
negatives = 256
"""
"""Of every model; a method adds its own."""
BATCH = 1024
"""Likes of a step."""


class TwoTowers:
    """A model that learns from likes epoch after epoch, by the steps that `RetrievalLearner` takes on a stream.

    `more` are settings that follow those of `SETTINGS`, such as a section `[retrieval.ssl]`.
    """

    def __init__(self, rated: RatedItems, more: str, seed: int) -> None:
        config = parse(SETTINGS.replace("SEED", str(seed)) + more, Path("recsys.toml"))
        encoder = Encoder(wiring.spec(config))
        self._learner = RetrievalLearner(encoder.spec, LocalStore(wiring.tables(config)), config.retrieval, seed)
        requests = [encoder.encode_request(u, 0, of)[0] for u, of in zip(rated.users, rated.people, strict=True)]
        self._users = {name: Jagged.concat([one[name] for one in requests]) for name in requests[0]}
        self._items, self._none_IN = encoder.encode_items(rated.items, rated.films)
        self._scaling, self._rng = Scaling([], [], []), np.random.default_rng(seed)
        self._learner.pool.add(self._items[self._learner.fields.key].values, self._items, self._none_IN)

    def epoch(self, liked_UI: Bools) -> None:
        """Learn from each like once, in an order that the seed draws."""
        users_P, items_P = np.nonzero(liked_UI)
        order_P = self._rng.permutation(len(users_P))
        for start in range(0, len(order_P), BATCH):
            chosen = order_P[start : start + BATCH]
            self._learner.step(self._batch(users_P[chosen], items_P[chosen]), self._scaling)

    def scores(self, users: Ints) -> Floats:
        """Cosines of these users with all items."""
        ids = {name: one.take(users) for name, one in self._users.items()}
        own = self._learner.user_vectors(ids, np.zeros((len(users), 0), np.float32), self._scaling)
        return np.asarray(own @ self._learner.item_vectors(self._items, self._none_IN, self._scaling).T)

    def _batch(self, users_P: Ints, items_P: Ints) -> TrainingBatch:
        ids = {name: one.take(users_P) for name, one in self._users.items()}
        ids |= {name: one.take(items_P) for name, one in self._items.items()}
        ones, zeros = np.ones(len(users_P), np.float32), np.zeros(len(users_P), np.int64)
        return TrainingBatch(
            ids=ids,
            numeric_BN=np.zeros((len(users_P), 0), np.float32),
            labels_B=ones,
            counted_B=ones,
            keys_B=zeros,
            tasks_B=zeros,
            weights_B=ones,
            propensities_B=ones,
            positions_B=zeros.astype(np.int32),
            times_B=zeros,
            now=0,
            cursor=(0,),
        )
