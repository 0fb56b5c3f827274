"""iHAS: gates against figures computed by hand, and groups of rows that were planted.

Shape suffixes as in `recsys.search.ihas.gates`; R rows of a part.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.config.file import load
from recsys.fit.parts import Parts, read_parts
from recsys.models.blocks.instance_gates import Gates, penalty
from recsys.search.ihas.contender import Member, contender, everything
from recsys.search.ihas.gates import GatedNet, chosen, drawn
from recsys.search.ihas.grouping import Grouping, mask_of
from recsys.search.ihas.ihas_study import IhasStudy
from recsys.search.ihas.platt import platt, scaled
from recsys.search.search_folder import SearchFolder
from recsys.search.supernet import Space, Supernet
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from tests.recsys.search.conftest import CONFIG

pytestmark = pytest.mark.slow

PLANTED = """
[features]
dim = 8
fields = [
  { name = "kind", source = "request.kind" },
  { name = "left", source = "request.left" },
  { name = "right", source = "request.right" },
  { name = "item", source = "item" },
]
[model]
name = "fm"
mlp = [32]
[training]
batch_size = 256
wait = "1s"
lateness = "0s"
labels = "held"
[fit]
validation = 0.2
test = 0.2
[ihas]
epochs = 15
lr = 0.02
gate_lr = 0.02
sparsity = 0.06
polarization = 0.02
"""


def planted_events(lists: int) -> list[Event]:
    """Lists of one kind depend on the field `left` and the item, those of the other on `right` and the item."""
    draw = np.random.default_rng(3)
    made: list[Event] = []
    for number in range(lists):
        kind, left, right = int(draw.integers(2)), int(draw.integers(20)), int(draw.integers(20))
        items, time = [int(item) for item in draw.permutation(20)[:4]], 10_000 * number
        made.append(
            Impression(
                id=f"n{number}",
                time=time,
                user="u",
                items=[f"i{item}" for item in items],
                features={"kind": f"k{kind}", "left": f"l{left}", "right": f"r{right}"},
            )
        )
        says = (left, right)[kind]
        made += [
            Interaction(time=time + 100, impression=f"n{number}", item=f"i{item}")
            for item in items
            if draw.random() < (0.9 if item % 2 == says % 2 else 0.1)
        ]
    return made


def test_a_drawn_gate_has_its_probability_and_the_gradient_of_its_probability() -> None:
    open_BFK = torch.tensor([[[0.2, 0.9]]]).expand(20_000, 1, 2).clone().requires_grad_()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        drawn_BFK = drawn(open_BFK)
    assert set(drawn_BFK.detach().flatten().tolist()) == {0.0, 1.0}
    assert drawn_BFK.detach().mean((0, 1)).tolist() == pytest.approx([0.2, 0.9], abs=0.01)  # 3.5 standard deviations
    torch.autograd.backward((drawn_BFK * torch.tensor([3.0, -5.0])).sum())
    assert open_BFK.grad is not None
    assert open_BFK.grad[0].tolist() == [[3.0, -5.0]]
    assert chosen(torch.tensor([0.49, 0.5, 0.51])).tolist() == [0, 0, 1]


def test_the_penalty_is_sparsity_and_certainty() -> None:
    """0.3 mean(pi) + 2 mean(pi (1 - pi)), of pi = (0.1, 0.5, 1.0)."""
    open_BFK = torch.tensor([[[0.1, 0.5, 1.0]]], requires_grad=True)
    value = penalty(open_BFK, sparsity=0.3, polarization=2.0).mean()
    assert float(value.detach()) == pytest.approx(0.3 * 1.6 / 3 + 2 * (0.09 + 0.25) / 3)
    torch.autograd.backward(value)
    assert open_BFK.grad is not None
    assert open_BFK.grad.flatten().tolist() == pytest.approx([(0.3 + 2 * (1 - 2 * pi)) / 3 for pi in (0.1, 0.5, 1.0)])


def test_gates_see_the_rows_and_nothing_of_the_labels(space: Space) -> None:
    batch = space.training.take(np.arange(64))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        gated = GatedNet(Supernet(space), Gates(3, 8, (4,)), 0.1, 0.1, ramp=4).eval()
    before = gated.probabilities(batch)
    other = replace(batch, labels_B=1 - batch.labels_B)
    assert torch.equal(gated.probabilities(other), before)
    assert before.shape == (64, 3, 8)
    torch.autograd.backward(before.sum())
    assert gated.net.rows_VK.grad is None
    assert torch.equal(gated(batch), gated(batch))
    gated.train()
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(2)
        assert not torch.equal(gated(batch), gated(batch))
    pi_BFK = gated.probabilities(batch)
    assert float(gated.penalty.detach()) == pytest.approx(
        float(penalty(pi_BFK, 0.1 * 2 / 4, 0.1).mean().detach()), rel=1e-5
    )


def test_a_group_keeps_what_most_of_its_rows_keep() -> None:
    open_RX = np.array([[0.9, 0.1, 0.6, 0.4], [0.8, 0.2, 0.7, 0.9], [0.1, 0.3, 0.2, 0.9]], np.float32)
    assert mask_of(open_RX, fields=2).tolist() == [[1, 0], [1, 1]]


def test_rows_go_to_the_nearest_centroid_and_alike_rows_make_fewer_groups() -> None:
    open_RX = np.repeat(np.array([[0.0, 0.1], [0.9, 1.0]], np.float32), 10, axis=0)
    grouping = Grouping.of(open_RX, groups=2, seed=0)
    groups_R = grouping.groups(open_RX)
    assert len(set(groups_R[:10])) == len(set(groups_R[10:])) == 1
    assert groups_R[0] != groups_R[-1]
    assert len(Grouping.of(open_RX, groups=4, seed=0).centroids_CX) == 2
    assert grouping.groups(np.array([[0.2, 0.0]], np.float32)) == groups_R[:1]


def test_platt_scaling_is_a_logistic_regression_on_the_logit() -> None:
    from sklearn.linear_model import LogisticRegression  # which takes seconds to load

    draw = np.random.default_rng(0)
    scores_R = draw.uniform(0.05, 0.95, 500)
    labels_R = (draw.random(500) < scaled(scores_R, 0.4, -0.7)).astype(np.float64)
    logits_R1 = np.log(scores_R / (1 - scores_R))[:, None]
    expected = LogisticRegression(C=np.inf, tol=1e-8).fit(logits_R1, labels_R)
    assert platt(scores_R, labels_R) == pytest.approx((expected.coef_[0, 0], expected.intercept_[0]), abs=1e-3)
    assert platt(scores_R, np.ones(500)) == (1.0, 0.0)


def test_values_count_every_id_in_every_group_and_shared_tables_once(path: Path, parts: Parts, space: Space) -> None:
    config = load(path)
    config = config.model_copy(update={"ihas": config.ihas.model_copy(update={"epochs": 1})})
    mask_FK = (torch.arange(8) < torch.tensor([3, 0, 5]).unsqueeze(1)).float()
    halves = [{part: rows[n::2] for part, rows in everything(parts).items()} for n in range(2)]
    found = contender(
        "halves", config, parts, [Member(mask_FK, places, space.scaling) for places in halves], SearchFolder()
    )
    counts = [
        [len(np.unique(parts.training.take(places["training"]).ids[field].values)) for field in ("user", "item")]
        for places in halves
    ]
    assert [group.values for group in found.groups] == [3 * users + 5 * items for users, items in counts]
    assert found.groups[0].dims == {"user": 3, "noise": 0, "item": 5}
    assert sum(group.rows["test"] for group in found.groups) == len(parts.test) == found.test["click"]["rows"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> IhasStudy:
    path = tmp_path_factory.mktemp("planted") / "recsys.toml"
    path.write_text(PLANTED)
    config = load(path)
    log = wiring.event_log(config)
    log.append(encode_events(planted_events(1500)))
    parts = read_parts(config, log)
    log.close()
    return IhasStudy.of(config, parts, SearchFolder())


def test_it_finds_which_rows_need_which_field(study: IhasStudy) -> None:
    open_RX = study.open["training"]
    groups_R = Grouping.of(open_RX, 2, seed=0).groups(open_RX)
    kinds_R = np.unique(study.parts.training.ids["kind"].values, return_inverse=True)[1]
    same = float((groups_R == kinds_R).mean())
    assert max(same, 1 - same) > 0.95
    left, right = 1, 2  # fields
    dims = [mask_of(open_RX[groups_R == group], fields=4).sum(1) for group in range(2)]
    needs_left = max(dims, key=lambda dims_F: float(dims_F[left] - dims_F[right]))
    needs_right = min(dims, key=lambda dims_F: float(dims_F[left] - dims_F[right]))
    assert needs_left[right] == needs_right[left] == 0
    assert min(needs_left[left], needs_right[right]) >= 2


def test_its_groups_beat_random_ones(study: IhasStudy) -> None:
    found, random = study.ihas(2), study.random(2)
    assert (found.test["click"]["auc"] or 0) > (random.test["click"]["auc"] or 1) + 0.1


def test_the_command_compares_and_exports(path: Path, tmp_path: Path) -> None:
    config = path.with_name("ihas.toml")
    config.write_text(CONFIG + "[ihas]\nepochs = 1\ngroups = [1, 2]\n")
    said = CliRunner().invoke(main, ["search", "ihas", "-c", str(config), "--out", str(tmp_path)])
    assert said.exit_code == 0, said.output
    contenders = json.loads((tmp_path / "ihas.json").read_text())["contenders"]
    assert [one["method"] for one in contenders] == ["whole", "ihas 1", "size 1", "ihas 2", "size 2", "random 2"]
    features, _, tables = (tmp_path / "dims-ihas.toml").read_text().partition("\n\n")
    config.write_text(CONFIG.replace("[features]\ndim = 8", features) + tables)
    load(config)
