"""kill -9 of the trainer: after a restart the final state is that of a run that was never killed, bit for bit."""

import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.datasets.movielens import movielens_small
from recsys.errors import CheckpointError, StateError
from streaming.log.erasure import append_erasures
from tests.forking import run_until_killed

ROOT = Path(__file__).parents[2]
EVENTS = 3_000
"""45 steps and 7 checkpoints."""
SETTINGS = """
[features]
dim = 8
[[features.fields]]
name = "user"
source = "user"
[[features.fields]]
name = "item"
source = "item"
[[features.fields]]
name = "genres"
kind = "multi"
source = "item.genres"
[[features.fields]]
name = "hour"
kind = "numeric"
source = "time.hour"
[features.tables.item]
ttl = "90d"
[model]
layers = 1
dropout = 0.1
[training]
positive = ["like"]
checkpoint_every = 7
batch_size = 128
"""
SECOND_TASK = """
[[tasks]]
name = "love"
actions = ["like"]
min_value = 5.0
wait = "1d"
"""
NEGATIVES = """
[training.negatives]
rate = 0.5
method = "score"
"""


def kill_while_saving() -> Callable[[str], None]:
    """Holds the first checkpoint, that of step 7, in the background; kills after step 11."""
    begun, steps = threading.Event(), 0

    def crash(point: str) -> None:
        nonlocal steps
        if point == "rows written":
            begun.set()
            threading.Event().wait()
        if point == "step":
            steps += 1
            if steps == 11:
                begun.wait()
                os.kill(os.getpid(), signal.SIGKILL)

    return crash


def nothing(_point: str) -> None:
    pass


def train(folder: Path, crash: Callable[[str], None] = nothing) -> str:
    config = load(folder / "recsys.toml")
    wiring.set_threads(config)  # as `recsys train`: how sums are rounded depends on it, and other tests leave their own
    with wiring.trainer(config, publish=False, crash=crash) as trainer:
        trainer.resume()
        trainer.run(follow=False, stop=threading.Event())
        return trainer.digest()


def kill_at(wanted: str, occurrence: int) -> Callable[[str], None]:
    seen = 0

    def crash(point: str) -> None:
        nonlocal seen
        seen += point == wanted
        if seen == occurrence:
            os.kill(os.getpid(), signal.SIGKILL)

    return crash


def begun(folder: Path) -> tuple[Config, pa.RecordBatch]:
    """A project without a log, and the events for it."""
    (folder / "recsys.toml").write_text(SETTINGS)
    events = next(iter(movielens_small(ROOT / "examples" / "ml-latest-small"))).slice(0, EVENTS)
    return load(folder / "recsys.toml"), events


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A log with the first events of MovieLens."""
    config, events = begun(tmp_path_factory.mktemp("killed"))
    log = wiring.event_log(config)
    log.append(events)
    log.close()
    return config


@pytest.fixture(scope="module")
def uninterrupted(config: Config) -> str:
    return train_in(config, "uninterrupted")


@pytest.fixture(scope="module")
def uninterrupted_of_two(config: Config) -> str:
    return train(workspace(config, "two", SECOND_TASK))


@pytest.fixture(scope="module")
def with_erasures(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The log with the erasures of the two users of most events, after a third and two thirds of it."""
    config, events = begun(tmp_path_factory.mktemp("erased"))
    log = wiring.event_log(config)
    users = Counter(events.column("user").drop_null().to_pylist()).most_common(2)
    for third, (user, _) in enumerate([*users, ("nobody", 0)]):
        log.append(events.slice(third * EVENTS // 3, EVENTS // 3))
        append_erasures(log, [user])
    log.close()
    return config


@pytest.fixture(scope="module")
def uninterrupted_with_erasures(with_erasures: Config) -> str:
    return train_in(with_erasures, "uninterrupted")


def workspace(config: Config, name: str, more: str = "") -> Path:
    """A folder with checkpoints of its own over the shared log."""
    folder = config.log.source_offsets.parents[2] / name
    folder.mkdir()
    (folder / "recsys.toml").write_text(f"[log]\nurl = '{config.log.url}'\n{SETTINGS}{more}")
    return folder


def train_in(config: Config, name: str) -> str:
    return train(workspace(config, name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "occurrence"),
    [("step", 5), ("step", 20), ("rows written", 2), ("files written", 2), ("manifest written", 1), ("renamed", 2),
     ("checkpoint written", 1), ("part written", 2)],
)  # fmt: skip
def test_a_killed_trainer_ends_in_the_same_state(
    config: Config, uninterrupted: str, point: str, occurrence: int
) -> None:
    folder = workspace(config, f"{point} {occurrence}".replace(" ", "-"))
    train_until_killed(folder, kill_at, point, occurrence)
    assert train(folder) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize(("point", "occurrence"), [("step", 20), ("rows written", 2)])
def test_a_killed_trainer_of_two_tasks_ends_in_the_same_state(
    config: Config, uninterrupted: str, uninterrupted_of_two: str, point: str, occurrence: int
) -> None:
    folder = workspace(config, f"two-{point}".replace(" ", "-"), SECOND_TASK)
    train_until_killed(folder, kill_at, point, occurrence)
    assert train(folder) == uninterrupted_of_two != uninterrupted


@pytest.mark.slow
def test_a_killed_trainer_that_samples_ends_in_the_same_state(config: Config, uninterrupted: str) -> None:
    expected = train(workspace(config, "sampled", NEGATIVES))
    folder = workspace(config, "sampled-killed", NEGATIVES)
    train_until_killed(folder, kill_at, "step", 20)
    assert train(folder) == expected != uninterrupted


@pytest.mark.slow
def test_a_killed_trainer_whose_impressions_wait_in_files_ends_in_the_same_state(
    config: Config, uninterrupted: str
) -> None:
    folder = workspace(config, "in-files", "pending_folder = 'pending'\n")
    train_until_killed(folder, kill_at, "rows written", 2)
    assert (folder / "pending").is_dir(), "they have waited there"
    assert train(folder) == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize(("point", "occurrence"), [("step", 13), ("step", 17), ("rows written", 3), ("renamed", 6)])
def test_a_trainer_killed_about_the_erasure_of_users_ends_in_the_same_state(
    with_erasures: Config, uninterrupted: str, uninterrupted_with_erasures: str, point: str, occurrence: int
) -> None:
    folder = workspace(with_erasures, f"{point}-{occurrence}".replace(" ", "-"))
    train_until_killed(folder, kill_at, point, occurrence)
    assert train(folder) == uninterrupted_with_erasures != uninterrupted


@pytest.mark.slow
def test_a_trainer_killed_while_it_saves_in_the_background_ends_in_the_same_state(
    config: Config, uninterrupted: str
) -> None:
    folder = workspace(config, "background")
    train_until_killed(folder, kill_while_saving)
    assert [path.suffix for path in (folder / "run" / "checkpoints").glob("step-*")] == [".partial"]
    assert train(folder) == uninterrupted


@pytest.mark.slow
def test_training_goes_on_while_a_checkpoint_is_written_and_ends_the_same(config: Config, uninterrupted: str) -> None:
    """The first checkpoint is held until training has changed what it captured; then training resumes from it."""
    folder = workspace(config, "held")
    (folder / "recsys.toml").write_text((folder / "recsys.toml").read_text() + "keep = 1000\n")
    assert train(folder, hold_first(until_step=12)) == uninterrupted
    first, *later = sorted((folder / "run" / "checkpoints").glob("step-*"))
    for path in later:
        shutil.rmtree(path)
    with wiring.trainer(load(folder / "recsys.toml"), publish=False) as trainer:
        assert trainer.resume() == first
        trainer.run(follow=False, stop=threading.Event())
        assert trainer.digest() == uninterrupted


def hold_first(until_step: int) -> Callable[[str], None]:
    """Holds the first checkpoint, in the background, until so many steps are trained."""
    trained, held = threading.Semaphore(0), False

    def crash(point: str) -> None:
        nonlocal held
        if point == "step":
            trained.release()
        elif point == "rows written" and not held:
            held = True
            for _ in range(until_step):
                trained.acquire()

    return crash


def train_and_crash(folder: Path, crash: Callable[..., Callable[[str], None]], arguments: tuple[object, ...]) -> None:
    train(folder, crash(*arguments))


def train_until_killed(folder: Path, crash: Callable[..., Callable[[str], None]], *arguments: object) -> None:
    run_until_killed(train_and_crash, folder, crash, arguments)


@pytest.mark.slow
def test_a_torn_checkpoint_is_passed_over_and_training_ends_the_same(config: Config, uninterrupted: str) -> None:
    folder = workspace(config, "torn")
    assert train(folder) == uninterrupted
    newest = max((folder / "run" / "checkpoints").iterdir())
    file = newest / "rank-0" / "dense.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with wiring.trainer(load(folder / "recsys.toml"), publish=False) as trainer:
        resumed = trainer.resume()
        assert resumed is not None
        assert resumed < newest
        trainer.run(follow=False, stop=threading.Event())
        assert trainer.digest() == uninterrupted


def test_two_trainers_do_not_share_checkpoints(config: Config) -> None:
    folder = workspace(config, "shared")
    settings = load(folder / "recsys.toml")
    with (
        wiring.trainer(settings, publish=False),
        pytest.raises(CheckpointError, match="in use by another trainer of this process: let it end first"),
        wiring.trainer(settings, publish=False),
    ):
        pass


@pytest.mark.parametrize(
    ("setting", "other"),
    [
        ("dim = 8", "dim = 4"),
        ("layers = 1", "layers = 1\nheads = 4"),
        ("dropout = 0.1", "wide = true"),
        ('ttl = "90d"', 'ttl = "90d"\nadmission = "count"\nthreshold = 2'),
        ('name = "genres"', 'name = "kinds"'),
        ('positive = ["like"]', 'positive = ["like"]\noptimizer = "adam"'),
        ('positive = ["like"]', 'positive = ["like"]\nseed = 3'),
        ('positive = ["like"]', 'positive = ["like"]\nsparse_lr = 0.01'),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_with_a_remedy(trained: Path, setting: str, other: str) -> None:
    folder = trained.parents[1]
    path = folder / "other.toml"
    text = (folder / "recsys.toml").read_text()
    assert setting in text
    path.write_text(text.replace(setting, other))
    with (
        wiring.trainer(load(path), publish=False) as trainer,
        pytest.raises(StateError, match=r"(?s)cannot be resumed from: .*in the (checkpoint|configuration)") as error,
    ):
        trainer.resume()
    assert "Put the settings back, or name another folder in [training] checkpoints" in str(error.value)
    assert "log that it was made with" not in str(error.value)
    assert "{" not in str(error.value)
    checked = CliRunner().invoke(main, ["check", "-c", str(path)])
    assert f"training.checkpoints: {error.value}" in checked.output


@pytest.fixture(scope="module")
def trained(config: Config) -> Path:
    """The checkpoints of a short training."""
    folder = workspace(config, "trained")
    settings = load(folder / "recsys.toml")
    with wiring.trainer(settings, publish=False) as trainer:
        trainer.learner.steps = 1
        trainer.checkpoint()
    return settings.training.checkpoints
