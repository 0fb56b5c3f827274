"""What a store must be equal to: dicts of ids, and PyTorch's own optimizers on rows of a dense table.

Suffixes: N ids of a call, D dimension. Every id of a program has a row of the oracle, live or not.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from embedding.hashing import initial_rows, salt_of
from embedding.store import Floats, Ids, Table

MINUTE = 60_000
MAKERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adagrad": torch.optim.Adagrad,
    "adam": torch.optim.SparseAdam,
}


class Oracle:
    """One table that is never full."""

    def __init__(self, table: Table, ids: Ids) -> None:
        self._table, self._place = table, {key: i for i, key in enumerate(ids.tolist())}
        self._first = torch.from_numpy(initial_rows(ids, table.dim, salt_of(0, table.name), table.init_scale))
        self._weights = torch.nn.Parameter(self._first.clone())
        rule = table.optimizer
        self._optimizer = MAKERS[rule.kind]([self._weights], lr=rule.lr, eps=rule.eps)
        self._seen: dict[int, int] = {}

    def look(self, ids_N: Ids, now: int) -> None:
        for key in ids_N.tolist():
            self._seen[key] = max(self._seen.get(key, 0), now // MINUTE)

    def train(self, ids_N: Ids, grads_ND: Floats) -> None:
        self._optimizer.zero_grad()
        places = torch.tensor([self._place[key] for key in ids_N.tolist()])
        checked: Any = torch.sparse.check_sparse_tensor_invariants
        with checked(enable=True):  # torch warns unless told
            read = torch.nn.functional.embedding(places, self._weights, sparse=True)
            torch.autograd.backward(read, torch.from_numpy(grads_ND))
            self._optimizer.step()

    def expire(self, now: int) -> int:
        assert self._table.ttl is not None
        gone = [key for key, seen in self._seen.items() if seen < (now - self._table.ttl) // MINUTE]
        for key in gone:
            del self._seen[key]
            place = self._place[key]
            with torch.no_grad():
                self._weights[place] = self._first[place]
            for state in self._optimizer.state[self._weights].values():
                if isinstance(state, torch.Tensor) and state.dim() > 1:
                    state[place] = 0
        return len(gone)

    def live(self) -> list[int]:
        return sorted(self._seen)

    def read(self, ids_N: Ids) -> Floats:
        """Values [N, D]; zeros for ids that are not live."""
        rows = self._weights.detach().numpy()
        return np.stack([rows[self._place[key]] * (key in self._seen) for key in ids_N.tolist()])

    def copy(self) -> Oracle:
        return copy.deepcopy(self)
