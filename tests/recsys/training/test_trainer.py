"""Where the training loop stops, and what it does when a checkpoint cannot be written."""

import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from recsys import wiring
from recsys.config.file import load
from recsys.config.schema import Config
from recsys.errors import CheckpointError, LogError
from streaming.events.schema import Event, Impression, Interaction, ItemUpdate
from streaming.ingest.codec import encode_events

SETTINGS = "[training]\nbatch_size = 2\nwait = '1s'\nlateness = '0s'\ncheckpoint_every = 4\nkeep = 100\n"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A log of 20 impressions of one item, each clicked at once."""
    (tmp_path / "recsys.toml").write_text(SETTINGS)
    config = load(tmp_path / "recsys.toml")
    log = wiring.event_log(config)
    events: list[Event] = []
    for number in range(20):
        events.append(Impression(id=f"n{number}", time=1000 * number, user="u", items=["a"]))
        events.append(Interaction(time=1000 * number, impression=f"n{number}", item="a"))
    log.append(encode_events(events))
    log.close()
    return config


def committed(config: Config) -> tuple[int, ...] | None:
    log = wiring.event_log(config)
    cursor = log.committed("trainer")
    log.close()
    return cursor


def steps(config: Config) -> list[int]:
    """Of the checkpoints on disk."""
    return sorted(int(path.name.removeprefix("step-")) for path in config.training.checkpoints.glob("step-*"))


@pytest.mark.parametrize("follow", [False, True])
def test_until_stops_before_the_first_later_event(config: Config, follow: bool) -> None:
    with wiring.trainer(config, publish=False) as trainer:
        trainer.run(follow=follow, stop=threading.Event(), until=10_000)
        assert trainer.progress.rows == 10
    assert committed(config) == (20,)


def test_events_that_make_no_row_are_no_lag_once_they_are_read(config: Config) -> None:
    with closing(wiring.event_log(config)) as log:
        log.append(encode_events([ItemUpdate(50_000, "new", {"kind": "k"})]))
    with wiring.trainer(config, publish=False) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        assert trainer.progress.rows == 20
        assert trainer.progress.lag_events == 0


def test_a_log_that_cannot_be_told_how_far_it_was_learned_does_not_end_training(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object) -> None:
        raise LogError("no broker answers")

    with wiring.trainer(config, publish=False) as trainer:
        monkeypatch.setattr(trainer._log, "commit", away)
        trainer.run(follow=False, stop=threading.Event())
        assert trainer.progress.rows == 20
    assert steps(config)[-1] == 10
    assert committed(config) is None
    assert "training goes on: no broker answers" in caplog.text


class FullDisk:
    """Fails checkpoints `failing`, counted from the first that is begun; each is over before the next step ends."""

    def __init__(self, failing: Callable[[int], bool]) -> None:
        self._failing = failing
        self.begun = self.failed = 0

    def __call__(self, point: str) -> None:
        if point == "step":
            for thread in threading.enumerate():
                if thread.name == "snapshot":
                    thread.join()
        elif point == "rows written":
            self.begun += 1
            if self._failing(self.begun):
                self.failed += 1
                raise OSError("No space left on device")


def test_a_checkpoint_that_failed_is_tried_again_with_the_next_step(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk(lambda number: number in (1, 2))
    with wiring.trainer(config, publish=False, crash=disk) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        digest = trainer.digest()
    assert disk.failed == 2
    assert steps(config) == [6, 8, 10]  # those of step 4 and 5 failed
    assert [record.getMessage() for record in caplog.records if "No space left" in record.getMessage()] == [
        f"checkpoint {config.training.checkpoints / 'step-000000000004'} could not be written: No space left on "
        "device. The previous one is unchanged and can be resumed from: make room on the disk or fix its "
        "permissions. Training goes on; each step tries again"
    ]
    with wiring.trainer(config, publish=False) as trainer:
        trainer.resume()
        assert trainer.digest() == digest


def test_training_goes_to_the_end_but_never_ends_well_without_a_checkpoint(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    disk = FullDisk(lambda _number: True)
    with wiring.trainer(config, publish=False, crash=disk) as trainer:
        with pytest.raises(CheckpointError, match="step-000000000010 could not be written: No space left"):
            trainer.run(follow=False, stop=threading.Event())
        assert trainer.learner.steps == 10
    assert disk.failed > 2
    assert len([record for record in caplog.records if "each step tries again" in record.getMessage()]) == 1
    assert (steps(config), committed(config)) == ([], None)


def test_a_failed_checkpoint_is_not_taken_for_one_of_its_step(config: Config) -> None:
    disk = FullDisk(lambda number: number == 1)
    with wiring.trainer(config, publish=False, crash=disk) as trainer:
        trainer.learner.steps = 1
        with pytest.raises(CheckpointError):
            trainer.checkpoint()
        assert (disk.failed, steps(config)) == (1, [])
        trainer.checkpoint()
    assert steps(config) == [1]


class _Quiet:
    """A publication that has nothing new after its first one, and a clock that the log's waiting moves."""

    def __init__(self) -> None:
        self.now, self.published, self.status = 0.0, list[float](), dict[str, object]()

    def due(self) -> bool:
        return self.seconds_left() == 0

    def seconds_left(self) -> float:
        return max(self.published[-1] + 0.25 - self.now, 0.0) if self.published else 0.0

    def publish(self, *_: object, **__: object) -> bool:
        self.published.append(self.now)
        return True

    def start(self, _run: str) -> None: ...


def test_while_nothing_comes_a_trainer_publishes_once_a_second(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet, stop = _Quiet(), threading.Event()

    def wait(_cursor: object, timeout: float) -> bool:
        quiet.now += timeout
        if quiet.now > 10:
            stop.set()
        return False

    with wiring.trainer(config, publish=False) as trainer:
        monkeypatch.setattr(trainer, "_publication", quiet)
        monkeypatch.setattr(trainer._log, "wait", wait)
        trainer.run(follow=True, stop=stop)
    assert trainer.progress.rows == 20
    waited = [time for time in quiet.published if 0 < time <= 10]
    assert waited == pytest.approx([0.25 + n for n in range(10)])
