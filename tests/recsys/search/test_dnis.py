"""DNIS: its steps against figures computed by hand, and dimensions that were planted.

Shape suffixes as in `recsys.search.dnis.selection`; B rows, F fields.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from click.testing import CliRunner

from recsys.cli import main
from recsys.config.file import load
from recsys.config.sections.learning.models import LogisticRegressionConfig
from recsys.config.sections.learning.search import DnisSection
from recsys.errors import InvalidValueError
from recsys.fit.parts import Parts
from recsys.search.dnis.dnis_result import DnisResult
from recsys.search.dnis.dnis_study import compare
from recsys.search.dnis.selection import SelectionLayer, search, step
from recsys.search.supernet import Space, Supernet
from recsys.search.supernet_training import scores, train
from tests.recsys.search.conftest import CONFIG

pytestmark = pytest.mark.slow

Floats = npt.NDArray[np.float64]


def sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)))


def test_a_step_is_that_of_the_paper(space: Space) -> None:
    """Of logistic regression, p = sigmoid(b + sum_f alpha_{l(f) 0} e_f0), whose gradients are written out here.

    First Adam's first step on the rows, lr g / (|g| + eps), with alpha as it was; then alpha by the new rows:
    g_l0 = mean_B (p - y) sum_{f of block l} e_f0 + l1, and g_lk = l1 for the coordinates k > 0 that are not read,
    divided by mean_k |g_lk| + 1e-8.
    """
    lr, alpha_lr, l1, blocks = 0.01, 0.03, 0.002, 3
    config = space.config.model_copy(update={"model": LogisticRegressionConfig()})
    one = replace(space, config=config)
    net = Supernet(one)
    blocks_V = space.vocabulary.blocks(blocks)
    layer = SelectionLayer(torch.from_numpy(blocks_V), blocks, 8, alpha_lr, l1)
    start_LK = np.random.default_rng(0).uniform(0.5, 1.0, (blocks, 8)).astype(np.float32)
    start_LK[0, 1] = 0.01  # ends below 0 without the clipping
    with torch.no_grad():
        layer.alpha_LK.copy_(torch.from_numpy(start_LK))
    rows_VK = net.rows_VK.detach().numpy().astype(np.float64)
    batches = [part.take(np.arange(32)) for part in (space.training, space.validation)]
    step(one, net, layer, torch.optim.Adam([net.rows_VK], lr), *batches)

    (ids_BF, known_BF, labels_B), (val_BF, val_known_BF, val_labels_B) = (
        (np.where(known, ids, 0), known, batch.labels_B)
        for batch in batches
        for ids in [np.stack([each.values.astype(np.int64) for each in batch.ids.values()], 1)]
        for known in [ids < len(space.vocabulary)]
    )
    alpha_V = start_LK[blocks_V, 0].astype(np.float64)
    error_B = (sigmoid((alpha_V[ids_BF] * rows_VK[ids_BF, 0] * known_BF).sum(1)) - labels_B) / 32
    gradient_V = np.zeros(len(rows_VK))
    np.add.at(gradient_V, ids_BF, error_B[:, None] * alpha_V[ids_BF] * known_BF)
    rows_VK[:, 0] -= lr * gradient_V / (np.abs(gradient_V) + 1e-8)
    np.testing.assert_allclose(net.rows_VK.detach().numpy(), rows_VK, rtol=1e-4, atol=1e-6)

    error_B = (sigmoid((alpha_V[val_BF] * rows_VK[val_BF, 0] * val_known_BF).sum(1)) - val_labels_B) / 32
    gradient_LK = np.full((blocks, 8), l1)
    np.add.at(gradient_LK[:, 0], blocks_V[val_BF], error_B[:, None] * rows_VK[val_BF, 0] * val_known_BF)
    moved_LK = start_LK - alpha_lr * gradient_LK / (np.abs(gradient_LK).mean(1, keepdims=True) + 1e-8)
    assert moved_LK.min() < 0
    np.testing.assert_allclose(layer.alpha_LK.detach().numpy(), moved_LK.clip(0, 1), rtol=1e-3, atol=1e-5)


def test_the_predictor_stays_at_its_warm_start(space: Space) -> None:
    net = Supernet(space)
    before = copy.deepcopy(net.state_dict())
    factors_VK = search(space, net, DnisSection(blocks=3, search_epochs=1))
    after = net.state_dict()
    assert factors_VK.shape == net.rows_VK.shape
    assert not torch.equal(after["rows_VK"], before["rows_VK"])
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("model."))


def test_without_a_rate_the_factors_stay_one(space: Space) -> None:
    section = DnisSection(blocks=3, search_epochs=1).model_copy(update={"alpha_lr": 0.0})
    assert (search(space, Supernet(space), section) == 1).all()


def test_pruned_values_stay_zero_when_retrained(space: Space) -> None:
    net = Supernet(space)
    mask_VK = (torch.arange(8) < 3).float().expand(len(space.vocabulary), -1)
    before = net.rows_VK.detach()[:, 3:].clone()
    train(space, net, net.with_factors(mask_VK), epochs=1, lr=0.01, stage=0)
    torch.testing.assert_close(net.rows_VK.detach()[:, 3:], before)
    changed = copy.deepcopy(net)
    with torch.no_grad():
        changed.rows_VK[:, 3:] = 7.0
    expected = scores(net, space.test, net.with_factors(mask_VK))
    np.testing.assert_array_equal(scores(changed, space.test, changed.with_factors(mask_VK)), expected)


@pytest.fixture(scope="module")
def result(path: Path, parts: Parts) -> DnisResult:
    return compare(load(path), parts)


def test_it_finds_that_a_field_needs_no_coordinates(result: DnisResult) -> None:
    """Labels depend on users and items; most ids are of the third field, which says nothing."""
    dims = {point.method: point.dims for point in result.points}["tables"]
    assert dims is not None
    assert dims["noise"] == 1
    assert min(dims["user"], dims["item"]) >= 3
    alpha_LK = np.array(result.alpha)
    assert alpha_LK[:2].mean() > 2 * alpha_LK[-1].mean()  # users and items are the most frequent ids


def test_the_found_dimensions_beat_the_same_size_chosen_uniformly_or_at_random(result: DnisResult) -> None:
    loss = {point.method: point.test["click"]["log_loss"] or 9 for point in result.points}
    assert loss["tables"] < loss["uniform"] - 0.03
    assert loss["dnis"] < loss["random"] - 0.1
    sizes = {point.method: point.values for point in result.points}
    assert sizes["dnis"] == sizes["magnitude"] == sizes["random"] == sizes["uniform"] == result.values // 4
    assert sizes["tables"] <= sizes["dnis"]


def test_what_no_id_keeps_is_not_there_and_two_of_the_same_coordinates_are_trained_once(
    path: Path, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[str, int]] = []

    def remembered(space: Space, net: Supernet, *rest: Any, name: str, **others: Any) -> float:
        trained.append((name, net.rows_VK.shape[1]))
        return train(space, net, *rest, name=name, **others)

    monkeypatch.setattr("recsys.search.dnis.dnis_study.train", remembered)
    config = load(path)
    short = {"epochs": 1, "search_epochs": 1, "retrain_epochs": 1, "controls": ["uniform", "mde"]}
    found = compare(
        config.model_copy(update={"dnis": config.dnis.model_copy(update={**short, "shares": [0.5, 0.1, 0.01]})}), parts
    )
    names = dict(trained)
    assert names["warm start"] == names["dnis 0.5"] == 8
    assert names["uniform 0.5"] == 4
    assert 4 < names["mde 0.5"] <= 8
    assert names["uniform 0.1"] == 2  # one coordinate, and one that some models keep a first-order weight in
    assert not {"mde 0.1", "uniform 0.01", "mde 0.01", "magnitude 0.5"} & set(names)
    points = {(point.method, point.share): point for point in found.points}
    assert len(points) == 9
    assert points["mde", 0.01].test == points["uniform", 0.1].test
    assert points["mde", 0.01].values == points["uniform", 0.1].values == found.values // 8
    assert points["uniform", 0.01].dims == {"user": 1, "noise": 1, "item": 1}
    assert points["mde", 0.01].dims is None


def test_the_command_writes_what_fit_understands(path: Path, tmp_path: Path) -> None:
    short = CONFIG.replace("epochs = 12\nsearch_epochs = 8", "epochs = 1\nsearch_epochs = 1\nretrain_epochs = 1")
    config = path.with_name("short.toml")
    config.write_text(short)
    said = CliRunner().invoke(main, ["search", "dnis", "-c", str(config), "--out", str(tmp_path)])
    assert said.exit_code == 0, said.output
    written = DnisResult.from_json((tmp_path / "dnis.json").read_bytes())
    assert (tmp_path / "dnis.svg").read_text().startswith("<svg")
    point = next(point for point in written.points if point.method == "tables")
    features, _, tables = (tmp_path / "dims-0.25.toml").read_text().partition("\n\n")
    config.write_text(short.replace("[features]\ndim = 8", features) + tables)
    found = load(config).features
    assert point.dims is not None
    widest = max(point.dims, key=lambda table: (point.dims or {})[table])
    assert {table: found.dim_of(table) for table in point.dims} == point.dims | {widest: max(4, point.dims[widest])}
    fitted = CliRunner().invoke(main, ["fit", "-c", str(config), "--out", str(tmp_path)])
    assert fitted.exit_code == 0, fitted.output


def test_a_model_that_reads_no_ids_has_nothing_to_search(parts: Parts, path: Path, tmp_path: Path) -> None:
    config = tmp_path / "recsys.toml"
    field = '[[features.fields]]\nname = "price"\nkind = "numeric"\nsource = "item.price"\n'
    config.write_text(field)
    with pytest.raises(InvalidValueError, match="no field reads ids"):
        Space.of(load(config), parts.training, parts.validation, parts.test)
