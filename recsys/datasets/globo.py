"""Clicks on Globo.com news. Articles are read for a few hours, so a model must learn online to stay up to date.

Shape suffixes: P pairs of clicks.
"""

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
from recsys.datasets.event_batches import Ints, lists, strings, table
from recsys.errors import InvalidValueError
from streaming.ingest.shapes.pairs import draw_pairs

WINDOW = 60 * 1000
"""Longest time (ms) between the two clicks of a pair."""
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
    """Clicks from `start` to before `end` (days in UTC), each shown beside one article that was not clicked.

    The log contains positives only. Negatives are made by pairing clicks, see `draw_negatives`. `seed` fixes the
    draws; they do not depend on `start` and `end`. Raises InvalidValueError if there are no clicks in that time.
    """
    clicks = pa.parquet.read_table(path).combine_chunks()
    times, users, items = (clicks[name].to_numpy() for name in ("click_timestamp", "user_id", "click_article_id"))
    negatives = draw_negatives(times, users, items, seed)
    chosen = (times >= millis(start, 0)) & (times < millis(end, 1 << 62))
    used = negatives >= 0
    rows = np.flatnonzero(chosen & used)
    if not len(rows):
        raise InvalidValueError(f"{path} has no clicks from {start} to {end}; it begins on {_day(times[0])}")

    def batches() -> Iterator[pa.RecordBatch]:
        first = np.random.default_rng([seed, 1]).random(len(times)) < 0.5
        for part in np.split(rows, range(CHUNK, len(rows), CHUNK)):
            yield from _events(clicks.take(pa.array(part)), items[negatives[part]], first[part], part)

    counts = {
        "clicks": len(rows),
        "clicks in no pair": int((chosen & ~used).sum() - chosen[negatives[used]].sum()),
        "users": len(np.unique(users[rows])),
        "articles": len(np.unique(items[rows])),
        "events": 2 * len(rows),
    }
    return Dataset(_card(counts, int(times[rows[0]]), int(times[rows[-1]])), batches)


def draw_negatives(times: Ints, users: Ints, items: Ints, seed: int) -> Ints:
    """For each click, the row of the click whose article is shown beside it, or -1 if the click is not used.

    Clicks are paired by `draw_pairs`, at most `WINDOW` ms apart. `times` (ms) must be in ascending order.
    """
    used_P2 = draw_pairs(times, users, items, WINDOW, [seed, 0])
    negatives = np.full(len(times), -1)
    negatives[used_P2[:, 0]] = used_P2[:, 1]
    return negatives


def _card(counts: dict[str, int], start: int, end: int) -> Card:
    return Card(
        name="Globo.com news clicks",
        what="clicks of anonymous users on news articles, with six columns of context",
        made=(
            "impression: clicks of different users on different articles, at most a minute apart, are paired, each "
            "click once. A fair coin decides which click of a pair is used: its impression shows both articles in "
            "random order. The other article counts as not clicked, and its click is left out. So every article is "
            "shown as often as it was clicked, and its popularity, its age and how often it was shown before do not "
            "predict the label",
            "publication: the log does not have it. An article can be shown up to a minute before its first click, "
            "which assumes that it was online by then",
            "interaction: `click` in the same millisecond; the log does not know how long the list was looked at",
        ),
        counts=counts,
        start=start,
        end=end,
        licence="published by Globo.com for research (News Portal User Interactions); not redistributed here",
    )


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


def millis(day: date | None, default: int) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000) if day else default


def _day(millis: int) -> str:
    return datetime.fromtimestamp(int(millis) / 1000, UTC).date().isoformat()
