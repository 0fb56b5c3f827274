"""kill -9 of a trainer whose checkpoints build on one another, and damage to one of them."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from pathlib import Path

import pytest

from recsys import wiring
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.datasets.movielens import movielens_small
from recsys.training.checkpoint.checkpoint_places import KnownUsers
from recsys.training.checkpoint.checkpoints import Checkpoints
from recsys.training.checkpoint.manifest import bases
from recsys.wiring.erasure_places import _restored
from streaming.log.erasure import append_erasures
from tests.faults.test_trainer import ROOT, SETTINGS, kill_at, train, train_until_killed, workspace

pytestmark = pytest.mark.slow

EVENTS = 3_000
MORE = "increments = 3\n"
ALL_KEPT = "increments = 100\nkeep = 1000\n"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A log with the first events of MovieLens."""
    folder = tmp_path_factory.mktemp("log")
    (folder / "recsys.toml").write_text(SETTINGS)
    config = load(folder / "recsys.toml")
    log = wiring.event_log(config)
    log.append(next(iter(movielens_small(ROOT / "examples" / "ml-latest-small"))).slice(0, EVENTS))
    log.close()
    return config


@pytest.fixture(scope="module")
def uninterrupted(config: Config) -> str:
    return train(workspace(config, "uninterrupted"))


def checkpoints(folder: Path) -> list[Path]:
    return Checkpoints(folder / "run" / "checkpoints").all()


def resumed(folder: Path) -> tuple[Path | None, str]:
    """What is gone on from, and the state at the end."""
    with wiring.trainer(load(folder / "recsys.toml"), publish=False) as trainer:
        found = trainer.resume()
        trainer.run(follow=False, stop=threading.Event())
        return found, trainer.digest()


def test_each_checkpoint_of_a_chain_is_gone_on_from(config: Config, uninterrupted: str) -> None:
    folder = workspace(config, "chain", ALL_KEPT)
    assert train(folder) == uninterrupted
    found = checkpoints(folder)
    built = [path for path in found if bases(path)]
    assert len(built) >= 2
    assert not bases(found[0])
    for path in reversed(found):
        if path in (built[0], built[-1]):
            assert resumed(folder) == (path, uninterrupted)
        for newer in checkpoints(folder):
            if newer >= path:
                shutil.rmtree(newer)


@pytest.mark.parametrize(
    ("point", "occurrence"),
    [("step", 20), ("rows written", 3), ("files written", 2), ("part written", 3), ("manifest written", 3),
     ("renamed", 3), ("checkpoint written", 2)],
)  # fmt: skip
def test_a_killed_trainer_ends_in_the_same_state(
    config: Config, uninterrupted: str, point: str, occurrence: int
) -> None:
    folder = workspace(config, f"{point}-{occurrence}".replace(" ", "-"), MORE)
    train_until_killed(folder, kill_at, point, occurrence)
    assert train(folder) == uninterrupted
    assert any(map(bases, checkpoints(folder)))


def test_what_the_kept_ones_build_on_is_kept_and_nothing_else(config: Config, uninterrupted: str) -> None:
    folder = workspace(config, "kept", MORE + "keep = 2\n")
    assert train(folder) == uninterrupted
    found = checkpoints(folder)
    needed = {base for path in found[-2:] for base in bases(path)}
    assert needed
    assert set(found) == needed | set(found[-2:])


def test_after_an_erasure_no_checkpoint_builds_on_rows_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "recsys.toml").write_text(SETTINGS + ALL_KEPT)
    config = load(tmp_path / "recsys.toml")
    log = wiring.event_log(config)
    events = next(iter(movielens_small(ROOT / "examples" / "ml-latest-small")))
    log.append(events.slice(0, EVENTS // 2))
    ((user, _),) = Counter(events.slice(0, EVENTS // 2).column("user").drop_null().to_pylist()).most_common(1)
    append_erasures(log, [user])
    log.append(events.slice(EVENTS, EVENTS // 2))
    train(tmp_path)
    known = [KnownUsers([user], _restored(config, log))(path) for path in checkpoints(tmp_path)]
    log.close()
    erased = known.index(0)
    assert min(known[:erased]) > 0 == max(known[erased:]), "what it builds on counts, too"
    after = checkpoints(tmp_path)[erased:]
    assert not bases(after[0])
    assert any(map(bases, after))


def test_a_chain_that_is_damaged_is_passed_over(config: Config, uninterrupted: str) -> None:
    folder = workspace(config, "damaged", ALL_KEPT)
    train(folder)
    newest = [path for path in checkpoints(folder) if bases(path)][-1]
    for later in checkpoints(folder):
        if later > newest:
            shutil.rmtree(later)
    torn = bases(newest)[-1]
    file = next((torn / "rank-0" / "rows").glob("table-*"))
    file.write_bytes(file.read_bytes()[:-1])
    found, state = resumed(folder)
    assert state == uninterrupted
    assert found is not None
    assert found < torn
