"""Kernel balancing with random anchors in the form of its authors' code, for comparison: Li et al., ICLR 2024.

https://github.com/haoxuanli-pku/ICLR24-Kernel-Balancing. Of every mini-batch of B observed pairs S, with 5 B pairs T
drawn from all, a model g of the pairs makes weights w = g / p and takes a step on

mean_S[w log w] + gamma (max(0, D - C) + max(0, -D - C)),  D = sum_j (mean_T k(x, a_j) - mean_S[w k(x, a_j)])

with three anchors drawn anew from T: one hinge on the sum of the gaps. Then the prediction f takes one on its loss

| IPS | mean_S[w BCE(f, r)] |
|---|---|
| DR | mean_S[w BCE(f, r) - BCE(f, m)] + mean_T[BCE(f, m)] |

and for DR the imputation m one on sum_S w (BCE(f, r) - BCE(m, f))^2. All three are sigmoids of products of vectors.
Covariates x are, as theirs, vectors of a matrix factorisation, scaled by `f - min / (max - min)` as it stands in the
code. What differs is the propensities p: here no label that judges has a part in them. Shape suffixes: R observed
pairs, S and T as above, J anchors, D dimension, F covariates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, xlogy

from recsys.debiasing.factorization import Factorization, Matrix
from recsys.debiasing.feedback import Floats, Ints, SelfSelected

DIM, BATCH, TIMES, ANCHORS = 4, 128, 5, 3
MOST, PATIENCE, STILL = 1000, 7, 1e-5
"""Epochs at most, and how many in a row may lower the loss by less than this share of it."""


@dataclass(frozen=True, slots=True)
class AuthorsForm:
    """Settings of their notebook for Coat; `tries` are the weight decays of f (and m) among which ours are chosen."""

    doubly: bool
    lr: float
    weight_lr: float
    weight_decay: float
    """Of g."""
    tolerance: float
    tries: tuple[float, ...]
    gamma: float = 1.0


IPS = AuthorsForm(False, 1e-2, 5e-3, 5e-2, 1e-2, (3e-4, 1e-3, 3e-3))
DR = AuthorsForm(True, 1e-2, 1e-2, 1e-1, 1e-4, (1e-3, 3e-3, 1e-2))


def fit_authors(
    form: AuthorsForm, seen: SelfSelected, inverse_R: Floats, shape: tuple[int, int], l2: float, seed: int
) -> Matrix:
    """Logits [U, I] learned with the weights 1 / p of the observed pairs, at most `MOST` times over them."""
    fit = _BatchFit(form, seen, inverse_R, shape, l2, seed)
    last, still = np.inf, 0
    for _ in range(MOST):
        total = fit.epoch()
        still = still + 1 if total > last or abs(last - total) < STILL * abs(last) else 0
        last = total
        if still >= PATIENCE:
            break
    return fit.logits


class _Product:
    """sigmoid(u v), with uniform vectors at first, learned by Adam with weight decay."""

    def __init__(self, shape: tuple[int, int], lr: float, decay: float, rng: np.random.Generator) -> None:
        self.vectors = [rng.random((size, DIM)) for size in shape]
        self._moments = [[np.zeros_like(one) for one in self.vectors] for _ in range(2)]
        self._lr, self._decay, self._steps = lr, decay, 0

    def __call__(self, pairs_S2: Ints) -> Floats:
        users_UD, items_ID = self.vectors
        found_S: Floats = expit((users_UD[pairs_S2[:, 0]] * items_ID[pairs_S2[:, 1]]).sum(1))
        return found_S

    def step(self, *slopes: tuple[Ints, Floats]) -> None:
        """One step, given pairs and the derivatives of the loss in their logits."""
        users_UD, items_ID = self.vectors
        gradients = [self._decay * one for one in self.vectors]
        for pairs_S2, slope_S in slopes:
            users_S, items_S = pairs_S2.T
            np.add.at(gradients[0], users_S, slope_S[:, None] * items_ID[items_S])
            np.add.at(gradients[1], items_S, slope_S[:, None] * users_UD[users_S])
        self._steps += 1
        scale = self._lr / (1 - 0.9**self._steps)
        for one, mean, square, gradient in zip(self.vectors, *self._moments, gradients, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient * gradient - square)
            one -= scale * mean / (np.sqrt(square / (1 - 0.999**self._steps)) + 1e-8)


class _BatchFit:
    def __init__(
        self, form: AuthorsForm, seen: SelfSelected, inverse_R: Floats, shape: tuple[int, int], l2: float, seed: int
    ) -> None:
        self._form, self._shape, self._rng = form, shape, np.random.default_rng(seed)
        self._pairs_R2 = np.column_stack([seen.users_R, seen.items_R])
        self._labels_R, self._inverse_R = seen.labels_R, inverse_R
        self._covariates = [_scaled(one) for one in _vectors(seen, shape, seed)]
        self._predicted = _Product(shape, form.lr, l2, self._rng)
        self._imputed = _Product(shape, form.lr, l2, self._rng)
        self._weighing = _Product(shape, form.weight_lr, form.weight_decay, self._rng)

    @property
    def logits(self) -> Matrix:
        users_UD, items_ID = self._predicted.vectors
        return (users_UD @ items_ID.T).astype(np.float32)

    def epoch(self) -> float:
        """Once over the observed pairs; the sum of the batches' losses."""
        order_R = self._rng.permutation(len(self._labels_R))
        total = 0.0
        for part in range(len(order_R) // BATCH):
            rows_S = order_R[part * BATCH : (part + 1) * BATCH]
            drawn_T2 = self._rng.integers(0, self._shape, (BATCH * TIMES, 2))
            self._balance(rows_S, drawn_T2)
            total += self._learn(rows_S, drawn_T2)
        return total

    def _balance(self, rows_S: Ints, drawn_T2: Ints) -> None:
        """A step of the model of weights."""
        pairs_S2, form = self._pairs_R2[rows_S], self._form
        rows_SF, all_TF = self._at(pairs_S2), self._at(drawn_T2)
        anchors_JF = all_TF[self._rng.integers(0, len(all_TF), ANCHORS)]
        shares_S = self._weighing(pairs_S2)
        weights_S = shares_S * self._inverse_R[rows_S]
        kernel_S = _kernel(rows_SF, anchors_JF).sum(1)
        gap = _kernel(all_TF, anchors_JF).mean(0).sum() - (weights_S * kernel_S).mean()
        hinge = float(gap < -form.tolerance) - float(gap > form.tolerance)
        slope_S = np.log(weights_S) + 1 + form.gamma * hinge * kernel_S
        self._weighing.step((pairs_S2, slope_S * weights_S * (1 - shares_S) / len(rows_S)))

    def _learn(self, rows_S: Ints, drawn_T2: Ints) -> float:
        """A step of the prediction, for DR one of the imputation, too; the prediction's loss."""
        pairs_S2, labels_S = self._pairs_R2[rows_S], self._labels_R[rows_S]
        weights_S = self._weighing(pairs_S2) * self._inverse_R[rows_S]
        found_S = self._predicted(pairs_S2)
        loss, slope_S = (weights_S * _bce(found_S, labels_S)).mean(), weights_S * (found_S - labels_S) / len(rows_S)
        if not self._form.doubly:
            self._predicted.step((pairs_S2, slope_S))
            return float(loss)
        imputed_S, imputed_T, found_T = self._imputed(pairs_S2), self._imputed(drawn_T2), self._predicted(drawn_T2)
        loss += _bce(found_T, imputed_T).mean() - _bce(found_S, imputed_S).mean()
        slope_S = slope_S - (found_S - imputed_S) / len(rows_S)
        self._predicted.step((pairs_S2, slope_S), (drawn_T2, (found_T - imputed_T) / len(drawn_T2)))
        found_S = self._predicted(pairs_S2)
        missed_S = _bce(found_S, labels_S) - _bce(imputed_S, found_S)
        self._imputed.step((pairs_S2, -2 * weights_S * missed_S * (imputed_S - found_S)))
        return float(loss)

    def _at(self, pairs_S2: Ints) -> Floats:
        return np.hstack([self._covariates[0][pairs_S2[:, 0]], self._covariates[1][pairs_S2[:, 1]]])


def _bce(found_S: Floats, targets_S: Floats) -> Floats:
    loss_S: Floats = -xlogy(targets_S, found_S) - xlogy(1 - targets_S, 1 - found_S)
    return loss_S


def _kernel(rows_SF: Floats, anchors_JF: Floats) -> Floats:
    squared_SJ = ((rows_SF[:, None] - anchors_JF) ** 2).sum(2)
    return np.asarray(np.exp(-0.1 * squared_SJ))


def _vectors(seen: SelfSelected, shape: tuple[int, int], seed: int) -> list[Floats]:
    """Of users and items, by a matrix factorisation of what was observed."""
    model = Factorization(shape, dim=DIM, lr=0.03, l2=0.1, seed=seed, biases=False)
    weights_UI, labels_UI = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    weights_UI[seen.users_R, seen.items_R], labels_UI[seen.users_R, seen.items_R] = 1, seen.labels_R
    for _ in range(200):
        model.step(weights_UI, labels_UI)
    return [vectors.astype(np.float64) for vectors in model.vectors]


def _scaled(values_NF: Floats) -> Floats:
    """As their code does, where a pair of brackets is missing."""
    scaled_NF: Floats = (values_NF - values_NF.min() / (values_NF.max() - values_NF.min())) / (2 * DIM)
    return scaled_NF
