"""Matrix factorisation by weighted log loss with soft targets, over all pairs at once.

z_ui = u_u v_i + b_u + c_i + m, or u_u v_i alone. Loss: sum of w (softplus(z) - y z) / total, plus l2 / 2 times the mean
square of each of u, v, b and c; full batches and Adam, so that a run is decided by its seed. Shape suffixes: U users, I
items, D dimension.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Matrix = npt.NDArray[np.float32]


class Factorization:
    """`step` learns from weights and targets of all pairs, each [U, I]; pairs of weight 0 do not count.

    >>> model = Factorization((2, 2), dim=1, lr=0.1, l2=0.0, seed=0)
    >>> eye = np.eye(2, dtype=np.float32)
    >>> for _ in range(200):
    ...     model.step(np.ones_like(eye), eye)
    >>> (expit(model.logits) > 0.5).tolist()
    [[True, False], [False, True]]
    """

    def __init__(
        self, shape: tuple[int, int], *, dim: int, lr: float, l2: float, seed: int, biases: bool = True
    ) -> None:
        rng = np.random.default_rng(seed)
        vectors = [np.float32(0.3) * rng.standard_normal((size, dim), np.float32) for size in shape]
        self._weights: list[Matrix] = [*vectors, *(np.zeros((size, 1), np.float32) for size in (*shape, 1))]
        self._learned = 5 if biases else 2
        self._means = [np.zeros_like(weight) for weight in self._weights]
        self._squares = [np.zeros_like(weight) for weight in self._weights]
        self._lr, self._l2, self._steps = lr, np.float32(l2), 0

    @property
    def vectors(self) -> tuple[Matrix, Matrix]:
        """Of users [U, D] and items [I, D]."""
        return self._weights[0], self._weights[1]

    @property
    def logits(self) -> Matrix:
        """[U, I]."""
        u_UD, v_ID, b_U1, c_I1, m_11 = self._weights
        logits_UI: Matrix = u_UD @ v_ID.T + b_U1 + c_I1.T + m_11
        return logits_UI

    def step(self, weights_UI: Matrix, targets_UI: Matrix, total: float | None = None) -> None:
        """One step of Adam on the log loss; `total` is the sum of the weights unless it is given."""
        p_UI = expit(self.logits)
        self._apply(weights_UI * (p_UI - targets_UI) / np.float32(weights_UI.sum() if total is None else total))

    def step_squared(self, weights_UI: Matrix, targets_UI: Matrix) -> None:
        """One step on the weighted squared error of probabilities, by which an imputation learns."""
        p_UI = expit(self.logits)
        self._apply(2 * weights_UI * (p_UI - targets_UI) * p_UI * (1 - p_UI) / weights_UI.sum())

    def _apply(self, slope_UI: Matrix) -> None:
        """Adam (Kingma & Ba 2015), given the derivatives of the loss in the logits."""
        u_UD, v_ID, *_ = self._weights
        by_user, by_item = slope_UI.sum(1, keepdims=True), slope_UI.sum(0)[:, None]
        slopes = [slope_UI @ v_ID, slope_UI.T @ u_UD, by_user, by_item, by_user.sum(keepdims=True)]
        self._steps += 1
        scale = self._lr * np.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps)
        for number, (weight, slope) in enumerate(zip(self._weights, slopes, strict=True)):
            if number >= self._learned:
                break
            if number < 4:  # all but the mean
                slope = slope + self._l2 / len(weight) * weight
            self._means[number] += np.float32(0.1) * (slope - self._means[number])
            self._squares[number] += np.float32(0.001) * (slope * slope - self._squares[number])
            weight -= np.float32(scale) * self._means[number] / (np.sqrt(self._squares[number]) + np.float32(1e-8))
