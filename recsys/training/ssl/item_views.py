"""Views of items that are drawn uniformly, whether clicked or not.

Shape suffixes: S drawn items, V views of them, F fields (sparse ones first), N numeric fields, E coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.config.sections.learning.ssl import SslSection
from recsys.training.retrieval.item_pool import Ids, ItemPool, Numbers
from recsys.training.ssl.contrastive_loss import nt_xent, spread_out
from recsys.training.ssl.mutual_information import field_codes, mutual_information
from streaming.encode.batch import Jagged
from streaming.encode.feature_spec import FeatureSpec

_STREAM = 1
"""Keeps these draws apart from those of negatives."""
_MEASURED_EVERY, _MEASURED = 512, 4096
"""Steps between two measurements of mutual information, and most items of one."""
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Views:
    """Encoded items, like a batch: the first views of all, then the second ones, if there are two."""

    keys_S: Ids
    ids: dict[str, Jagged]
    numeric_VN: Numbers


class ItemViews:
    """Draws items from a pool and hides fields of them; what is hidden reads as if the item did not have it.

    A function of seed, step and pool. Mutual information, for `cfm`, is measured on the pool in the steps 1, 2, 4, ...
    and every 512th, and is part of `state`. So it knows nothing that the stream has not shown.
    """

    def __init__(self, item: FeatureSpec, options: SslSection, seed: int) -> None:
        self.options, self._seed = options, seed
        self._sparse = tuple(field.name for field in item.sparse)
        self._multi = frozenset(field.name for field in item.sparse if field.kind == "multi")
        self._fields = len(item.fields)
        self.information_FF = np.zeros((self._fields, self._fields))

    def draw(self, pool: ItemPool, step: int) -> Views | None:
        """Views for the `step`th step, counted from 1; None from a pool with less than two items."""
        if len(pool) < 2:
            return None
        if self.options.method == "cfm" and (step & (step - 1) == 0 or step % _MEASURED_EVERY == 0):
            self.information_FF = mutual_information(field_codes(pool, _MEASURED))
        rng = np.random.default_rng((self._seed, step, _STREAM))
        keys_S, ids, numeric_SN = pool.draw(self.options.batch, rng)
        if not self.options.masks:
            return Views(keys_S, ids, numeric_SN)
        masked_F = self.masked(rng)
        views = [self._view(ids, numeric_SN, hidden_F, rng) for hidden_F in (masked_F, ~masked_F)]
        both = {name: Jagged.concat([view[0][name] for view in views]) for name in self._sparse}
        return Views(keys_S, both, np.concatenate([view[1] for view in views]))

    def masked(self, rng: np.random.Generator) -> Mask:
        """[F]: the fields that the first view hides; the second hides the others. Neither hides all.

        `rfm` draws them. `cfm` draws one, and hides with it those that tell most of it, so that what one view shows is
        not told by what the other one shows.
        """
        count = min(max(round(self.options.share * self._fields), 1), self._fields - 1)
        hidden_F = np.zeros(self._fields, np.bool_)
        order_F = rng.permutation(self._fields)
        if self.options.method == "cfm":
            told_F = self.information_FF[order_F[0]].copy()
            told_F[order_F[0]] = np.inf
            order_F = np.argsort(-told_F, kind="stable")
        hidden_F[order_F[:count]] = True
        return hidden_F

    def loss(self, vectors_VE: Tensor, views: Views) -> Tensor:
        """Of the vectors of `views`, before it is weighted."""
        keys_S = torch.from_numpy(views.keys_S.view(np.int64))
        if not self.options.masks:
            return spread_out(vectors_VE, keys_S)
        first_SE, second_SE = vectors_VE[: len(keys_S)], vectors_VE[len(keys_S) :]
        return nt_xent(first_SE, second_SE, keys_S, self.options.temperature)

    def _view(
        self, ids: dict[str, Jagged], numeric_SN: Numbers, hidden_F: Mask, rng: np.random.Generator
    ) -> tuple[dict[str, Jagged], Numbers]:
        seen = {name: self._seen(name, ids[name], bool(hidden_F[f]), rng) for f, name in enumerate(self._sparse)}
        return seen, np.where(hidden_F[len(self._sparse) :], np.float32(np.nan), numeric_SN)

    def _seen(self, name: str, ids: Jagged, hidden: bool, rng: np.random.Generator) -> Jagged:
        if hidden:
            return Jagged(ids.values[:0], np.zeros_like(ids.lengths_B))
        if name not in self._multi or not self.options.dropout:
            return ids
        kept = rng.random(len(ids.values)) >= self.options.dropout
        row_of = np.repeat(np.arange(len(ids)), ids.lengths_B)
        return Jagged(ids.values[kept], np.bincount(row_of[kept], minlength=len(ids)).astype(np.int32))
