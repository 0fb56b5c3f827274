"""`recsys migrate`: a field more, less or changed, without learning anew.

Shape suffixes: R rows.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from embedding.local.store import LocalStore
from recsys import wiring
from recsys.cli import main
from recsys.config.file import load
from recsys.evaluation.metrics import auc
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.trainer import Trainer
from streaming.encode.batch import TrainingBatch
from streaming.events.schema import Event, Features, Impression, Interaction, Value
from streaming.ingest.codec import encode_events

pytestmark = pytest.mark.slow

CONFIG = """
[features]
dim = 8
fields = [
  {{ name = "user", source = "user" }},
  {fields}
  {{ name = "item", source = "item" }},
  {{ name = "price", kind = "numeric", source = "item.price"{price} }},
]
[model]
name = "{model}"
layers = 1
mlp = [8]
[training]
batch_size = 64
wait = "1s"
lateness = "0s"
labels = "held"
dense_lr = 0.01
checkpoints = "run/{folder}"
"""
HOUR = '{ name = "hour", source = "time.hour" },'
ADDED = """{ name = "hour", source = "time.hour" },
  { name = "device", source = "request.device" },
  { name = "tags", kind = "multi", source = "item.tags" },
  { name = "age", kind = "numeric", source = "request.age" },"""


def settings(folder: Path, fields: str, checkpoints: str, model: str = "fm", price: str = "") -> Path:
    text = CONFIG.format(fields=fields, folder=checkpoints, model=model, price=price)
    path = folder / "recsys.toml"
    path.write_text(text.replace("layers = 1\n", "") if model == "fm" else text)
    return path


def events(start: int, count: int, seed: int) -> list[Event]:
    """Users like items of even number that are cheap."""
    draw = np.random.default_rng(seed)
    found: list[Event] = []
    for number in range(start, start + count):
        user, items = int(draw.integers(20)), draw.permutation(20)[:4].tolist()
        price: list[Value] = [float(draw.integers(1, 100)) for _ in items]
        features: Features = {"device": "phone" if user % 3 else "desk", "age": float(user)}
        shown = Impression(
            id=f"n{number}",
            time=10_000 * number,
            user=f"u{user}",
            items=[f"i{item}" for item in items],
            features=features,
            item_features={"price": price, "tags": [[f"t{item % 2}"] for item in items]},
        )
        found.append(shown)
        found += [
            Interaction(time=10_000 * number, impression=shown.id, item=f"i{item}")
            for item, paid in zip(items, price, strict=True)
            if item % 2 == 0 and isinstance(paid, float) and paid < 60
        ]
    return found


def append(path: Path, more: list[Event]) -> None:
    log = wiring.event_log(load(path))
    log.append(encode_events(more))
    log.close()


def recsys(path: Path, command: str, *options: str) -> Result:
    result: Result = CliRunner().invoke(main, [command, "-c", str(path), *options])
    return result


def train(path: Path) -> str:
    result = recsys(path, "train", "--once", "--no-publish")
    assert result.exit_code == 0, result.output
    return result.output


def held_out(path: Path, folder: Path) -> TrainingBatch:
    """Rows that the trainers have not seen, encoded for the configuration at `path`; their log is in `folder`."""
    folder.mkdir()
    log = wiring.event_log(load(settings(folder, HOUR, "unused")))
    log.append(encode_events(events(0, 300, seed=99)))
    feed = wiring.feed(load(path), log)
    return TrainingBatch.concat([*feed.poll(), *feed.finish()])


def scores(path: Path, rows: TrainingBatch) -> npt.NDArray[np.float32]:
    with wiring.trainer(load(path), publish=False) as trainer:
        assert trainer.resume() is not None
        return trainer.learner.score(rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a trained model of user, hour, item and price, by the model's name."""

    @functools.cache
    def of(model: str) -> Path:
        folder = tmp_path_factory.mktemp(model)
        path = settings(folder, HOUR, "first", model)
        append(path, events(0, 1500, seed=1))
        train(path)
        return folder

    return of


@pytest.fixture
def learned(trained: Callable[[str], Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of it."""
    shutil.copytree(trained(getattr(request, "param", "fm")), tmp_path, dirs_exist_ok=True)
    return tmp_path / "recsys.toml"


@pytest.mark.parametrize("learned", ["fm", "autoint", "dcn"], indirect=True)
def test_fields_are_added_without_learning_anew(learned: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    model = request.node.callspec.params["learned"]
    rows = held_out(learned, tmp_path / "before")
    before_R = scores(learned, rows)
    assert auc(rows.labels_B, before_R) > 0.8

    path = settings(tmp_path, ADDED, "second", model)
    result = recsys(path, "migrate", "--from", str(tmp_path / "run" / "first"))
    assert result.exit_code == 0, result.output
    for name in ("device", "tags", "age"):
        assert f"field '{name}' is not in the checkpoint." in result.output

    wider = held_out(path, tmp_path / "after")
    np.testing.assert_array_equal(wider.labels_B, rows.labels_B)
    after_R = scores(path, wider)
    assert np.abs(after_R - before_R).mean() < 0.1
    assert auc(rows.labels_B, after_R) > auc(rows.labels_B, before_R) - 0.02

    append(path, events(1500, 1500, seed=2))
    train(path)
    assert auc(rows.labels_B, scores(path, wider)) > auc(rows.labels_B, before_R) - 0.01


def test_the_old_checkpoint_stays_as_it_is_and_can_still_be_resumed(learned: Path, tmp_path: Path) -> None:
    old = tmp_path / "run" / "first"
    files = {file: file.read_bytes() for file in old.rglob("*") if file.is_file() and file.name != "lock"}
    recsys(settings(tmp_path, ADDED, "second"), "migrate", "--from", str(old))
    assert {file: file.read_bytes() for file in files} == files
    assert "Resumed from" in train(settings(tmp_path, HOUR, "first"))


def test_what_is_known_of_the_other_fields_is_the_same_to_the_bit(learned: Path, tmp_path: Path) -> None:
    path = settings(tmp_path, ADDED, "second")
    recsys(path, "migrate", "--from", str(tmp_path / "run" / "first"))
    with (
        wiring.trainer(load(settings(tmp_path, HOUR, "first")), publish=False) as before,
        wiring.trainer(load(settings(tmp_path, ADDED, "second")), publish=False) as after,
    ):
        before.resume()
        after.resume()
        assert after.learner.steps == before.learner.steps > 50
        old, new = before.learner.store, after.learner.store
        assert old.counters("item")["live"] == new.counters("item")["live"] == 20
        assert new.counters("device")["live"] == 0
        for table in ("user", "item"):
            ids = ids_of(table, before)
            np.testing.assert_array_equal(old.peek(table, ids).values_ND, new.peek(table, ids).values_ND)
        price = [field.name for field in after.learner.spec.numeric].index("price")
        assert after.learner.scaling.means[price] == before.learner.scaling.means[0]
        assert after.progress.rows == before.progress.rows


def ids_of(table: str, trainer: Trainer) -> npt.NDArray[np.uint64]:
    assert isinstance(trainer.learner.store, LocalStore)
    return trainer.learner.store.state().tables[table].ids_U


def test_a_field_is_removed(learned: Path, tmp_path: Path) -> None:
    path = settings(tmp_path, "", "second")
    result = recsys(path, "migrate", "--from", str(tmp_path / "run" / "first"))
    assert result.exit_code == 0, result.output
    assert "field 'hour' is only in the checkpoint." in result.output
    append(path, events(1500, 200, seed=2))
    assert "Resumed from" in train(path)


def test_rows_that_wait_for_their_batch_are_learned_with_the_new_fields(learned: Path, tmp_path: Path) -> None:
    with wiring.trainer(load(learned), publish=False) as trainer:
        trainer.resume()
        waiting = trainer._feed.waiting_rows
        assert 0 < waiting < 64
    path = settings(tmp_path, ADDED, "second")
    recsys(path, "migrate", "--from", str(tmp_path / "run" / "first"))
    with wiring.trainer(load(path), publish=False) as trainer:
        trainer.resume()
        assert trainer._feed.waiting_rows == waiting
        (batch,) = trainer._feed.drain()
        assert np.isfinite(trainer.learner.step(batch)).all()
        age = [field.name for field in trainer.learner.spec.numeric].index("age")
        assert np.isnan(batch.numeric_BN[:, age]).all()


@pytest.mark.parametrize(
    ("fields", "price", "message"),
    [
        (ADDED, "", "field 'device' is not in the checkpoint"),
        ("", "", "field 'hour' is only in the checkpoint"),
        ('{ name = "hour", source = "time.weekday" },', "", "field 'hour' has source 'time.hour' in the checkpoint"),
        ('{ name = "hour", kind = "numeric", source = "time.hour" },', "", "'hour' has kind 'categorical'"),
        (HOUR, ', transform = "log1p"', "field 'price' has transform 'none' in the checkpoint, 'log1p' in the"),
        (HOUR, ', scale = "none"', "field 'price' has scale 'standard' in the checkpoint, 'none' in the configuration"),
    ],
)
def test_a_changed_field_is_named_by_train_and_check(
    learned: Path, tmp_path: Path, fields: str, price: str, message: str
) -> None:
    assert "cannot be resumed" not in recsys(learned, "check").output
    path = settings(tmp_path, fields, "first", price=price)
    refused = recsys(path, "train", "--once", "--no-publish")
    assert refused.exit_code == 1
    for output in (refused.output, recsys(path, "check").output):
        assert message in output
        assert f"recsys migrate --from {tmp_path / 'run' / 'first'}" in output


def test_migrate_says_what_is_in_its_way(learned: Path, tmp_path: Path) -> None:
    path = settings(tmp_path, ADDED, "first")
    assert "has checkpoints already" in recsys(path, "migrate", "--from", str(tmp_path / "run" / "first")).output
    empty = tmp_path / "empty"
    empty.mkdir()
    path = settings(tmp_path, ADDED, "second")
    assert "has no checkpoint" in recsys(path, "migrate", "--from", str(empty)).output
    path.write_text(path.read_text().replace("dim = 8", "dim = 4"))
    result = recsys(path, "migrate", "--from", str(tmp_path / "run" / "first"))
    assert (result.exit_code, "dim is 8 in the checkpoint, 4 in the configuration" in result.output) == (1, True)
    assert Checkpoints(tmp_path / "run" / "second").all() == []


READ = '{ name = "read", kind = "multi", source = "user.recent(click, 4)", table = "item", pooling = "attention" },'


@pytest.mark.slow
def test_a_history_pooled_by_attention_is_added_learned_and_kept(learned: Path, tmp_path: Path) -> None:
    path = settings(tmp_path, HOUR + READ, "second")
    assert recsys(path, "migrate", "--from", str(tmp_path / "run" / "first")).exit_code == 0
    with wiring.trainer(load(path), publish=False) as trainer:
        trainer.resume()
        added = attention(trainer)
    append(path, events(1500, 300, seed=2))
    train(path)
    with wiring.trainer(load(path), publish=False) as trainer:
        trainer.resume()
        trained = attention(trainer)
    path = settings(tmp_path, READ, "third")
    assert recsys(path, "migrate", "--from", str(tmp_path / "run" / "second")).exit_code == 0
    with wiring.trainer(load(path), publish=False) as trainer:
        trainer.resume()
        kept = attention(trainer)
    assert kept.keys() == trained.keys() == added.keys()
    assert all(np.array_equal(kept[name], trained[name]) for name in kept)
    assert not any(np.array_equal(trained[name], added[name]) for name in kept)


def attention(trainer: Trainer) -> dict[str, npt.NDArray[np.float32]]:
    """The weights by which the history is pooled."""
    state = trainer.learner.model.state_dict().items()
    return {name: weight.numpy().copy() for name, weight in state if name.startswith("attention.of_read.")}
