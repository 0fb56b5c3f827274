"""AutoInt's attention by NumPy beside the eager model's, and what it says of interactions that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recsys.errors import ArtefactError
from recsys.models import AutoInt, RankingModel, build
from recsys.models.autoint import InteractingLayer
from serving.model.autoint.attention import Attention, mean_by_pair
from serving.model.chunked_scorer import Floats
from serving.model.explanation import PAIRS, Explanation
from serving.model.graph_reader import ReadGraph
from streaming.encode.feature_spec import PooledHistory
from tests.serving.model.autoint.test_autoint_scorer import COUNTS, OPTIONS, Counts, graph_of, made, request

NO_NUMBERS = np.zeros((1, 0), np.float32)


def eager_attention(model: RankingModel, inputs: tuple[Floats, Floats, Floats, Floats]) -> Floats:
    """What the modules of the trained model attend to, layer by layer."""
    assert isinstance(model, AutoInt)
    rows, items, numbers, item_numbers = map(torch.from_numpy, inputs)
    candidates, found = len(items), []
    with torch.inference_mode():
        embedded = torch.cat([rows.expand(candidates, -1, -1), items], 1)
        fields = model.fields(embedded, torch.cat([numbers.expand(candidates, -1), item_numbers], 1))
        _, mixed = model._split_wide(fields)
        for layer in model.layers:
            assert isinstance(layer, InteractingLayer)
            found.append(layer.attention(mixed))
            mixed = layer(mixed)
    attention: Floats = torch.stack(found, 1).numpy()
    return attention


@given(options=OPTIONS, counts=COUNTS, candidates=st.sampled_from([0, 1, 7]))
@settings(deadline=None, max_examples=40)
def test_equals_the_eager_model(options: dict[str, Any], counts: Counts, candidates: int) -> None:
    units = 3 * options["heads"] if options["form"] == "code" else 3
    model, inputs = made(counts, units=units, **options), request(counts, candidates)
    attention = Attention(graph_of(model, counts)).of(*inputs)
    assert attention.dtype == np.float32
    np.testing.assert_allclose(attention, eager_attention(model, inputs), atol=1e-5)


@pytest.mark.parametrize(
    ("histories", "reason"), [((), "its model is fm, not autoint"), ((PooledHistory("read", 0, 2, 3),), "histories")]
)
def test_what_does_not_explain_is_named(histories: tuple[PooledHistory, ...], reason: str) -> None:
    counts = (2, 0, 2, 0)
    graph = graph_of(made(counts, histories=histories), counts)
    model = graph.model if histories else {"name": "fm"}
    with pytest.raises(ArtefactError, match=reason):
        Attention(ReadGraph(graph.inputs, graph.output, graph.constants, model))


def test_pairs_are_means_of_both_directions_largest_first() -> None:
    attention = np.array([[[[[0.0, 0.8, 0.2], [0.2, 0.5, 0.3], [0.3, 0.7, 0.0]]]]], np.float32)
    pairs = Explanation(("a", "b", "c"), attention).pairs(0)
    assert [pair[:2] for pair in pairs] == [("a", "b"), ("b", "c"), ("a", "c")]  # the first two are equal
    np.testing.assert_allclose([weight for *_, weight in pairs], [0.5, 0.5, 0.25])


def test_many_fields_give_the_first_pairs() -> None:
    names = tuple(map(str, range(9)))
    assert len(Explanation(names, np.full((1, 2, 2, 9, 9), 1 / 9, np.float32)).pairs(0)) == PAIRS < 9 * 8 / 2


FIELDS = ("user_group", "weekday", "item_category", "colour")
VALUES = 4


def labels(ids_BF: Tensor) -> Tensor:
    """Clicked where group and category fit: neither says anything alone, and the other fields nothing at all."""
    return ((ids_BF[:, 0] + ids_BF[:, 2]) % 2).float()


def fitted(seed: int, **options: Any) -> tuple[RankingModel, Tensor, float]:
    """A model and its rows [F, values, D] fitted to the planted interaction, with the share of right answers."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build(AutoInt.Config(**options), n_sparse=len(FIELDS), n_numeric=0, dim=8, tasks=1)
    rows_FVD = torch.nn.Parameter(torch.randn(len(FIELDS), VALUES, 8, generator=generator) * 0.1)
    optimizer = torch.optim.Adam([*model.parameters(), rows_FVD], lr=0.01)
    for _ in range(250):
        ids_BF = torch.randint(0, VALUES, (256, len(FIELDS)), generator=generator)
        logits_B = model(rows_FVD[torch.arange(len(FIELDS)), ids_BF], torch.zeros(256, 0))[:, 0]
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(logits_B, labels(ids_BF)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    right = ((logits_B > 0) == (labels(ids_BF) > 0)).float().mean().item()
    return model.eval(), rows_FVD.detach(), right


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"form": "code"}, {"form": "code", "mlp": ()}, {"form": "paper", "mlp": ()}])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_interaction_comes_first(options: dict[str, Any], seed: int) -> None:
    model, rows_FVD, right = fitted(seed, **options)
    assert right > 0.99, "the interaction was learned"
    reader = Attention(graph_of(model, (2, 0, 2, 0)))
    users = torch.cartesian_prod(torch.arange(VALUES), torch.arange(VALUES))
    found = []
    for group, weekday in users.tolist():
        user_1FD = rows_FVD[[0, 1], [group, weekday]].numpy()[None]
        items_CFD = torch.stack([rows_FVD[2, users[:, 0]], rows_FVD[3, users[:, 1]]], 1).numpy()
        found.append(reader.of(user_1FD, items_CFD, NO_NUMBERS, np.zeros((len(users), 0), np.float32)))
    attention_CLHMM = np.concatenate(found)
    assert len(attention_CLHMM) == VALUES ** len(FIELDS)
    mean = attention_CLHMM.mean(0, keepdims=True)
    assert Explanation(FIELDS, mean).pairs(0)[0][:2] == ("user_group", "item_category")
    assert mean_by_pair(attention_CLHMM)[0, 2] == pytest.approx(Explanation(FIELDS, mean).pairs(0)[0][2], abs=1e-6)
