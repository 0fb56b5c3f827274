"""The size of each optimizer's state per row, and the valid settings."""

from __future__ import annotations

from collections.abc import Sequence

from embedding.store import Optimizer
from embedding.value_checks import check_float
from recsys.errors import InvalidValueError

_WIDTHS = {"rowwise_adagrad": (0, 1), "adagrad": (1, 0), "adam": (2, 0), "ftrl": (2, 0)}


def state_width(optimizer: Optimizer, dim: int) -> int:
    """Floats of optimizer state per row. Raises InvalidValueError for invalid settings.

    >>> state_width(Optimizer("adam"), 16)
    32
    """
    if optimizer.kind not in _WIDTHS:
        raise InvalidValueError(f"unknown optimizer {optimizer.kind!r}: choose one of {', '.join(_WIDTHS)}")
    for what in ("lr", "eps", "l1", "l2"):
        check_float(what, getattr(optimizer, what))
    if not isinstance(optimizer.betas, Sequence) or len(optimizer.betas) != 2:
        raise InvalidValueError(f"betas is {optimizer.betas!r}, write two floats, as (0.9, 0.999)")
    for beta in optimizer.betas:
        check_float("one of betas", beta)
    if not optimizer.lr > 0 or not optimizer.eps >= 0:
        raise InvalidValueError(f"lr {optimizer.lr} must be above 0 and eps {optimizer.eps} at least 0")
    if optimizer.l1 and optimizer.kind != "ftrl":
        raise InvalidValueError(f"l1 is a setting of ftrl, not of {optimizer.kind}: leave it at 0")
    if not optimizer.l1 >= 0 or not optimizer.l2 >= 0 or not all(0 <= beta < 1 for beta in optimizer.betas):
        raise InvalidValueError("l1 and l2 must be at least 0, betas in [0, 1)")
    if optimizer.max_norm is not None:
        check_float("max_norm", optimizer.max_norm)
    if optimizer.max_norm is not None and not optimizer.max_norm > 0:
        raise InvalidValueError(f"max_norm is {optimizer.max_norm}, choose None or a norm above 0")
    per_value, per_row = _WIDTHS[optimizer.kind]
    return per_value * dim + per_row


def adam_rate(optimizer: Optimizer, step: int) -> float:
    """lr with the bias corrections of both moments (Kingma and Ba 2015, end of section 2)."""
    beta1, beta2 = optimizer.betas
    return float(optimizer.lr * (1 - beta2**step) ** 0.5 / (1 - beta1**step))
