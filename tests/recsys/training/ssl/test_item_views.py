"""Self-supervision of items: losses and information against independent forms, masks, draws.

Shape suffixes: S items, E coordinates, F fields, R items of a pool.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.config.sections.learning.ssl import SslSection
from recsys.training.retrieval.item_pool import ItemPool
from recsys.training.ssl.contrastive_loss import nt_xent, spread_out
from recsys.training.ssl.item_views import ItemViews
from recsys.training.ssl.mutual_information import BUCKETS, field_codes, mutual_information
from streaming.encode.batch import Jagged
from streaming.encode.feature_spec import FeatureSpec, Field

SPEC = FeatureSpec(
    (
        Field("item", "categorical", "item"),
        Field("genre", "categorical", "item.genre"),
        Field("maker", "categorical", "item.maker"),
        Field("tags", "multi", "item.tags"),
        Field("price", "numeric", "item.price"),
    )
)


def filled(items: int = 400) -> ItemPool:
    """Items whose maker is told by the genre, and whose tags and price are not."""
    rng, pool = np.random.default_rng(0), ItemPool(SPEC.sparse, len(SPEC.numeric), 1 << 14)
    keys, one = np.arange(1, items + 1, dtype=np.uint64), np.ones(items, np.int32)
    genre, lengths = rng.integers(0, 4, items).astype(np.uint64), rng.integers(0, 4, items).astype(np.int32)
    tags = rng.integers(0, 9, int(lengths.sum())).astype(np.uint64)
    ids = {"item": Jagged(keys, one), "genre": Jagged(genre, one), "maker": Jagged(genre + np.uint64(7), one)}
    prices = np.where(rng.random(items) < 0.1, np.nan, rng.random(items)).astype(np.float32)
    pool.add(keys, ids | {"tags": Jagged(tags, lengths)}, prices[:, None])
    return pool


@pytest.mark.parametrize("keys", [[1, 2, 3, 4], [1, 2, 1, 1], [5, 5, 5, 5]])
def test_the_losses_are_those_of_the_papers(keys: list[int]) -> None:
    rng = np.random.default_rng(1)
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.normal(size=(2, 4, 3)))
    contrast = spread = 0.0
    for i in range(4):
        others = [j for j in range(4) if keys[j] != keys[i]]
        terms = [math.exp(float(first[i] @ second[j]) / 0.2) for j in (i, *others)]
        contrast -= math.log(terms[0] / sum(terms)) / 4
        spread += sum(float(first[i] @ first[j]) ** 2 for j in others) / 4
    tensors = torch.from_numpy(first), torch.from_numpy(second), torch.tensor(keys)
    assert float(nt_xent(*tensors, 0.2)) == pytest.approx(contrast, rel=1e-12, abs=1e-15)
    assert float(spread_out(tensors[0], tensors[2])) == pytest.approx(spread, rel=1e-12)


@pytest.mark.slow  # scikit-learn takes seconds to load
def test_mutual_information_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import mutual_info_score

    codes_FR = np.random.default_rng(2).integers(0, [[3], [5], [40], [1]], (4, 300)) - 1
    codes_FR[1] += codes_FR[0] * 2
    expected = [[mutual_info_score(f, g) for g in codes_FR] for f in codes_FR]
    np.testing.assert_allclose(mutual_information(codes_FR), expected, atol=1e-12)


def test_fields_are_coded_by_value_set_and_quantile() -> None:
    pool = filled()
    codes_FR = field_codes(pool, 300)
    assert codes_FR.shape == (5, 300)
    place_R = np.flatnonzero(pool.known_R)[:300]
    values_RW, lengths_R = pool.values["tags"][place_R], pool.lengths["tags"][place_R]
    sets = [tuple(sorted(row[:n].tolist())) for row, n in zip(values_RW, lengths_R, strict=True)]
    assert len(set(zip(sets, codes_FR[3].tolist(), strict=True))) == len(set(sets)) == len(set(codes_FR[3].tolist()))
    missing_R = np.isnan(pool.numeric_RN[place_R, 0])
    np.testing.assert_array_equal(codes_FR[4] == BUCKETS, missing_R)
    counts = np.bincount(codes_FR[4][~missing_R], minlength=BUCKETS)
    assert counts.max() - counts.min() <= 2


@given(st.sampled_from(["rfm", "cfm"]), st.floats(0.01, 0.99), st.integers(1, 60), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_each_field_is_in_one_view_and_no_view_is_empty(
    method: Literal["rfm", "cfm"], share: float, step: int, seed: int
) -> None:
    drawn = ItemViews(SPEC, SslSection(method=method, share=share, batch=16), seed).draw(POOL, step)
    assert drawn is not None
    size = len(drawn.keys_S)
    seen = np.array(
        [[jagged.lengths_B[half * size :][:size].any() for jagged in drawn.ids.values()] for half in (0, 1)]
    )
    numbers = ~np.isnan(drawn.numeric_VN).reshape(2, size).all(1)
    both = np.column_stack([seen, numbers])
    np.testing.assert_array_equal(both.sum(0), 1)
    assert both.sum(1).min() >= 1


POOL = filled()


def test_correlated_fields_are_masked_together_and_at_random_they_are_not() -> None:
    def apart(method: Literal["rfm", "cfm"]) -> float:
        views, rng = ItemViews(SPEC, SslSection(method=method), 0), np.random.default_rng(0)
        views.information_FF = mutual_information(field_codes(POOL, 400)[[0, 1, 2, 3, 4]])
        views.information_FF[0, 1:] = views.information_FF[1:, 0] = 0  # an id tells all of every field
        masks = np.array([views.masked(rng) for _ in range(300)])
        return float((masks[:, 1] != masks[:, 2]).mean())

    assert apart("cfm") < 0.25 < 0.5 < apart("rfm")


def test_items_are_drawn_uniformly_however_often_they_were_shown() -> None:
    pool = filled(20)
    often = np.full(1000, 7, np.uint64)
    rows = Jagged(often, np.ones(1000, np.int32))
    pool.add(often, dict.fromkeys(pool.values, rows), np.zeros((1000, 1), np.float32))
    views = ItemViews(SPEC, SslSection(method="rfm", batch=4000), 0).draw(pool, 1)
    assert views is not None
    counts = np.unique(views.keys_S, return_counts=True)[1]
    assert len(counts) == len(pool)
    assert np.abs(counts / 4000 - 1 / len(pool)).max() < 0.02


def test_values_are_dropped_at_the_given_rate_and_only_of_sets() -> None:
    kept = dict.fromkeys(POOL.values, 0)
    for dropout in (0.0, 0.4):
        views = ItemViews(SPEC, SslSection(method="rfm", dropout=dropout, batch=3000), 3).draw(POOL, 5)
        assert views is not None
        if not dropout:
            before = {name: len(jagged.values) for name, jagged in views.ids.items()}
        kept = {name: len(jagged.values) for name, jagged in views.ids.items()}
        assert all(jagged.lengths_B.sum() == len(jagged.values) for jagged in views.ids.values())
    assert kept["tags"] / before["tags"] == pytest.approx(0.6, abs=0.03)
    assert all(kept[name] == before[name] for name in ("item", "genre", "maker"))


def test_a_step_has_its_views_by_seed_and_another_step_others() -> None:
    options = SslSection(method="cfm", dropout=0.2)
    first, again = (ItemViews(SPEC, options, 0).draw(POOL, 4) for _ in range(2))
    later, other = ItemViews(SPEC, options, 0).draw(POOL, 5), ItemViews(SPEC, options, 1).draw(POOL, 4)
    assert first is not None
    assert again is not None
    assert later is not None
    assert other is not None
    np.testing.assert_array_equal(first.keys_S, again.keys_S)
    assert all(np.array_equal(first.ids[name].values, again.ids[name].values) for name in first.ids)
    assert (first.keys_S != later.keys_S).any()
    assert (first.keys_S != other.keys_S).any()


def test_a_pool_of_one_item_has_nothing_to_tell_it_from() -> None:
    assert ItemViews(SPEC, SslSection(method="rfm"), 0).draw(filled(1), 1) is None
