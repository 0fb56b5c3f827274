"""A replay of what a trainer has kept gives what one of the log gives, and does not read the log."""

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from recsys import wiring
from recsys.cli import main
from recsys.config.schema import Config
from recsys.errors import InvalidValueError, StateError
from recsys.evaluation.replay.evaluation import evaluate
from recsys.evaluation.replay.online_stage import Share
from recsys.evaluation.replay.replay_result import ReplayResult
from streaming.ingest.codec import encode_events
from streaming.kept.batch_files import batch_files
from streaming.log.memory_log import MemoryLog
from tests.recsys.evaluation.replay.worlds import HOUR, START, config, moving_taste

pytestmark = pytest.mark.slow
SPLIT, END = START + 3 * HOUR, START + 5 * HOUR


@dataclass
class Trained:
    config: Config
    batches: Path

    def replayed(self, until: int | None = END, **training: object) -> ReplayResult:
        """From what was kept, beside an empty log."""
        settings = self.config.model_copy(update={"training": self.config.training.model_copy(update=training)})
        return evaluate(
            settings, MemoryLog(), batch_until=SPLIT, refreshes=["1h", "10m"], until=until, batches=self.batches
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    settings = config(batches_folder="batches", checkpoint_every=25).rooted(folder)
    log = wiring.event_log(settings)
    log.append(encode_events(moving_taste(hours=6)))
    wiring.set_threads(settings)
    with wiring.trainer(settings, publish=False) as trainer:
        trainer.run(follow=False, stop=threading.Event())
    return Trained(settings, folder / "batches")


def test_it_is_the_replay_of_the_log(trained: Trained) -> None:
    found, log = trained.replayed(), wiring.event_log(trained.config)
    wanted = evaluate(trained.config, log, batch_until=SPLIT, refreshes=["1h", "10m"], until=END)
    assert (found.arms, found.windows, found.config) == (wanted.arms, wanted.windows, wanted.config)
    assert (found.batch_until, found.until) == (wanted.batch_until, wanted.until)
    assert found.counts["examples_learned"] == wanted.counts["examples_learned"]


def test_another_model_is_replayed_from_the_same_batches(trained: Trained) -> None:
    assert trained.replayed(seed=7).arms[0].scores_sha256 != trained.replayed().arms[0].scores_sha256


def test_it_ends_where_the_trainer_has_all_labels(trained: Trained) -> None:
    result = trained.replayed(until=None)
    assert END < result.until < START + 6 * HOUR
    assert result.counts["positives_scored"] * 2 == result.counts["rows_scored"]
    with pytest.raises(InvalidValueError, match="labels are missing of what was shown from 2017"):
        trained.replayed(until=START + 6 * HOUR)


def test_an_online_stage_after_the_last_labels_is_refused(trained: Trained) -> None:
    late, kept = START + 6 * HOUR, trained.batches
    with pytest.raises(InvalidValueError, match=r"complete until 20\S+ \(wait and .*: choose --batch-until before"):
        evaluate(trained.config, MemoryLog(), batch_until=late, refreshes=["1h"], until=None, batches=kept)


def test_a_share_is_one_of_what_was_kept(trained: Trained) -> None:
    result = evaluate(
        trained.config, MemoryLog(), batch_until=Share(0.5), refreshes=["1h"], until=END, batches=trained.batches
    )
    assert START + 2.9 * HOUR < result.batch_until < START + 3.1 * HOUR


def test_other_labels_and_batches_are_refused(trained: Trained) -> None:
    with pytest.raises(InvalidValueError, match=r"made with other training\.batch_size, training\.wait\. Put the"):
        trained.replayed(wait=1, batch_size=32)


def test_a_folder_without_batches_is_named(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=f"{tmp_path} has no batches"):
        Trained(trained.config, tmp_path).replayed()


def test_missing_steps_are_named(trained: Trained, tmp_path: Path) -> None:
    (run,) = trained.batches.iterdir()
    files = batch_files(run)
    for file in (*files[:1], *files[2:]):
        (tmp_path / file.path.name).hardlink_to(file.path)
    with pytest.raises(StateError, match=f"does not follow on {files[0].path.name}"):
        Trained(trained.config, tmp_path).replayed()


def test_the_oldest_may_have_gone(trained: Trained, tmp_path: Path) -> None:
    (run,) = trained.batches.iterdir()
    files = batch_files(run)
    for file in files[2:]:
        (tmp_path / file.path.name).hardlink_to(file.path)
    result, whole = Trained(trained.config, tmp_path).replayed(), trained.replayed()
    gone = sum(int(kept.batch.counted_B.sum()) for file in files[:2] for kept in file.batches())
    assert result.counts["examples_learned"] == whole.counts["examples_learned"] - gone
    assert result.counts["rows_scored"] == whole.counts["rows_scored"]


def test_of_several_runs_it_is_that_of_the_newest_checkpoint(trained: Trained, tmp_path: Path) -> None:
    (run,) = trained.batches.iterdir()
    for name in (run.name, "another"):
        (tmp_path / name).mkdir()
        for file in batch_files(run):
            (tmp_path / name / file.path.name).hardlink_to(file.path)
    assert Trained(trained.config, tmp_path).replayed().arms == trained.replayed().arms
    (tmp_path / run.name).rename(tmp_path / "other")
    with pytest.raises(InvalidValueError, match="has batches of 2 runs, another, other: name the folder of one"):
        Trained(trained.config, tmp_path).replayed()


def test_the_command_reads_them(trained: Trained, tmp_path: Path) -> None:
    path = trained.batches.parent / "recsys.toml"
    path.write_text(_TOML)
    options = ["-c", str(path), "--batches", str(trained.batches), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, ["replay", "--batch-until", "0.5", *options])
    assert done.exit_code == 0, done.output
    assert "Report:" in done.output
    assert "Nothing was lost" not in done.output, "the batches do not tell"


_TOML = """
[features]
dim = 4
[[features.fields]]
name = "user"
source = "user"
[[features.fields]]
name = "item"
source = "item"
[[features.fields]]
name = "hour"
source = "time.hour"
[model]
layers = 1
heads = 1
units = 8
mlp = [8]
[training]
batch_size = 16
wait = "1m"
lateness = "0s"
"""
