"""The training, validation and test part of a log.

Shape suffixes: R rows of the whole log.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from embedding.hashing import salt_of, uniform
from recsys import wiring
from recsys.config.schema import Config
from recsys.config.sections.learning.fit import FitSection
from recsys.errors import InvalidValueError
from recsys.unlearned import REMEDY, not_learned
from streaming.encode.batch import TrainingBatch
from streaming.encode.row_keys import impression_numbers
from streaming.encode.user_rows import without_users
from streaming.feed import Feed
from streaming.log.event_log import EventLog

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Parts:
    """Rows with their final labels. The event time of all rows of a part, `now`, is when its last one was shown."""

    training: TrainingBatch
    validation: TrainingBatch
    test: TrainingBatch
    end: int | None
    """The event time (ms) before which the training part was shown; None if it is from the whole log."""

    @property
    def rows(self) -> dict[str, int]:
        """Number of rows of each part."""
        return {name: len(getattr(self, name)) for name in ("training", "validation", "test")}


def read_parts(config: Config, log: EventLog, until: int | None = None) -> Parts:
    """The parts of the rows that `read_rows` reads. Raises InvalidValueError if a part would be empty."""
    return split(read_rows(config, log, until), config.fit, config.training.seed)


def read_rows(config: Config, log: EventLog, until: int | None = None) -> TrainingBatch:
    """Read the log, up to the first event at the time `until` (ms) or later; all rows are in memory.

    A label is final: what the window of its impression came to, and for windows still open at the end, what was known
    by then. Rows of users who were erased after them are left out. Raises InvalidValueError if there are none.
    """
    feed = wiring.feed(config, log, labels="held")
    batches = _known(feed, until)
    if not batches:
        raise InvalidValueError(_nothing(feed, 1 + len(config.tasks)))
    return TrainingBatch.concat(batches)


def _known(feed: Feed, until: int | None) -> list[TrainingBatch]:
    """The batches of the log, without what came before the erasure of its user."""
    read: list[TrainingBatch | list[str]] = []
    for batches in (feed.poll(until=until), feed.finish()):
        for batch in batches:
            read += feed.take_erased(), batch
        read.append(feed.take_erased())
    erased: list[str] = []
    known: list[TrainingBatch] = []
    for one in reversed(read):
        if isinstance(one, list):
            erased += one
        elif len(rows := without_users(one, feed.encoder.spec, erased) if erased else one):
            known.append(rows)
    return known[::-1]


def split(rows: TrainingBatch, section: FitSection, seed: int) -> Parts:
    """The parts of all rows; the rows of one impression are in one part. Raises InvalidValueError if one is empty."""
    if section.split == "time":
        end, validated_R, tested_R = _by_time(rows, section)
    else:
        end, validated_R, tested_R = None, *_by_hash(rows, section, seed)
    masks = {"training": ~(validated_R | tested_R), "validation": validated_R, "test": tested_R}
    for name, mask_R in masks.items():
        if not mask_R.any():
            raise InvalidValueError(
                f"the {name} part would be empty: the log has {len(rows)} rows. Ingest more events, or change "
                "validation and test in [fit]"
            )
    parts = {name: rows.take(np.flatnonzero(mask_R)) for name, mask_R in masks.items()}
    return Parts(**{name: replace(part, now=int(part.times_B.max())) for name, part in parts.items()}, end=end)


def _by_time(rows: TrainingBatch, section: FitSection) -> tuple[int, Mask, Mask]:
    """End of the training part, and which rows are of the validation and of the test part."""
    times_R = np.sort(rows.times_B[rows.tasks_B == 0])
    end, last = (
        int(times_R[int((1 - share) * len(times_R))]) for share in (section.validation + section.test, section.test)
    )
    return end, (rows.times_B >= end) & (rows.times_B < last), rows.times_B >= last


def _by_hash(rows: TrainingBatch, section: FitSection, seed: int) -> tuple[Mask, Mask]:
    """Which rows are of the validation and of the test part, by the number of their impression in the log."""
    numbers_R = impression_numbers(rows.keys_B).astype(np.uint64)
    drawn_R = uniform(numbers_R, salt_of(seed, "fit"), step=0)
    tested_R = drawn_R < section.test
    return (drawn_R < section.test + section.validation) & ~tested_R, tested_R


def _nothing(feed: Feed, tasks: int) -> str:
    words = not_learned(feed.joiner.counts, tasks)
    lost = f". Not learned from: {words}: {REMEDY}" if words else ""
    return f"the log has no impressions to learn from; ingest some, with their interactions{lost}"
