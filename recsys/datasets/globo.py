"""Clicks on news of Globo.com: what is read changes by the hour, so a model that does not learn online is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from recsys.datasets.card import Card, Dataset
from recsys.datasets.tables import Ints, lists, strings, table
from recsys.errors import InvalidValueError

WINDOW = 60 * 60 * 1000
CHUNK = 1 << 16
CONTEXT = {
    "environment": "click_environment",
    "device_group": "click_deviceGroup",
    "os": "click_os",
    "country": "click_country",
    "region": "click_region",
    "referrer_type": "click_referrer_type",
}
"""Features of an impression, by the column they come from."""


def globo(path: Path | str, seed: int = 0, start: date | None = None, end: date | None = None) -> Dataset:
    """Clicks from `start` up to and without `end` (days in UTC), each shown beside one item that was not clicked.

    The negative is the item of a click drawn uniformly from the 60 minutes before, so it is as popular and as recent
    as what was clicked. `seed` fixes the draws; they do not depend on `start` and `end`.
    """
    clicks = pa.parquet.read_table(path).combine_chunks()
    times, items = clicks["click_timestamp"].to_numpy(), clicks["click_article_id"].to_numpy()
    negatives = draw_negatives(times, items, seed)
    used = (negatives >= 0) & (times >= _millis(start, 0)) & (times < _millis(end, 1 << 62))
    rows = np.flatnonzero(used)
    if not len(rows):
        raise InvalidValueError(f"{path} has no clicks from {start} to {end}; it begins on {_day(times[0])}")

    def batches() -> Iterator[pa.RecordBatch]:
        first = np.random.default_rng([seed, 1]).random(len(times)) < 0.5
        for part in np.split(rows, range(CHUNK, len(rows), CHUNK)):
            yield from _events(clicks.take(pa.array(part)), items[negatives[part]], first[part], part)

    card = Card(
        name="Globo.com news clicks",
        what="clicks of anonymous users on news articles, with six columns of context",
        made=(
            "impression: the clicked article and one that was not, in random order, at the time of the click; the "
            "other is the article of a click drawn uniformly from those of the previous 60 minutes, the clicked "
            "article excluded",
            "interaction: `click` in the same millisecond; the log does not know how long the list was looked at",
            "left out: clicks before which there is no other article within 60 minutes",
        ),
        counts={
            "clicks": len(rows),
            "left out": int((negatives < 0).sum()),
            "users": pc.count_distinct(clicks["user_id"].take(pa.array(rows))).as_py(),
            "articles": len(np.unique(items[rows])),
            "events": 2 * len(rows),
        },
        start=int(times[rows[0]]),
        end=int(times[rows[-1]]),
        licence="published by Globo.com for research (News Portal User Interactions); not redistributed here",
    )
    return Dataset(card, batches)


def draw_negatives(times: Ints, items: Ints, seed: int, window: int = WINDOW) -> Ints:
    """For every click the row of an earlier one, at most `window` ms before it and of another item; -1 if none.

    `times` must not fall. Drawn again while the item is the clicked one, which is a uniform draw from the others.
    """
    rng = np.random.default_rng([seed, 0])
    rows = np.arange(len(times))
    low = np.searchsorted(times, times - window, side="left")
    drawn = np.full(len(times), -1)
    open_ = rows[low < rows]
    for _ in range(32):
        draw = rng.integers(low[open_], open_)
        good = items[draw] != items[open_]
        drawn[open_[good]] = draw[good]
        open_ = open_[~good]
    for i in open_.tolist():  # a handful, where nearly everybody reads the same
        others = low[i] + np.flatnonzero(items[low[i] : i] != items[i])
        if len(others):
            drawn[i] = rng.choice(others)
    return drawn


def _events(
    clicks: pa.Table, negatives: Ints, clicked_first: npt.NDArray[np.bool_], rows: Ints
) -> Iterator[pa.RecordBatch]:
    clicked = clicks["click_article_id"].to_numpy()
    first, second = np.where(clicked_first, clicked, negatives), np.where(clicked_first, negatives, clicked)
    shown = table(
        "impression",
        id=strings(rows, "g"),
        time=clicks["click_timestamp"],
        user=clicks["user_id"].cast(pa.string()),
        items=lists(strings(np.stack([first, second], axis=1).ravel()), np.full(len(rows), 2)),
        features=_context(clicks),
    )
    click = table(
        "interaction",
        id=strings(rows, "c"),
        time=clicks["click_timestamp"],
        impression=shown["id"],
        item=strings(clicked),
        action="click",
        value=np.ones(len(rows)),
    )
    turns = np.arange(2 * len(rows)).reshape(2, -1).T.ravel()  # impression, its click, next impression, ...
    yield from pa.concat_tables([shown, click]).combine_chunks().take(pa.array(turns)).to_batches(max_chunksize=16_384)


def _context(clicks: pa.Table) -> pa.Array:
    parts: list[object] = []
    for i, (name, column) in enumerate(CONTEXT.items()):
        parts += [f'{"," if i else "{"}"{name}":', clicks[column].cast(pa.string())]
    return pc.binary_join_element_wise(*parts, "}", "").cast(pa.binary())


def _millis(day: date | None, default: int) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000) if day else default


def _day(millis: int) -> str:
    return datetime.fromtimestamp(int(millis) / 1000, UTC).date().isoformat()
