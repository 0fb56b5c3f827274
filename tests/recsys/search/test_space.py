"""The numbered ids, and the model over one matrix of rows.

Shape suffixes as in `recsys.search.supernet`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from embedding.local.store import LocalStore
from embedding.store import Table
from recsys.config.file import load
from recsys.fit.parts import Parts
from recsys.search import masks
from recsys.search.id_vocabulary import Vocabulary
from recsys.search.supernet import Space, Supernet
from recsys.training.embedding_layer import EmbeddingLayer
from streaming.encode.batch import Jagged, TrainingBatch
from streaming.encode.feature_spec import FeatureSpec, Field

SPEC = FeatureSpec.of(
    [
        Field("user", "categorical", "user"),
        Field("tags", "multi", "item.tags", table="item"),
        Field("item", "categorical", "item"),
    ]
)


def jagged(*rows: list[int]) -> Jagged:
    lengths_B = np.array([len(row) for row in rows], np.int32)
    return Jagged(np.array([i for row in rows for i in row], np.uint64), lengths_B)


def some_rows(parts: Parts) -> TrainingBatch:
    ids = {"user": jagged([7], [7], [8]), "tags": jagged([1, 2], [], [2, 99, 2]), "item": jagged([2], [3], [99])}
    return replace(parts.training.take(np.arange(3)), ids=ids)


def test_ids_are_numbered_by_frequency_over_all_tables(parts: Parts) -> None:
    vocabulary = Vocabulary.of(SPEC, some_rows(parts))
    assert vocabulary.counts_V.tolist() == [4, 2, 2, 1, 1, 1]  # item 2, user 7, item 99, user 8, items 1 and 3
    assert vocabulary.tables_V.tolist() == [1, 0, 1, 0, 1, 1]
    numbered = vocabulary.numbered(some_rows(parts))
    assert numbered.ids["tags"].values.tolist() == [4, 0, 0, 2, 0]
    assert numbered.ids["user"].values.tolist() == [1, 1, 3]
    other = replace(some_rows(parts), ids=some_rows(parts).ids | {"user": jagged([2], [7], [1000])})
    assert vocabulary.numbered(other).ids["user"].values.tolist() == [6, 1, 6]  # 2 is an id of another table
    assert vocabulary.blocks(3).tolist() == [0, 0, 1, 1, 2, 2]
    assert vocabulary.sizes() == {"user": 2, "item": 4}


def test_every_id_of_the_training_part_is_counted(space: Space, parts: Parts) -> None:
    counts = sum((Counter(each.values.tolist()) for each in space.training.ids.values()), Counter())
    assert [counts[number] for number in range(len(space.vocabulary))] == space.vocabulary.counts_V.tolist()
    assert (np.diff(space.vocabulary.counts_V) <= 0).all()
    assert sum(counts.values()) == sum(len(each.values) for each in parts.training.ids.values())


def test_rows_are_pooled_as_by_the_embedding_layer(space: Space, parts: Parts) -> None:
    """Also rows of several ids, of none, and of ids that the training part does not have."""
    store = LocalStore([Table("user", 8, init_scale=1.0), Table("item", 8, init_scale=1.0)])
    layer, rows = EmbeddingLayer(store, SPEC), some_rows(parts)
    vocabulary = Vocabulary.of(SPEC, rows.take(np.arange(2)))
    for table, ids in vocabulary.ids.items():
        store.lookup(table, ids, now=0)
    net = Supernet(replace(space, vocabulary=vocabulary))
    with torch.no_grad():
        for table, ids in vocabulary.ids.items():
            net.rows_VK[vocabulary.numbers[table]] = torch.from_numpy(store.peek(table, ids).values_ND)
    expected_BFD = layer.peek(rows.ids).embedded_BFD
    torch.testing.assert_close(net.embedded(vocabulary.numbered(rows)).detach(), expected_BFD)


def test_a_mask_by_table_is_a_model_with_narrower_rows(space: Space) -> None:
    net, batch = Supernet(space).eval(), space.test.take(np.arange(50))
    dims = {"user": 3, "noise": 1, "item": 8}
    narrow_BFK = net.embedded(batch).clone()
    for field, dim in enumerate(dims.values()):
        narrow_BFK[:, field, dim:] = 0
    torch.testing.assert_close(net(batch, masks.by_table(space, dims)), net.logits(narrow_BFK, batch))


def test_masks_have_the_size_that_is_asked_for(space: Space) -> None:
    values = len(space.vocabulary) * 8
    assert int(masks.at_random(space, 0.1).sum()) == round(values * 0.1)
    assert masks.uniform_dims(space, 0.25) == {"user": 2, "noise": 2, "item": 2}
    assert masks.uniform_dims(space, 0.01) == {"user": 1, "noise": 1, "item": 1}
    dims = {"user": 5, "noise": 1, "item": 2}
    assert masks.table_dims(space, masks.by_table(space, dims)) == dims


@pytest.mark.parametrize("share", [0.9, 0.5, 0.25])
def test_dimensions_by_frequency_grow_with_a_power_of_it_up_to_the_size(space: Space, share: float) -> None:
    blocks, counts_V = 5, space.vocabulary.counts_V
    mask_VK = masks.by_frequency(space, share, blocks)
    dims_V, blocks_V = mask_VK.sum(1).numpy(), space.vocabulary.blocks(blocks)
    assert share - 0.15 < dims_V.sum() / mask_VK.numel() <= share
    assert (np.diff(dims_V) <= 0).all()  # the most frequent ids are first
    assert dims_V[0] > dims_V[-1] >= 1
    means_L = np.array([counts_V[blocks_V == block].mean() for block in range(blocks)])
    dims_L = np.array([dims_V[blocks_V == block][0] for block in range(blocks)])
    free_L = (dims_L > 1) & (dims_L < space.dim)
    scales_L = dims_L[free_L] / means_L[free_L] ** 0.3
    rounding_L = 0.5 / means_L[free_L] ** 0.3
    assert (scales_L - rounding_L).max() <= (scales_L + rounding_L).min()  # one factor gives them all


def test_by_frequency_an_id_keeps_a_coordinate_whatever_the_size(space: Space) -> None:
    assert (masks.by_frequency(space, 0.01, 5).sum(1) == 1).all()


def test_the_search_knows_nothing_of_the_other_parts(path: Path, parts: Parts, space: Space) -> None:
    """Ids and moments are of the training part, whatever the others have."""
    other = Space.of(load(path), parts.training, parts.test, parts.validation)
    assert other.vocabulary.counts_V.tolist() == space.vocabulary.counts_V.tolist()
    assert other.scaling == space.scaling
