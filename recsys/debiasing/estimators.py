"""Debiasing estimators as weights and targets, so that any model with a log loss can learn by them.

Each estimates the mean log loss over all pairs by a weighted log loss with soft targets,

sum of w (softplus(z) - y z),  for logits z, weights w and targets y.

| estimator | pairs | w | y |
|---|---|---|---|
| naive | observed | 1 | r |
| IPS, SNIPS | observed | 1/p; divided by their mean | r |
| DR | all | 1 | m + o w (r - m), m the imputed probability |

The last row is the doubly robust loss mean[e_hat + o w (e - e_hat)] with e = softplus(z) - r z and
e_hat = softplus(z) - m z: both are linear in the label. For the same reason e - e_hat = (m - r) z, so that the
imputation of DR-JL (Wang et al., ICML 2019), which minimises sum o w (e - e_hat)^2, is a weighted squared error of m.
MRDR (Guo et al., SIGIR 2021) weighs it by o (1 - p) / p^2 instead. Shape suffix: R observed pairs.
"""

from __future__ import annotations

import numpy as np

from recsys.debiasing.feedback import Floats


def doubly_robust_targets(imputed_R: Floats, labels_R: Floats, weights_R: Floats) -> Floats:
    """m + w (r - m) for observed pairs; all others have the target m. With w = 0 the imputation alone counts.

    >>> doubly_robust_targets(np.array([0.5, 0.5]), np.array([1.0, 0.0]), np.array([2.0, 1.0]))
    array([1.5, 0. ])
    """
    targets_R: Floats = imputed_R + weights_R * (labels_R - imputed_R)
    return targets_R


def imputation_weights(weights_R: Floats, logits_R: Floats, *, robust: bool = False) -> Floats:
    """Weights of (r - m)^2: w z^2 (DR-JL), or with w (w - 1) for w (`robust`, MRDR), where w = 1 / p is at least 1."""
    factor_R = weights_R * np.maximum(weights_R - 1, 0) if robust else weights_R
    scaled_R: Floats = factor_R * logits_R**2
    return scaled_R
