"""Which rows are learned from, and which are held back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys import wiring
from recsys.config.file import load
from recsys.errors import ConfigError, InvalidValueError
from recsys.fit.parts import Parts, read_parts
from streaming.encode.batch import TrainingBatch
from streaming.encode.row_keys import read_key
from streaming.encode.user_rows import user_ids
from streaming.log.erasure import append_erasures
from tests.recsys.fit.conftest import CONFIG, ITEMS, LISTS, append

RANDOM = CONFIG + 'split = "random"\n'


def parts_of(path: Path, until: int | None = None) -> Parts:
    config = load(path)
    log = wiring.event_log(config)
    try:
        return read_parts(config, log, until)
    finally:
        log.close()


def impressions(rows: TrainingBatch) -> set[int]:
    return {read_key(key).number for key in rows.keys_B.tolist()}


def every(parts: Parts) -> list[TrainingBatch]:
    return [parts.training, parts.validation, parts.test]


def test_parts_by_time_follow_each_other(path: Path) -> None:
    parts = parts_of(path)
    assert [len(rows) for rows in every(parts)] == [ITEMS * lists for lists in (160, 20, 20)]
    assert parts.training.times_B.max() < parts.validation.times_B.min() == parts.end
    assert parts.validation.times_B.max() < parts.test.times_B.min()


def test_rows_of_before_an_erasure_are_left_out_and_those_of_after_stay(path: Path) -> None:
    log = wiring.event_log(load(path))
    before = ITEMS * log.read(0, 0).events.column("user").to_pylist().count("u3")
    append_erasures(log, ["u3"])
    append(path, LISTS, 100)
    config = load(path)
    (own,) = user_ids(wiring.spec(config), ["u3"])["user"]
    parts = every(parts_of(path))
    assert before > 0
    assert sum(map(len, parts)) == ITEMS * (LISTS + 100) - before
    times = np.concatenate([rows.times_B[rows.ids["user"].values == own] for rows in parts])
    assert times.min() >= 10_000 * LISTS


@pytest.mark.parametrize("split", ["time", "random"])
def test_each_row_is_in_one_part_and_the_rows_of_an_impression_in_the_same(path: Path, split: str) -> None:
    path.write_text(CONFIG + f'split = "{split}"\n')
    found = [impressions(rows) for rows in every(parts_of(path))]
    assert sum(map(len, found)) == len(set.union(*found)) == LISTS
    assert sum(map(len, every(parts_of(path)))) == ITEMS * LISTS


def test_random_parts_have_about_their_shares_and_depend_on_the_seed(path: Path) -> None:
    path.write_text(RANDOM)
    parts = parts_of(path)
    assert parts.end is None
    assert 8 <= len(impressions(parts.test)) <= 36  # 20 expected, within four standard deviations
    path.write_text(RANDOM.replace("[training]", "[training]\nseed = 1"))
    assert impressions(parts_of(path).test) != impressions(parts.test)


def test_a_row_stays_out_of_training_when_the_log_grows(path: Path) -> None:
    path.write_text(RANDOM)
    before = impressions(parts_of(path).test)
    append(path, LISTS, 100)
    assert before < impressions(parts_of(path).test)


def test_until_leaves_out_what_came_later(path: Path) -> None:
    append(path, LISTS, 100)
    assert sum(parts_of(path).rows.values()) == ITEMS * (LISTS + 100)
    assert sum(parts_of(path, until=10_000 * LISTS).rows.values()) == ITEMS * LISTS


def test_labels_are_final(path: Path) -> None:
    """Each shown item is there once, with the click that came after it was first silent."""
    parts = parts_of(path)
    assert all((rows.counted_B == 1).all() for rows in every(parts))
    rows = np.concatenate([rows.labels_B for rows in every(parts)])
    assert rows.sum() == _clicks(path)


def _clicks(path: Path) -> int:
    log = wiring.event_log(load(path))
    events = log.read(0, 0).events
    log.close()
    return int(np.count_nonzero(np.asarray(events.column("action")) == "click"))


def test_a_log_too_short_for_three_parts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recsys.toml"
    path.write_text(CONFIG)
    with pytest.raises(InvalidValueError, match="the log has no impressions to learn from"):
        parts_of(path)
    append(path, 0, 1)
    with pytest.raises(InvalidValueError, match="the training part would be empty: the log has 4 rows"):
        parts_of(path)


def test_shares_must_leave_something_to_train_on(tmp_path: Path) -> None:
    path = tmp_path / "recsys.toml"
    path.write_text(CONFIG + "validation = 0.5\ntest = 0.5\n")
    with pytest.raises(ConfigError, match=r"fit\.test: with validation = 0\.5 nothing is left to train on"):
        load(path)
