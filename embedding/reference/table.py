"""One table of the reference store.

Update rules use only operations that IEEE 754 rounds correctly (+, -, *, / and `sqrt`), in float32, one at a time and
in a stated order, so they give the same bits on every processor.

Suffixes: N ids of a call, U distinct ids, D dimension, W floats of optimizer state per row, R rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np
import torch

from embedding.argument_checks import MAX_FREQUENCY, MINUTE
from embedding.hashing import eviction_draw, eviction_ties, initial_rows, salt_of
from embedding.ids.admission import exact_policy
from embedding.ids.event_clock import EventClock
from embedding.optimizers import adam_rate, state_width
from embedding.store import Floats, Ids, Optimizer, Table
from embedding.table_state import TableState


def sqrt(x: torch.Tensor) -> torch.Tensor:
    """The correctly rounded square root. `torch.sqrt` is off by one ulp on some processors (MKL's vector library).

    >>> sqrt(torch.full((8,), 2.0))[0].item() == float(np.float32(2**0.5))
    True
    """
    return torch.from_numpy(np.sqrt(x.numpy()))


def mean_square(g_UD: torch.Tensor) -> torch.Tensor:
    """Mean of squares per row [U, 1], added from the first column to the last (`torch.mean` has no fixed order).

    >>> mean_square(torch.tensor([[1.0, 3.0]]))
    tensor([[5.]])
    """
    first, *others = g_UD.square().unbind(1)
    for column in others:
        first = first + column
    return first.unsqueeze(1) / g_UD.shape[1]


def clipped(g_UD: torch.Tensor, max_norm: float) -> torch.Tensor:
    """Rows scaled down to this norm, summed in double precision from the first column to the last."""
    first, *others = g_UD.double().square().unbind(1)
    for column in others:
        first = first + column
    norms_U1 = torch.from_numpy(np.sqrt(first.numpy())).unsqueeze(1)
    scales_U1 = (torch.tensor(max_norm).double() / norms_U1).float()
    return torch.where(norms_U1 > torch.tensor(max_norm).double(), g_UD * scales_U1, g_UD)


def ftrl(
    rule: Optimizer, w_UD: torch.Tensor, g_UD: torch.Tensor, state_UW: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and state (z, then n) after a step of FTRL-Proximal; where the gradient is 0 they do not change."""
    z, n = state_UW.chunk(2, dim=1)
    grown = n + g_UD.square()
    z = z + (g_UD - (sqrt(grown) - sqrt(n)) / rule.lr * w_UD)
    shrunk = -z.sign() * (z.abs() - rule.l1).clamp(min=0)
    solved = shrunk / ((sqrt(grown) + rule.eps) / rule.lr + rule.l2)
    return torch.where(g_UD == 0, w_UD, solved), torch.cat([z, grown], 1)


class ReferenceRows:
    """Weights [R, D] and optimizer state [R, W] under one update rule.

    >>> rows = ReferenceRows(2, Optimizer("adagrad", lr=0.5, eps=0.0))
    >>> rows.put([0], np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float32))
    >>> rows.update({0: torch.ones(2)})  # rows left as they were
    0
    >>> rows.weights_RD.tolist()
    [[-0.5, -0.5]]
    """

    def __init__(self, dim: int, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.weights_RD = torch.zeros(0, dim)
        self.state_RW = torch.zeros(0, state_width(optimizer, dim))
        self.step = 0

    def put(self, rows: list[int], weights_UD: Floats, state_UW: Floats) -> None:
        more = max(rows, default=-1) + 1 - len(self.weights_RD)
        if more > 0:
            self.weights_RD = torch.cat([self.weights_RD, torch.zeros(more, self.weights_RD.shape[1])])
            self.state_RW = torch.cat([self.state_RW, torch.zeros(more, self.state_RW.shape[1])])
        self.weights_RD[rows] = torch.from_numpy(weights_UD)
        self.state_RW[rows] = torch.from_numpy(state_UW)

    def update(self, grads: Mapping[int, torch.Tensor]) -> int:
        """One optimizer step with gradients [D] by row. Returns how many rows would not have been finite.

        It counts as a step without any rows, too.
        """
        self.step += 1
        if not grads:
            return 0
        rows, grads_UD = list(grads), torch.stack(list(grads.values()))
        rule, w, g, s = self.optimizer, self.weights_RD[rows], grads_UD, self.state_RW[rows]
        if rule.max_norm is not None:
            g = clipped(g, rule.max_norm)
        if rule.l2 and rule.kind != "ftrl":  # which has it in its own rule
            g = g + rule.l2 * w
        match rule.kind:
            case "rowwise_adagrad":
                s = s + mean_square(g)
                w = w - torch.tensor(rule.lr) / (sqrt(s) + rule.eps) * g  # a number / a tensor is 1 / tensor * number
            case "adagrad":
                s = s + g.square()
                w = w - rule.lr * g / (sqrt(s) + rule.eps)
            case "adam":
                decay1, decay2 = (float(np.float32(1) - np.float32(beta)) for beta in rule.betas)
                m, v = s.chunk(2, dim=1)
                m, v = m + decay1 * (g - m), v + decay2 * (g.square() - v)
                w = w - adam_rate(rule, self.step) * m / (sqrt(v) + rule.eps)
                s = torch.cat([m, v], 1)
            case "ftrl":
                w, s = ftrl(rule, w, g, s)
        finite_U = w.isfinite().all(1) & s.isfinite().all(1)
        kept = torch.tensor(rows)[finite_U]
        self.weights_RD[kept], self.state_RW[kept] = w[finite_U], s[finite_U]
        return int((~finite_U).sum())


class ReferenceTable:
    """Ids with their rows, clocks and frequencies as dicts.

    >>> table = ReferenceTable(Table("item", dim=4, ttl=60_000), seed=0)
    >>> table.add([7, 8], minute=0, counts={7: 1, 8: 1})
    >>> table.stale(now=180_000)
    [7, 8]
    """

    def __init__(self, table: Table, seed: int) -> None:
        self.table = table
        self.salt = salt_of(seed, table.name)
        self.rows = ReferenceRows(table.dim, table.optimizer)
        self.policy = exact_policy(table.admission, self.salt)
        self.row_of: dict[int, int] = {}
        self.seen: dict[int, int] = {}
        self.freq: dict[int, int] = {}
        self.free: list[int] = []
        self.lookups = 0
        self.counters: Counter[str] = Counter()
        self.clock = EventClock()

    def read(self, ids: list[int]) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Floats]:
        rows_N = np.array([self.row_of.get(key, -1) for key in ids], np.int64)
        values_ND = np.zeros((len(ids), self.table.dim), np.float32)
        has = rows_N >= 0
        values_ND[has] = self.rows.weights_RD[rows_N[has]].numpy()
        return rows_N, values_ND

    def remove(self, keys: Iterable[int]) -> list[int]:
        gone = list(keys)
        for key in gone:
            self.free.append(self.row_of.pop(key))
            del self.seen[key], self.freq[key]
        return gone

    def stale(self, now: int) -> list[int]:
        if self.table.ttl is None:
            return []
        cutoff = (now - self.table.ttl) // MINUTE
        return [key for key, seen in self.seen.items() if seen < cutoff]

    def coldest(self, n: int, pinned: set[int]) -> list[int]:
        loose = np.array([key for key in self.row_of if key not in pinned], np.uint64)
        ties = eviction_ties(loose, eviction_draw(self.counters["evicted"], self.table.total_capacity)).tolist()
        ranked = sorted(
            (self.seen[key], self.freq[key], tie, key) for key, tie in zip(loose.tolist(), ties, strict=True)
        )
        return [key for *_, key in ranked[:n]]

    def add(self, keys: list[int], minute: int, counts: dict[int, int]) -> None:
        for key in keys:
            self.row_of[key] = self.free.pop() if self.free else len(self.row_of)
            self.seen[key], self.freq[key] = minute, min(MAX_FREQUENCY, counts[key])
        ids = np.array(keys, np.uint64)
        values = initial_rows(ids, self.table.dim, self.salt, self.table.init_scale)
        empty = np.zeros((len(keys), self.rows.state_RW.shape[1]), np.float32)
        self.rows.put([self.row_of[key] for key in keys], values, empty)

    def state(self) -> TableState:
        keys = list(self.row_of)
        rows = [self.row_of[key] for key in keys]
        return TableState(
            np.array(keys, np.uint64),
            np.array([self.seen[key] for key in keys], np.int64),
            np.array([self.freq[key] for key in keys], np.uint8),
            self.rows.weights_RD[rows].numpy(),
            self.rows.state_RW[rows].numpy(),
            self.rows.step,
            self.lookups,
            dict(self.counters),
            [dict(self.policy.state())],
        )

    def restore(self, state: TableState) -> Ids:
        """Fill an empty table. Returns the coldest ids, evicted when it holds fewer rows than the state."""
        which = state.evicted_last(self.table.total_capacity)
        keys = state.ids_U[which].tolist()
        self.row_of = {key: row for row, key in enumerate(keys)}
        self.seen = dict(zip(keys, state.seen_U[which].tolist(), strict=True))
        self.freq = dict(zip(keys, state.freq_U[which].tolist(), strict=True))
        self.rows.put(list(range(len(keys))), state.weights_UD[which], state.state_UW[which])
        self.rows.step, self.lookups, self.counters = state.step, state.lookups, Counter(state.counters)
        self.counters["evicted"] += len(state.ids_U) - len(which)
        self.clock.restore(state.seen_U)
        if len(state.admission) == 1:
            self.policy.restore(state.admission[0])
        return np.delete(state.ids_U, which)
