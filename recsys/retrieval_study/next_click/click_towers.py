"""The two-tower model over readers and articles of Globo.com.

Shape suffixes: P clicks, Q queries, H clicks before, C candidates, B clicks of a step, I articles.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embedding.local.store import LocalStore
from recsys import wiring
from recsys.config.file import parse
from recsys.datasets.event_batches import Ints
from recsys.datasets.globo_sessions import Clicks
from recsys.retrieval_study.clicked_batch import clicked_batch
from recsys.retrieval_study.next_click.baselines import HISTORY, HOUR, Floats
from recsys.training.retrieval.retrieval_learner import RetrievalLearner
from streaming.encode.batch import Ids, Jagged
from streaming.encode.encoder import Encoder
from streaming.encode.scaling import Scaling
from streaming.events.schema import Features

SETTINGS = f"""
[features]
fields = [
  {{ name = "read", kind = "multi", source = "user.recent(click, {HISTORY})", table = "item" }},
  {{ name = "latest", kind = "multi", source = "user.recent(click, 1)", table = "item" }},
  {{ name = "hour", source = "time.hour" }},
  {{ name = "environment", source = "request.environment" }},
  {{ name = "device_group", source = "request.device_group" }},
  {{ name = "os", source = "request.os" }},
  {{ name = "country", source = "request.country" }},
  {{ name = "region", source = "request.region" }},
  {{ name = "referrer_type", source = "request.referrer_type" }},
  {{ name = "item", source = "item" }},
  {{ name = "born", source = "item.born" }},
]
[retrieval]
two_tower = true
dim = 64
vector = 64
layers = []
negatives = 256
hard_negatives = HARD
temperature = TEMPERATURE
correction = false
[training]
sparse_lr = 0.05
seed = SEED
"""
"""Of every model. `born` is the six hours in which an article came."""
BORN = 6 * HOUR


class ClickTowers:
    """A model that takes steps over the clicks in their order, as `RetrievalLearner` does on a stream.

    What is known of a request is what was known of the one before it in the session, and what the reader read.
    """

    def __init__(self, clicks: Clicks, temperature: float, batch: int, hard: int, seed: int) -> None:
        settings = SETTINGS
        for name, value in {"TEMPERATURE": temperature, "HARD": hard, "SEED": seed}.items():
            settings = settings.replace(name, str(value))
        config = parse(settings, Path("recsys.toml"))
        self._batch = batch
        self._encoder = Encoder(wiring.spec(config))
        self._learner = RetrievalLearner(self._encoder.spec, LocalStore(wiring.tables(config)), config.retrieval, seed)
        self._clicks, self._learned, self._scaling = clicks, 0, Scaling([], [], [])
        born: list[Features] = [{"born": str(born)} for born in (clicks.births() // BORN).tolist()]
        self._items, self._none_IN = self._encoder.encode_items([str(item) for item in range(clicks.items)], born)
        self._read_I = self._history_ids()
        self._values = {name: self._value_ids(name) for name in ("hour", *clicks.context)}

    def learn(self, end: int) -> None:
        for start in range(self._learned, end, self._batch):
            rows_B = np.arange(start, min(start + self._batch, end))
            ids = self._requests(rows_B) | self._of_items(self._clicks.items_P[rows_B])
            self._learner.step(clicked_batch(ids), self._scaling)
        self._learned = end

    def scores(self, rows_Q: Ints, items_C: Ints) -> Floats:
        """Cosines."""
        none_QN = np.zeros((len(rows_Q), 0), np.float32)
        users_QE = self._learner.user_vectors(self._requests(rows_Q), none_QN, self._scaling)
        items_CE = self._learner.item_vectors(self._of_items(items_C), self._none_IN[items_C], self._scaling)
        return np.asarray(users_QE @ items_CE.T)

    def _of_items(self, items_C: Ints) -> dict[str, Jagged]:
        return {name: ids.take(items_C) for name, ids in self._items.items()}

    def _requests(self, rows_Q: Ints) -> dict[str, Jagged]:
        before_QH = self._clicks.before(rows_Q, HISTORY)
        read_QH = before_QH >= 0
        ids = self._read_I[self._clicks.items_P[before_QH]]
        found = {"read": Jagged(ids[read_QH], read_QH.sum(1).astype(np.int32))}
        found["latest"] = Jagged(ids[:, 0][read_QH[:, 0]], read_QH[:, 0].astype(np.int32))
        asked_Q = np.where(read_QH[:, 0], before_QH[:, 0], rows_Q)
        for name, (values, values_ids) in self._values.items():
            of_Q = self._hours(rows_Q) if name == "hour" else self._clicks.context[name][asked_Q]
            found[name] = values_ids.take(np.searchsorted(values, of_Q))
        return found

    def _hours(self, rows_Q: Ints) -> Ints:
        return np.asarray(self._clicks.times_P[rows_Q] // HOUR % 24)

    def _history_ids(self) -> Ids:
        """The id of each article as one of those that a reader read."""
        name, names = f"user.recent(click, {HISTORY})", [str(item) for item in range(self._clicks.items)]
        parts: list[Features] = [{name: [*names[start : start + HISTORY]]} for start in range(0, len(names), HISTORY)]
        return np.concatenate([self._encoder.encode_request("", 0, part)[0]["read"].values for part in parts])

    def _value_ids(self, name: str) -> tuple[Ints, Jagged]:
        """The values of a field of the request, and their ids."""
        values = np.arange(24) if name == "hour" else np.unique(self._clicks.context[name])
        times = values * HOUR if name == "hour" else np.zeros_like(values)
        pairs = zip(times.tolist(), values.tolist(), strict=True)
        ids = [self._encoder.encode_request("", time, {name: str(value)})[0][name] for time, value in pairs]
        return values, Jagged.concat(ids)
