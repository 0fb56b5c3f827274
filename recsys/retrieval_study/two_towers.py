"""The two-tower model over users and films of MovieLens 1M. Shape suffixes: U users, I items, P likes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embedding.local.store import LocalStore
from recsys import wiring
from recsys.config.file import parse
from recsys.datasets.ml1m_by_time import Bools, Ints, RatedItems
from recsys.retrieval_study.clicked_batch import clicked_batch
from recsys.retrieval_study.neighbours import Floats
from recsys.training.retrieval.retrieval_learner import RetrievalLearner
from streaming.encode.batch import Ids, Jagged, TrainingBatch
from streaming.encode.encoder import Encoder
from streaming.encode.scaling import Scaling

SETTINGS = """
[features]
fields = [
  { name = "liked", kind = "multi", source = "user.recent(like, 1000)", table = "item" },
  { name = "gender", source = "request.gender" },
  { name = "age", source = "request.age" },
  { name = "occupation", source = "request.occupation" },
  { name = "item", source = "item" },
  { name = "genres", kind = "multi", source = "item.genres" },
  { name = "year", source = "item.year" },
  { name = "decade", source = "item.decade" },
]
[retrieval]
two_tower = true
dim = 64
vector = 64
layers = []
negatives = 256
temperature = TEMPERATURE
[training]
sparse_lr = 0.05
seed = SEED
"""
"""Of every model; a method adds its own."""
BATCH = 1024
"""Likes of a step."""


class TwoTowers:
    """A model that learns from likes by the steps that `RetrievalLearner` takes on a stream.

    A user is what the user liked, without a row of the user's own: the model learns some likes of a user from others,
    and ranks by all. `more` are settings that follow `SETTINGS`: of training, then a section `[retrieval.ssl]`.
    """

    def __init__(self, rated: RatedItems, temperature: float, more: str, seed: int) -> None:
        settings = SETTINGS.replace("SEED", str(seed)).replace("TEMPERATURE", str(temperature)) + more
        config = parse(settings, Path("recsys.toml"))
        encoder = Encoder(wiring.spec(config))
        self._learner = RetrievalLearner(encoder.spec, LocalStore(wiring.tables(config)), config.retrieval, seed)
        requests = [encoder.encode_request(u, 0, of)[0] for u, of in zip(rated.users, rated.people, strict=True)]
        self._users = {name: Jagged.concat([one[name] for one in requests]) for name in requests[0]}
        self._liked_I = np.concatenate([_history(encoder, item) for item in rated.items])
        self._items, self._none_IN = encoder.encode_items(rated.items, rated.films)
        self._scaling, self._rng = Scaling([], [], []), np.random.default_rng(seed)
        self._learner.pool.add(self._items[self._learner.fields.key].values, self._items, self._none_IN)

    def learn(self, liked_UI: Bools, steps: int) -> None:
        """Take steps over the likes, in an order that the seed draws, and again until there were so many.

        Each time anew a share of each user's likes is drawn, uniform from none to all. They are what is known of the
        user, and the others are learned: of all but one like, a model would learn by heart what is liked together.
        """
        while steps > 0 and liked_UI.any():
            share_U1 = self._rng.random((len(liked_UI), 1), np.float32)
            known_UI = liked_UI & (self._rng.random(liked_UI.shape, np.float32) < share_U1)
            users = self._known(known_UI)
            users_P, items_P = np.nonzero(liked_UI & ~known_UI)
            order_P = self._rng.permutation(len(users_P))[: steps * BATCH]
            for start in range(0, len(order_P), BATCH):
                chosen = order_P[start : start + BATCH]
                self._learner.step(self._batch(users, users_P[chosen], items_P[chosen]), self._scaling)
                steps -= 1

    def scores(self, liked_UI: Bools, users: Ints) -> Floats:
        """Cosines of these users, by what they liked, with all items."""
        known = self._known(liked_UI)
        ids = {name: one.take(users) for name, one in known.items()}
        own = self._learner.user_vectors(ids, np.zeros((len(users), 0), np.float32), self._scaling)
        return np.asarray(own @ self._learner.item_vectors(self._items, self._none_IN, self._scaling).T)

    def _known(self, liked_UI: Bools) -> dict[str, Jagged]:
        """The encoded users, with these likes."""
        liked = Jagged(self._liked_I[np.nonzero(liked_UI)[1]], liked_UI.sum(1).astype(np.int32))
        return self._users | {"liked": liked}

    def _batch(self, users: dict[str, Jagged], users_P: Ints, items_P: Ints) -> TrainingBatch:
        ids = {name: one.take(users_P) for name, one in users.items()}
        ids |= {name: one.take(items_P) for name, one in self._items.items()}
        return clicked_batch(ids)


def _history(encoder: Encoder, item: str) -> Ids:
    """The id of an item as one of those that a user liked."""
    ids, _ = encoder.encode_request("", 0, {"user.recent(like, 1000)": [item]})
    return ids["liked"].values
