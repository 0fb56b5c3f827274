"""Adjusted rates against an independent computation, by the linear model that they come from."""

from __future__ import annotations

import numpy as np
import pytest

from serving.experiments.counts.counted_users import UnitCounts
from serving.experiments.inference.adjusted import AdjustedRate, Moments, adjusted_rates


def arm(rng: np.random.Generator, users: int) -> UnitCounts:
    shown, before = 1 + rng.poisson(5, users), rng.poisson(5, users)
    taste = rng.beta(2, 5, users)
    return UnitCounts(shown, rng.binomial(shown, taste), before, rng.binomial(before, taste))


def rates(arms: dict[str, UnitCounts]) -> dict[str, AdjustedRate]:
    return adjusted_rates({name: Moments.of(counts) for name, counts in arms.items()})


def test_against_a_regression_with_an_arm_effect() -> None:
    rng = np.random.default_rng(0)
    arms = {"a": arm(rng, 300), "b": arm(rng, 200)}
    z, x, group = [], [], []
    shown = sum(int(one.earlier_impressions_U.sum()) for one in arms.values())
    pooled = sum(int(one.earlier_clicks_U.sum()) for one in arms.values()) / shown
    for number, one in enumerate(arms.values()):
        rate = one.clicks_U.sum() / one.impressions_U.sum()
        z.append((one.clicks_U - rate * one.impressions_U) / one.impressions_U.mean())
        x.append(one.earlier_clicks_U - pooled * one.earlier_impressions_U)
        group.append(np.full(len(one), number))
    design = np.stack([np.concatenate(group) == 0, np.concatenate(group) == 1, np.concatenate(x)], 1).astype(float)
    theta = np.linalg.lstsq(design, np.concatenate(z), rcond=None)[0][2]
    found = rates(arms)
    for number, (name, one) in enumerate(arms.items()):
        rate = one.clicks_U.sum() / one.impressions_U.sum()
        assert found[name].rate == pytest.approx(rate - theta * (x[number].mean() - np.concatenate(x).mean()))
        assert found[name].variance == pytest.approx((z[number] - theta * x[number]).var(ddof=1))
        assert found[name].variance < found[name].unadjusted_variance


def test_arms_of_one_user_or_none_are_left_out() -> None:
    rng = np.random.default_rng(0)
    assert rates({"a": arm(rng, 1), "b": arm(rng, 0)}) == {}
    assert set(rates({"a": arm(rng, 5), "b": arm(rng, 1)})) == {"a"}
