"""How long after a list something was done with its items, and which `[training] wait` follows from it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from recsys.config.units import milliseconds, written
from recsys.proposal.mappings.mapping import Noted
from streaming.events.columns import IMPRESSION, INTERACTION, kinds

_SPANS: Final = ("1h", "2h", "3h", "6h", "12h", "1d", "2d", "3d", "7d", "14d", "30d")
_FEW: Final = 0.01
"""Share of late clicks up to which the wait is long enough: a longer one holds every list for their sake."""


def delays(events: Iterable[pa.RecordBatch], actions: Collection[str]) -> npt.NDArray[np.int64]:
    """Milliseconds from each list to what was done with it, of interactions with one of the actions."""
    shown: dict[str, int] = {}
    done: list[tuple[str, int]] = []
    for batch in events:
        kinds_N = kinds(batch)
        lists = batch.select(["id", "time"]).filter(pa.array(kinds_N == IMPRESSION)).to_pydict()
        shown |= dict(zip(lists["id"], lists["time"], strict=True))
        acted = batch.select(["impression", "time", "action"]).filter(pa.array(kinds_N == INTERACTION)).to_pylist()
        done += [(one["impression"], one["time"]) for one in acted if one["action"] in actions]
    found = (time - shown[name] for name, time in done if name in shown)
    return np.fromiter(found, np.int64)


def longer_wait(delays: npt.NDArray[np.int64], wait: int) -> Noted | None:
    """A wait (ms) within which 99 % of the clicks come, if more than one in a hundred comes after `wait`; None else.

    >>> longer_wait(np.array([60_000] * 90 + [5 * 3_600_000] * 10), 30 * 60_000)
    Noted(value='6h', note='10.0% of the clicks come later than the default, 30m, after their list; 99% come within 5h')
    """
    late = float(np.mean(delays > wait)) if len(delays) else 0.0
    if late <= _FEW:
        return None
    most = int(np.percentile(delays, 99, method="higher"))
    span = next((span for span in _SPANS if milliseconds(span) >= most), None)
    if span is None:
        return None
    unit = 3_600_000 if most >= milliseconds("2h") else 60_000
    within = written(-(-most // unit) * unit)
    later = f"{late:.1%} of the clicks come later than the default, {written(wait)}, after their list"
    return Noted(span, f"{later}; 99% come within {within}")
