"""The curve of clicks against returns, where it is known: what is clicked most brings nobody back."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from recsys.datasets.globo_returns import DAY, RETURN
from recsys.errors import InvalidValueError
from recsys.fit.studies.returns_result import ReturnsResult
from recsys.fit.studies.returns_study import SCORES, SETTINGS, JudgedDays, ReturnsStudy
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import encode_events
from tests.test_docs import ROOT

LISTS = 400
"""A day."""
START = 1_760_054_400_000
CLICKED = {"bait": 0.7, "good": 0.3}


def events() -> Iterator[Event]:
    """Of two lists in three whose click is on the good article, the reader is back on the next day."""
    draw = np.random.default_rng(0)
    for number in range(4 * LISTS):
        time, clicked = START + number * DAY // LISTS, "bait" if draw.random() < CLICKED["bait"] else "good"
        items = ["bait", "good"] if draw.random() < 0.5 else ["good", "bait"]
        yield Impression(id=f"g{number}", time=time, user=f"u{draw.integers(50)}", items=items)
        yield Interaction(time=time, impression=f"g{number}", item=clicked)
        if clicked == "good" and number % 3:
            yield Interaction(time=time + DAY // 2, impression=f"g{number}", item=clicked, action=RETURN)


@pytest.fixture(scope="module")
def period() -> JudgedDays:
    made = sorted(events(), key=lambda event: event.time)
    return JudgedDays(pa.Table.from_batches([encode_events(made)]), START + 3 * DAY, {"from": "today"})


@pytest.mark.slow
def test_weight_of_returns_takes_clicks_and_brings_readers_back(period: JudgedDays) -> None:
    quick = SETTINGS.replace("batch_size = 256", "batch_size = 16\ndense_lr = 0.01\nsparse_lr = 0.1")
    study = ReturnsStudy(period, 2, quick)
    rows = study.rows(study.empty(), lambda _doing: None)
    first = next(rows)
    assert first.lists == LISTS
    points = {point.by: point for point in first.points}
    assert list(points) == list(SCORES)
    assert points["click"].clicks == pytest.approx(0.7, abs=0.05)
    assert points["click"].returns == 0.0
    assert points["return"].clicks == pytest.approx(0.3, abs=0.05)
    assert points["return"].returns == pytest.approx(0.2, abs=0.05)

    part = msgspec.structs.replace(study.empty(), rows=(first,))
    (second,) = study.rows(ReturnsResult.from_json(part.to_json()), lambda _doing: None)
    assert (first.seed, second.seed) == (0, 1)
    whole = msgspec.structs.replace(part, rows=(first, second))
    assert len(whole.table()) == 1 + len(SCORES)
    assert "click + 10 return" in whole.plot()
    with pytest.raises(InvalidValueError, match="other settings"):
        list(ReturnsStudy(period, 2).rows(part, lambda _doing: None))


def test_the_table_of_the_page_is_that_of_the_result() -> None:
    folder = ROOT / "docs/results/returns"
    result = ReturnsResult.from_json((folder / "returns.json").read_bytes())
    assert result.settings == SETTINGS
    assert result.markdown() == (folder / "returns.md").read_text("utf-8")
    assert result.markdown() in (ROOT / "docs/models.md").read_text("utf-8")
