"""Impressions that wait in files of a folder: the same labels and states as in memory, to the byte."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding.mapped_arrays import mapped_zeros
from recsys import wiring
from recsys.config.file import load
from recsys.errors import FileError
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from streaming.join.joiner import Joiner, LabelRule
from streaming.join.label_columns import LabelColumns

WAIT, LATENESS, EVENTS = 3_000, 100, 6_000


def shown(number: int, time: int) -> Impression:
    items = [f"item {number % 7}.{n}" for n in range(1 + number % 5)]
    return Impression(id=f"{number}", time=time, user=f"user {number % 50}", items=items, features={"n": number})


def stream() -> Iterator[Event]:
    """Clicks of every age come, some before their impression; now and then the clock jumps and windows close."""
    rng, time = np.random.default_rng(0), 1_000_000
    for n in range(EVENTS):
        time += 1 if n % 1_000 else WAIT
        if rng.random() < 0.5:
            yield shown(n, time - int(rng.integers(LATENESS)))
        else:
            of = max(0, n - int(rng.integers(-5, 1_200)))
            yield Interaction(time=time, impression=f"{of}", item=f"item {of % 7}.{int(rng.integers(3))}")


def facts(labels: LabelColumns) -> list[Any]:
    return [repr(impression) for impression in labels.impressions()]


@pytest.mark.parametrize("labels", ["paced", "held"])
def test_files_change_nothing_wherever_it_is_saved(tmp_path: Path, labels: Any) -> None:
    make = partial(Joiner, LabelRule(), WAIT, LATENESS, labels=labels)
    memory, files = make(), make(zeros=partial(mapped_zeros, tmp_path))
    events = list(stream())
    for start, stop in pairwise(range(0, EVENTS + 1, 500)):
        piece = encode_events(events[start:stop])
        assert facts(files.join(piece)) == facts(memory.join(piece))
        state = files.state()
        assert state == memory.state()
        files = make(zeros=partial(mapped_zeros, tmp_path))
        files.restore(state)
        assert not list(tmp_path.iterdir()), "files have no name, so that a kill leaves none"
    assert files.forget("user 3") == memory.forget("user 3") > 0
    assert facts(files.close()) == facts(memory.close())
    assert files.counts == memory.counts
    assert memory.counts["joined"] > 300
    assert memory.counts["late"] > 100
    assert memory.tallies["closed_early"] == 0


def test_what_waits_is_not_in_memory(tmp_path: Path) -> None:
    made: list[int] = []

    def zeros(n: int, dtype: np.dtype[Any]) -> Any:
        made.append(n * dtype.itemsize)
        return mapped_zeros(tmp_path, n, dtype)

    joiner = Joiner(LabelRule(), WAIT, LATENESS, zeros=zeros)
    joiner.join(encode_events([shown(n, 1_000_000) for n in range(1_000)]))
    kept = "opened", "acted", "keys", "key_places", "key_texts", "waiting", "due", "held", "closed", "texts", "numbers"
    assert len(joiner._tables.opened)
    for name in kept:
        table = getattr(joiner._tables, name)
        assert table.nbytes in made or not len(table), name


def test_a_full_disk_is_named_and_training_goes_on_from_the_state_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recsys.toml").write_text('[training]\npending_folder = "pending"\n')
    config = load(tmp_path / "recsys.toml")
    joiner, whole = wiring.joiner(config), wiring.joiner(config)
    pieces = [encode_events([shown(n, 1_000_000) for n in range(start, start + 300)]) for start in (0, 300)]
    joiner.join(pieces[0])
    state, full = joiner.state(), []

    def no_room(*_: object) -> None:
        full.append(1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("embedding.mapped_arrays._reserve", no_room)
        with pytest.raises(FileError, match=r"training\.pending_folder: .*pending.*: No space left on device"):
            joiner.join(pieces[1])
    assert full
    joiner = wiring.joiner(config)
    joiner.restore(state)
    joiner.join(pieces[1])
    for piece in pieces:
        whole.join(piece)
    assert joiner.state() == whole.state()
    assert joiner.counts["impressions"] == 600
