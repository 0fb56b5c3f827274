"""The two-tower model beside the ranker: what it learns, what it leaves alone, what is saved and exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from embedding.local.store import LocalStore
from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.errors import ConfigError, InvalidValueError
from recsys.models.two_tower import Tower, TowerInput
from recsys.training.learner import Learner
from recsys.training.retrieval.retrieval_learner import RetrievalLearner
from recsys.training.retrieval.tower_graph import tower_graph
from streaming.encode.batch import TrainingBatch
from streaming.encode.encoder import Encoder
from streaming.encode.scaling import Scaling
from streaming.events.schema import Features
from streaming.join.labeled_impression import LabeledImpression

GROUPS, ITEMS = 4, 60
SETTINGS = """
[features]
dim = 4
fields = [
  { name = "user", source = "user" },
  { name = "group", source = "request.group" },
  { name = "item", source = "item" },
  { name = "tags", kind = "multi", source = "item.tags" },
  { name = "price", kind = "numeric", source = "item.price" },
]
[model]
name = "fm"
mlp = [4]
[retrieval]
two_tower = true
dim = 4
vector = 8
layers = [16]
negatives = 16
pool = 256
lr = 0.01
"""


def config(text: str = SETTINGS) -> Config:
    return parse(text, Path("recsys.toml"))


def features_of(item: int) -> Features:
    return {"tags": [f"t{item % GROUPS}"], "price": float(item)}


def batches(count: int, seed: int = 0, text: str = SETTINGS) -> list[TrainingBatch]:
    """Users of a group click the items that have its tag."""
    encoder, rng, made = Encoder(wiring.spec(config(text))), np.random.default_rng(seed), []
    for number in range(count):
        shown = []
        for n in range(8):
            group, items = int(rng.integers(GROUPS)), rng.choice(ITEMS, 6, replace=False).tolist()
            described = [features_of(item) for item in items]
            shown.append(
                LabeledImpression(
                    id=f"{number}-{n}",
                    time=1_000 * number,
                    user=f"u{rng.integers(20)}-{group}",
                    items=tuple(f"i{item}" for item in items),
                    features={"group": f"g{group}"},
                    item_features={name: [one[name] for one in described] for name in ("tags", "price")},
                    propensities=(),
                    experiment="",
                    arm="",
                    model="",
                    positions=tuple(range(6)),
                    labels=tuple(float(item % GROUPS == group) for item in items),
                    decided=1_000 * number,
                    sequence=8 * number + n,
                    number=8 * number + n,
                )
            )
        made.append(encoder.encode_impressions(shown, None, (number,)))
    return made


@pytest.fixture(scope="module")
def learned() -> Learner:
    learner = wiring.learner(config())
    for batch in batches(60):
        learner.step(batch, scored=False)
    return learner


def user_vector(learner: Learner, user: str, features: Features) -> Any:
    assert learner.beside.retrieval is not None
    ids, _ = Encoder(learner.spec).encode_request(user, 0, features)
    embedded = learner.beside.retrieval._users.peek(ids).embedded_BFD
    with torch.inference_mode():
        vector: Any = learner.beside.retrieval.model.user(embedded, torch.zeros(1, 0))[0].numpy()
    return vector


def item_vectors(learner: Learner, names: list[str], features: list[Features]) -> Any:
    assert learner.beside.retrieval is not None
    ids, numbers = Encoder(learner.spec).encode_items(names, features)
    return learner.beside.retrieval.item_vectors(ids, numbers, learner.scaling)


def test_hard_negatives_are_nearer_to_the_users_than_drawn_ones(
    learned: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_tower, (batch,) = learned.beside.retrieval, batches(1, seed=9)
    assert two_tower is not None
    clicks = batch.take(np.flatnonzero(batch.labels_B > 0))
    drawn = two_tower.pool.draw(40, np.random.default_rng(0))
    monkeypatch.setattr(two_tower, "options", two_tower.options.model_copy(update={"hard_negatives": 8}))
    before = learned.digest()
    hard = two_tower._hard(clicks, drawn, learned.scaling)
    assert learned.digest() == before
    users = two_tower.model.user(two_tower._users.peek(clicks.ids).embedded_BFD, torch.zeros(len(clicks), 0))
    near = [
        two_tower.item_vectors(ids, numbers, learned.scaling) @ users.detach().numpy().T
        for _, ids, numbers in (hard, drawn)
    ]
    assert len(near[0]) == 8
    assert near[0].max(1).mean() > near[1].max(1).mean()


def test_hard_negatives_are_learned_from_and_without_items_to_draw_there_are_none() -> None:
    plain, hard = (wiring.learner(config(SETTINGS + extra)) for extra in ("", "hard_negatives = 4\nhard_from = 32\n"))
    for number, batch in enumerate(batches(3)):
        for learner in (plain, hard):
            learner.step(batch, scored=False)
        states = [learner.beside.retrieval.model.state_dict() for learner in (plain, hard) if learner.beside.retrieval]
        same = all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert same == (number == 0)  # the first step has nothing to draw from


def test_items_are_as_likely_as_they_are_clicked_however_often_that_is_in_one_batch() -> None:
    """Softmax over items that count once: an item that counted as often as it is clicked would be pushed away so."""
    share = np.array([0.5, 0.25, 0.12, 0.06, 0.04, 0.03])
    parsed = config(SETTINGS.replace("negatives = 16", "negatives = 4").replace("lr = 0.01", "lr = 0.03"))
    encoder, rng, (first, *_) = Encoder(wiring.spec(parsed)), np.random.default_rng(0), batches(1)
    learner = RetrievalLearner(encoder.spec, LocalStore(wiring.tables(parsed)), parsed.retrieval)
    user, _ = encoder.encode_request("ada", 0, {"group": "g1"})
    items, numbers = encoder.encode_items([f"i{n}" for n in range(6)], [features_of(n) for n in range(6)])
    one_of_each = replace(
        first.take(np.arange(6)),
        ids={name: one.take(np.zeros(6, np.int64)) for name, one in user.items()} | items,
        numeric_BN=numbers,
        labels_B=np.ones(6, np.float32),
    )
    scaling = Scaling([2.5], [2.0], [10.0])
    for _ in range(150):
        learner.step(one_of_each.take(rng.choice(6, 64, p=share)), scaling)
    own = learner.user_vectors(user, np.zeros((1, 0), np.float32), scaling)
    odds = np.exp(learner.item_vectors(items, numbers, scaling) @ own[0] / parsed.retrieval.temperature)
    np.testing.assert_allclose(odds / odds.sum(), share, rtol=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("user", ["u1-2", "never-seen"])
@pytest.mark.parametrize("names", ["i", "new"])
def test_items_of_the_users_group_are_nearest_known_or_not(learned: Learner, user: str, names: str) -> None:
    items = [f"{names}{item}" for item in range(ITEMS)]
    vectors = item_vectors(learned, items, [features_of(item) for item in range(ITEMS)])
    nearest = np.argsort(-(vectors @ user_vector(learned, user, {"group": "g2"})))[: ITEMS // GROUPS]
    assert (nearest % GROUPS == 2).mean() >= 0.9


def test_a_user_and_an_item_of_which_nothing_is_known_have_vectors(learned: Learner) -> None:
    vectors = item_vectors(learned, ["bare"], [{}]), user_vector(learned, "bare", {})[None]
    for vector in vectors:
        np.testing.assert_allclose(np.linalg.norm(vector, axis=1), 1, rtol=1e-5)


@pytest.mark.slow
def test_the_ranker_learns_the_same_bits_with_and_without_it(learned: Learner) -> None:
    alone = wiring.learner(config(SETTINGS.partition("[retrieval]")[0]))
    for batch in batches(60):
        alone.step(batch, scored=False)
    with_it, without = learned.dense_state(), alone.dense_state()
    assert with_it.keys() > without.keys()
    assert all(torch.equal(with_it[name], tensor) for name, tensor in without.items())
    for table in alone.store.tables:
        ids = np.unique(batches(1)[0].ids[table].values)
        np.testing.assert_array_equal(alone.store.peek(table, ids).values_ND, learned.store.peek(table, ids).values_ND)


@pytest.mark.slow
def test_a_checkpoint_goes_on_with_the_same_bits(learned: Learner, tmp_path: Path) -> None:
    more = batches(8, seed=1)
    learner, resumed = wiring.learner(config()), wiring.learner(config())
    for batch in more[:4]:
        learner.step(batch, scored=False)
    (tmp_path / "0" / "rank-0").mkdir(parents=True)
    learner.save(tmp_path / "0" / "rank-0")
    resumed.load(tmp_path / "0" / "rank-0")
    for batch in more[4:]:
        learner.step(batch, scored=False)
        resumed.step(batch, scored=False)
    assert learner.digest() == resumed.digest()
    other = wiring.learner(config(SETTINGS.replace("vector = 8", "vector = 16")))
    with pytest.raises(InvalidValueError, match=r"retrieval\.vector is 8 in the checkpoint, 16 in"):
        other.load(tmp_path / "0" / "rank-0")


def test_batches_without_clicks_teach_nothing_and_fill_the_pool() -> None:
    learner = wiring.learner(config())
    assert learner.beside.retrieval is not None
    before = {name: value.clone() for name, value in learner.beside.retrieval.model.state_dict().items()}
    learner.step(batches(1)[0].without_labels())
    assert learner.beside.retrieval.report["steps"] == 0
    assert learner.beside.retrieval.report["pool"] > 0
    assert all(torch.equal(before[name], value) for name, value in learner.beside.retrieval.model.state_dict().items())


def test_an_infinite_weight_of_a_row_costs_the_step_not_the_model() -> None:
    learner = wiring.learner(config())
    assert learner.beside.retrieval is not None
    (batch,) = batches(1)
    weights_B = np.full(len(batch), np.inf, np.float32)
    learner.beside.retrieval.step(replace(batch, weights_B=weights_B), learner.scaling)
    assert learner.beside.retrieval.report["left_out"] == 1
    assert all(torch.isfinite(value).all() for value in learner.beside.retrieval.model.state_dict().values())


@pytest.mark.parametrize(("sparse", "numeric", "hidden"), [(2, 1, (5,)), (0, 3, ()), (3, 0, (4, 4))])
def test_the_graph_gives_the_towers_vectors(sparse: int, numeric: int, hidden: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    tower = Tower(TowerInput(sparse, numeric), 3, hidden, 6)
    rows, numbers = torch.randn(5, sparse, 3), torch.randn(5, numeric)
    session = onnxruntime.InferenceSession(tower_graph(tower), providers=["CPUExecutionProvider"])
    given = {"rows": rows.numpy(), "numeric": numbers.numpy()}
    inputs = {port.name: given[port.name] for port in session.get_inputs()}
    (vectors,) = session.run(["vector"], inputs)
    np.testing.assert_allclose(vectors, tower(rows, numbers).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SETTINGS.replace('source = "item" }', 'source = "item.id" }'),
            "retrieval.two_tower: needs a categorical field",
        ),
        (SETTINGS + "hard_from = 64\n", "retrieval.hard_from: has no effect without hard_negatives"),
        (SETTINGS + "hard_negatives = 4\nhard_from = 2\n", "retrieval.hard_negatives: 4 cannot be chosen from"),
        (SETTINGS.replace("two_tower = true\n", ""), "retrieval.dim: has no effect while two_tower is false"),
        (SETTINGS + "[training]\nworkers = 2\n", "retrieval.two_tower: needs training.workers = 1"),
        (
            '[features]\nfields = [{ name = "item", source = "item" }]\n[retrieval]\ntwo_tower = true\n',
            "retrieval.two_tower: needs a field of the user",
        ),
    ],
)
def test_what_two_towers_cannot_do_is_said(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config(text)
