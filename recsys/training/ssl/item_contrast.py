"""Self-supervision of the item fields of a ranking model. Shape suffixes: V views, F fields, D embedding dimension."""

from __future__ import annotations

import torch
from torch import Tensor

from embedding.store import EmbeddingStore
from recsys.config.sections.learning.ssl import SslSection
from recsys.errors import InvalidValueError
from recsys.models.two_tower import Tower, TowerInput
from recsys.training.dense.adam import Adam
from recsys.training.dense.model import under
from recsys.training.dense.soundness import sound
from recsys.training.embedding_layer import EmbeddingLayer
from recsys.training.retrieval.item_pool import ItemPool
from recsys.training.ssl.item_views import ItemViews, Views
from streaming.encode.batch import TrainingBatch
from streaming.encode.feature_spec import FeatureSpec
from streaming.encode.scaling import Scaling

PLACES = 16_384
"""Most shown items remembered to draw them from."""
_SIZE = 32
"""Coordinates of the vectors that views are compared by."""


class ItemContrast:
    """A step of the store's optimizer on rows of item fields, after each of the ranking model's.

    Views go through a linear tower of its own, which is learned with them and never served: what is left of it are the
    rows, which the ranking model reads. Steps that are not sound are left out and counted. Raises InvalidValueError if
    `spec` has no categorical field with source `item`.
    """

    def __init__(self, spec: FeatureSpec, store: EmbeddingStore, options: SslSection, *, lr: float, seed: int) -> None:
        item = FeatureSpec(tuple(field for field in spec.fields if field.of_item))
        if item.item_key is None:
            raise InvalidValueError("self-supervision needs a categorical field of source `item`: add one")
        self._key, self._weight = item.item_key, options.weight
        self._first = len(spec.numeric) - len(item.numeric)
        self._layer = EmbeddingLayer(store, item)
        self.pool = ItemPool(item.sparse, len(item.numeric), PLACES)
        self._views = ItemViews(item, options, seed)
        width = max(table.dim for name, table in store.tables.items() if name in self._layer.tables)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            self._tower = Tower(TowerInput(len(item.sparse), len(item.numeric)), width, (), _SIZE)
        self._optimizer = Adam(self._tower.parameters(), lr=lr)
        self.steps = self.left_out = 0

    def step(self, batch: TrainingBatch, scaling: Scaling) -> None:
        """Learn from items of earlier batches, and remember those of `batch`."""
        self.steps += 1
        if views := self._views.draw(self.pool, self.steps):
            self._learn(views, batch.now, scaling)
        self.pool.add(batch.ids[self._key].values, batch.ids, batch.numeric_BN[:, self._first :])

    @property
    def report(self) -> dict[str, float]:
        """Figures of the trainer's status."""
        return {"steps": self.steps, "left_out": self.left_out, "pool": len(self.pool)}

    def state(self) -> dict[str, Tensor]:
        """Everything but the embedding rows, as tensors that do not change any more."""
        state = {f"tower.{name}": tensor.clone() for name, tensor in self._tower.state_dict().items()}
        state |= {f"optimizer.{name}": tensor for name, tensor in self._optimizer.state().items()}
        state |= {f"pool.{name}": torch.from_numpy(array.copy()) for name, array in self.pool.arrays().items()}
        state["information"] = torch.from_numpy(self._views.information_FF.copy())
        return state | {"counts": torch.tensor([self.steps, self.left_out])}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned; of a checkpoint without it nothing is known."""
        if not state:
            return
        self._tower.load_state_dict(under("tower.", state))
        self._optimizer.restore(under("optimizer.", state))
        self.pool.restore(under("pool.", state))
        self._views.information_FF = state["information"].numpy().copy()
        self.steps, self.left_out = state["counts"].tolist()

    def _learn(self, views: Views, now: int, scaling: Scaling) -> None:
        rows = self._layer.lookup(views.ids, now)
        numeric_VN = torch.from_numpy(scaling.apply(views.numeric_VN, self._first))
        self._optimizer.zero_grad()
        loss = self._weight * self._views.loss(self._tower(rows.embedded_BFD, numeric_VN), views)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [rows.pooled_BS.grad, *(weight.grad for weight in self._tower.parameters())]
        if not sound([loss.detach(), *(gradient for gradient in gradients if gradient is not None)]):
            self.left_out += 1
            return
        self._optimizer.step()
        self._layer.apply(rows)
