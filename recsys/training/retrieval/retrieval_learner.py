"""The two-tower model learning from the clicks of each batch.

Shape suffixes: B training rows, P clicked rows, C clicked and drawn items, N numeric fields, n of them of the user,
E coordinates of a vector, D embedding dimension.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from embedding.store import EmbeddingStore
from recsys.config.sections.learning.retrieval import RetrievalSection
from recsys.errors import InvalidValueError
from recsys.models.two_tower import TowerInput, TwoTower
from recsys.training.dense.adam import Adam
from recsys.training.dense.model import under
from recsys.training.dense.soundness import sound
from recsys.training.embedding_layer import Embedded, EmbeddingLayer
from recsys.training.retrieval.batch_softmax import batch_softmax
from recsys.training.retrieval.frequency import FrequencyEstimate
from recsys.training.retrieval.hard_negatives import hardest
from recsys.training.retrieval.item_pool import Ids, ItemPool, Numbers
from recsys.training.retrieval.tower_fields import TowerFields
from recsys.training.ssl.item_views import ItemViews, Views
from streaming.encode.batch import Jagged, TrainingBatch
from streaming.encode.feature_spec import FeatureSpec
from streaming.encode.scaling import Scaling

Candidates = tuple[Ids, dict[str, Jagged], Numbers]
"""Keys, ids by field and numbers of items."""
_RECENT = 0.99
"""Decay of the running mean of the loss that is reported."""


class RetrievalLearner:
    """Learns `model` with Adam, and the rows of its tables with the store's optimizer.

    A clicked row of the first task is a positive pair. Negatives are the other clicked items of the batch, items drawn
    uniformly from those that were shown (`ItemPool`), and hard ones (`hardest`), if any; a logit is corrected by how
    often its item is a candidate (mixed negative sampling, Yang et al., WWW 2020). The same batches give the same
    bits. Steps whose loss or gradient is not finite are left out and counted. Raises InvalidValueError if `store` lacks
    a table.
    """

    def __init__(self, spec: FeatureSpec, store: EmbeddingStore, options: RetrievalSection, seed: int = 0) -> None:
        self.options, self._seed = options, seed
        self.fields = fields = TowerFields(spec)
        self._users, self._items = EmbeddingLayer(store, fields.user), EmbeddingLayer(store, fields.item)
        user, item = (TowerInput(len(side.sparse), len(side.numeric)) for side in (fields.user, fields.item))
        hidden, size = options.layers, options.vector
        self.model = TwoTower(user, item, dim=options.dim, hidden=hidden, size=size, seed=seed)
        self._user_numbers = user.numeric
        self._optimizer = Adam(self.model.parameters(), lr=options.lr)
        self.frequency = FrequencyEstimate()
        self.pool = ItemPool(fields.item.sparse, item.numeric, options.pool)
        self._views = ItemViews(fields.item, options.ssl, seed) if options.ssl.on else None
        self.steps = self.positives = self.left_out = 0
        self.loss = self.ssl_loss = 0.0
        """Running means, the second one of self-supervision; without a step 0."""

    def step(self, batch: TrainingBatch, scaling: Scaling) -> None:
        """Learn from the clicks of `batch`, whose numbers `scaling` scales, and remember its items."""
        clicked_P = np.flatnonzero((batch.labels_B > 0) & (batch.tasks_B == 0) & (batch.weights_B > 0))
        if len(clicked_P):
            self._learn(batch.take(clicked_P), scaling)
        self.pool.add(batch.ids[self.fields.key].values, batch.ids, batch.numeric_BN[:, self._user_numbers :])

    def item_vectors(self, ids: dict[str, Jagged], numeric_BN: Numbers, scaling: Scaling) -> Numbers:
        """Vectors [B, E] of items, from their ids by field and their numbers. Changes nothing."""
        embedded_BFD = self._items.peek(ids).embedded_BFD
        scaled_BN = torch.from_numpy(scaling.apply(numeric_BN, self._user_numbers))
        with torch.inference_mode():
            vectors_BE: Numbers = self.model.item(embedded_BFD, scaled_BN).numpy()
        return vectors_BE

    def user_vectors(self, ids: dict[str, Jagged], numeric_BN: Numbers, scaling: Scaling) -> Numbers:
        """Vectors [B, E] of users, from the ids by field and the numbers of their requests. Changes nothing."""
        scaled_BN = torch.from_numpy(scaling.apply(numeric_BN))
        with torch.inference_mode():
            vectors_BE: Numbers = self.model.user(self._users.peek(ids).embedded_BFD, scaled_BN).numpy()
        return vectors_BE

    @property
    def report(self) -> dict[str, float]:
        """Figures of the trainer's status."""
        figures = {"steps": self.steps, "positives": self.positives, "left_out": self.left_out, "loss": self.loss}
        figures |= {"ssl_loss": self.ssl_loss} if self._views else {}
        return figures | {"pool": len(self.pool)}

    def state(self) -> dict[str, Tensor]:
        """Everything but the embedding rows, as tensors that do not change any more."""
        state = {f"model.{name}": tensor.clone() for name, tensor in self.model.state_dict().items()}
        state |= {f"optimizer.{name}": tensor for name, tensor in self._optimizer.state().items()}
        state["counts"] = torch.tensor([self.steps, self.positives, self.left_out, self.frequency.batches])
        state["loss"] = torch.tensor(self.loss, dtype=torch.float64)
        if self._views:
            state["ssl.loss"] = torch.tensor(self.ssl_loss, dtype=torch.float64)
            state["ssl.information"] = torch.from_numpy(self._views.information_FF.copy())
        return state | {name: torch.from_numpy(array.copy()) for name, array in self._arrays().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned. Raises InvalidValueError if it is of another model."""
        try:
            self.model.load_state_dict(under("model.", state))
            for name, array in self._arrays().items():
                array[...] = state[name].numpy()
        except (RuntimeError, KeyError, ValueError) as error:
            raise InvalidValueError(f"it is of another two-tower model: {error}") from None
        self._optimizer.restore(under("optimizer.", state))
        self.steps, self.positives, self.left_out, self.frequency.batches = state["counts"].tolist()
        self.loss = float(state["loss"])
        if self._views and "ssl.loss" in state:
            self.ssl_loss = float(state["ssl.loss"])
            self._views.information_FF = state["ssl.information"].numpy().copy()

    def _arrays(self) -> dict[str, Any]:
        """The arrays of estimate and pool by name."""
        named: dict[str, Any] = {f"pool.{name}": array for name, array in self.pool.arrays().items()}
        return named | {"frequency.last": self.frequency.last_KH, "frequency.gap": self.frequency.gap_KH}

    def _learn(self, clicks: TrainingBatch, scaling: Scaling) -> None:
        """One step on rows that were all clicked."""
        keys_D, ids, numeric_CN = self._candidates(clicks, scaling)
        views = self._views.draw(self.pool, self.frequency.batches) if self._views else None
        if views:
            ids = {name: Jagged.concat([jagged, views.ids[name]]) for name, jagged in ids.items()}
            numeric_CN = np.concatenate([numeric_CN, views.numeric_VN])
        users, items = self._users.lookup(clicks.ids, clicks.now), self._items.lookup(ids, clicks.now)
        users_PN = torch.from_numpy(scaling.apply(clicks.numeric_BN[:, : self._user_numbers]))
        items_CN = torch.from_numpy(scaling.apply(numeric_CN, self._user_numbers))
        self._optimizer.zero_grad()
        vectors_CE = self.model.item(items.embedded_BFD, items_CN)
        loss = batch_softmax(
            self.model.user(users.embedded_BFD, users_PN),
            vectors_CE[: len(keys_D)],
            torch.from_numpy(np.searchsorted(keys_D, clicks.ids[self.fields.key].values)),
            torch.from_numpy(self._expected(keys_D)),
            torch.from_numpy(clicks.weights_B),
            self.options.temperature,
        )
        if self._improve(loss, self._ssl(vectors_CE[len(keys_D) :], views), users, items):
            self.positives += len(clicks)

    def _ssl(self, vectors_VE: Tensor, views: Views | None) -> Tensor | None:
        """The loss of self-supervision; None without it."""
        return self._views.loss(vectors_VE, views) if self._views and views else None

    def _improve(self, loss: Tensor, ssl: Tensor | None, users: Embedded, items: Embedded) -> bool:
        """One step down the sum of the losses; False, and nothing changes, if it is not sound."""
        total = loss if ssl is None else loss + self.options.ssl.weight * ssl
        total.backward()  # type: ignore[no-untyped-call]
        rows = [layer.pooled_BS.grad for layer in (users, items) if layer.pooled_BS.grad is not None]
        weights = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        if not sound([total.detach(), *rows, *weights]):
            self.left_out += 1
            return False
        self._optimizer.step()
        self._users.apply(users)
        self._items.apply(items)
        self.loss += (1 - _RECENT if self.steps else 1.0) * (float(loss.detach()) - self.loss)
        if ssl is not None:
            self.ssl_loss += (1 - _RECENT if self.ssl_loss else 1.0) * (float(ssl.detach()) - self.ssl_loss)
        self.steps += 1
        return True

    def _candidates(self, clicks: TrainingBatch, scaling: Scaling) -> Candidates:
        """Keys, ids and numbers of the clicked items, followed by drawn and hard ones."""
        keys_P = clicks.ids[self.fields.key].values
        self.frequency.add(np.unique(keys_P))
        rng = np.random.default_rng((self._seed, self.frequency.batches))
        more = [self.pool.draw(self.options.negatives, rng)]
        if self.options.hard_negatives:
            more.append(self._hard(clicks, self.pool.draw(self.options.hard_from, rng), scaling))
        ids = {name: Jagged.concat([clicks.ids[name], *(one[1][name] for one in more)]) for name in more[0][1]}
        numeric_CN = np.concatenate([clicks.numeric_BN[:, self._user_numbers :], *(one[2] for one in more)])
        keys_D, first_D = np.unique(np.concatenate([keys_P, *(one[0] for one in more)]), return_index=True)
        return keys_D, {name: jagged.take(first_D) for name, jagged in ids.items()}, numeric_CN[first_D]

    def _hard(self, clicks: TrainingBatch, drawn: Candidates, scaling: Scaling) -> Candidates:
        """The hardest of the `drawn` items, by the vectors of before the step. Changes nothing."""
        keys_M, ids, numeric_MN = drawn
        users_PE = self.user_vectors(clicks.ids, clicks.numeric_BN[:, : self._user_numbers], scaling)
        near_PM = users_PE @ self.item_vectors(ids, numeric_MN, scaling).T
        chosen_S = hardest(near_PM, keys_M, clicks.ids[self.fields.key].values, self.options.hard_negatives)
        return keys_M[chosen_S], {name: values.take(chosen_S) for name, values in ids.items()}, numeric_MN[chosen_S]

    def _expected(self, keys_D: Ids) -> Numbers:
        """How likely each item is among the candidates of a step: clicked or drawn."""
        if not self.options.correction:
            return np.ones(len(keys_D), np.float32)
        not_drawn = (1 - 1 / max(len(self.pool), 2)) ** self.options.negatives
        return (1 - (1 - self.frequency.probability(keys_D)) * not_drawn).astype(np.float32)
