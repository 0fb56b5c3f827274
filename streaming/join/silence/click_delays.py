"""How long clicks take to come, so that silence can be learned at their pace.

Suffixes: B bins of the delay, E edges of bins (B + 1).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from typing import cast

import msgspec
import numpy as np
import numpy.typing as npt

BINS = 48
SHORTEST = 100
"""Upper edge of the first bin, in ms."""
ENOUGH = 20
"""Clicks before an estimate is made, and items that must have reached a delay before its clicks are believed."""
MOVED = 0.05
"""Change of the distribution, or of the rate as a share of it, at which ages are drawn anew."""
SCALES = np.geomspace(1 / 32, 4, 48)
"""Guesses of the scale of delays, as shares of the longest known one: from 4 on, what is known is flat for all."""
MEMORY = 1 << 17
"""Closed items after which all counts of the closed are halved: older traffic fades."""
DRAWS = 1024
"""Number of distinguished ages."""
REFRESH = 256
"""Least number of lists between two estimates; with many lists open, a sixteenth of them."""

_MIDDLES = (np.arange(DRAWS) + 0.5) / DRAWS


class _DelaysState(msgspec.Struct):
    clicks: list[float]
    open_clicks: list[int]
    closed: float
    clocks: bytes
    totals: bytes
    until_refresh: int
    cumulative: list[float]
    noted: list[float]
    version: int


class ClickDelays:
    r"""The distribution of the time from an item's being shown to its click, and the age to learn silence at.

    Let p be the share of shown items that are clicked within `wait`, and F the distribution function of the delay of
    those clicks. Clicks of items shown at one moment become known at the rate p f(a) at age a. If their silence is
    learned at an age A with the survival function

        H(a) = P(A > a) = (1 - F(a)) / (1 - p F(a)),

    given no click until then, then items enter the model's negative part at the rate f(a), clicked or not: at every
    moment and under any traffic positives and items learned are in the proportion p : 1. (Let n = H (1 - p F) be the
    share of items of age a that have neither been clicked nor learned as silent. They leave it at the rate -n' = f, so
    n = 1 - F.)

    p and F are estimated from windows that are closed and those still open: the clicks of each bin of delay over the
    items that have reached it, so that neither a burst nor the end of the log tilts them (Kaplan and Meier 1958, for
    incidence). Delays that no item has reached yet, in the first window of a log, are guessed: as exponential ones.
    When an estimate moves, ages are drawn anew.
    Until `ENOUGH` clicks came, silence is learned at once. Ages are on the joiner's clock, in ms.

    >>> delays = ClickDelays(wait=1_000_000)
    >>> delays.age(0.5)  # no click yet
    0
    >>> for i in range(2000):
    ...     delays.shown(i * 1000, items=2)
    ...     delays.clicked(delays.bin(60_000))
    >>> 20_000 < delays.age(0.5) < 80_000
    True
    """

    def __init__(self, wait: int) -> None:
        longest = max(wait, SHORTEST + 1)
        edges = np.concatenate([[0.0], np.geomspace(SHORTEST, longest, BINS)])
        self._edges_E: list[float] = edges.tolist()
        self._middles_B = (edges[1:] + edges[:-1]) / 2
        self._wait = wait
        self._clicks_B = [0.0] * BINS
        self._open_clicks_B = [0] * BINS
        self._closed = 0.0
        self._total = self._first = 0
        self._clocks, self._totals = array("q"), array("q", [0])
        """Clock of each list, and the items shown before it and after the last; those from `_first` on are open."""
        self._ages = [0] * DRAWS
        self._until_refresh = 0
        self._cumulative_E: list[float] = []
        """Share of shown items that are clicked within each edge; empty without an estimate."""
        self._noted_E: list[float] = []
        self.version = 0
        """Rises when the estimate has moved so far that ages should be drawn anew."""

    @property
    def rate(self) -> float:
        """Estimated share of shown items that are clicked within `wait`; 0 without an estimate."""
        return self._cumulative_E[-1] if self._cumulative_E else 0.0

    def bin(self, delay: int) -> int:
        """Number of the bin of a delay."""
        return bisect_right(self._edges_E, delay, 0, BINS) - 1

    def shown(self, clock: int, items: int) -> None:
        """A list was shown; clocks do not fall."""
        if self._until_refresh <= 0:
            self._refresh(clock)
            self._until_refresh = max(REFRESH, (len(self._clocks) - self._first) // 16)
        self._until_refresh -= 1
        self._clocks.append(clock)
        self._total += items
        self._totals.append(self._total)

    def clicked(self, bin_: int) -> None:
        """An item of an open list was clicked."""
        self._open_clicks_B[bin_] += 1

    def closed(self, items: int, bins: Iterable[int]) -> None:
        """The window of a list, about the one shown longest ago, is over; `bins` are those of its clicks."""
        self._first += 1
        if self._first > len(self._clocks) // 2 + REFRESH:
            del self._clocks[: self._first], self._totals[: self._first]
            self._first = 0
        self._closed += items
        for bin_ in bins:
            self._open_clicks_B[bin_] -= 1
            self._clicks_B[bin_] += 1
        if self._closed > MEMORY:
            self._closed /= 2
            self._clicks_B = [clicks / 2 for clicks in self._clicks_B]

    def age(self, draw: float) -> int:
        """The age (ms) at which the silence of a list is learned, from a draw in [0, 1)."""
        return self._ages[int(draw * DRAWS)]

    def _draw_ages(self) -> list[int]:
        """The age of each of `DRAWS` equal parts of [0, 1): H^-1 at their middles."""
        shares = self.rate * (1 - _MIDDLES) / (1 - self.rate * _MIDDLES)
        ages = np.minimum(np.interp(shares, self._cumulative_E, self._edges_E), self._wait)
        return cast("list[int]", ages.astype(np.int64).tolist())

    def state(self) -> bytes:
        """All that `restore` needs."""
        state = _DelaysState(
            self._clicks_B,
            self._open_clicks_B,
            self._closed,
            self._clocks[self._first :].tobytes(),
            self._totals[self._first :].tobytes(),
            self._until_refresh,
            self._cumulative_E,
            self._noted_E,
            self.version,
        )
        return msgspec.msgpack.encode(state)

    def restore(self, state: bytes) -> None:
        """Restore what `state` returned. Raises msgspec.DecodeError when it is something else."""
        loaded = msgspec.msgpack.decode(state, type=_DelaysState)
        self._clicks_B, self._open_clicks_B = loaded.clicks, loaded.open_clicks
        self._closed, self._first = loaded.closed, 0
        self._clocks, self._totals = array("q", loaded.clocks), array("q", loaded.totals)
        self._total = self._totals[-1]
        self._until_refresh, self._cumulative_E = loaded.until_refresh, loaded.cumulative
        self._noted_E, self.version = loaded.noted, loaded.version
        self._ages = self._draw_ages() if self._cumulative_E else [0] * DRAWS

    def _refresh(self, clock: int) -> None:
        clicks_B = np.array(self._clicks_B) + np.array(self._open_clicks_B)
        if clicks_B.sum() < ENOUGH:
            return
        reached_B = self._closed + self._open_items(clock - self._middles_B)
        known = int(np.count_nonzero(reached_B >= ENOUGH))  # the first ones: longer delays were reached by fewer
        if not known:
            return
        incidence_B = np.zeros(BINS)
        incidence_B[:known] = clicks_B[:known] / reached_B[:known]
        incidence_B[known:] = self._beyond(clicks_B[:known], reached_B[:known])
        total = float(incidence_B.sum())
        if total > 0:
            shares_B = incidence_B * min(1.0, 0.99 / total)
            self._cumulative_E = [0.0, *np.cumsum(shares_B).tolist()]
            self._ages = self._draw_ages()
            if self._moved():
                self.version += 1
                self._noted_E = self._cumulative_E

    def _beyond(self, clicks_K: npt.NDArray[np.float64], reached_K: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Guess of the incidence in the bins after the K known ones: exponential delays, averaged over their scale.

        Clicks of a bin are Poisson with mean reached * p * q, q being the bin's share of an exponential distribution
        whose scale is one of `SCALES` (S), all equally likely beforehand; p has its most likely value for each.
        """
        edges_E, known = np.array(self._edges_E), len(clicks_K)
        scales_S = edges_E[known] * SCALES
        shares_SB = -np.diff(np.exp(-edges_E / scales_S[:, None]))
        expected_S = shares_SB[:, :known] @ reached_K
        fit_S = np.log(shares_SB[:, :known] + 1e-300) @ clicks_K - clicks_K.sum() * np.log(expected_S)
        weights_S = np.exp(fit_S - fit_S.max())
        rates_S = clicks_K.sum() / expected_S
        return np.asarray((weights_S * rates_S) @ shares_SB[:, known:] / weights_S.sum())

    def _moved(self) -> bool:
        """Whether the share learned by some age, or the rate, is off by `MOVED` since the last note."""
        if not self._noted_E:
            return True
        now_E, then_E = np.array(self._cumulative_E), np.array(self._noted_E)
        share = np.abs(now_E / now_E[-1] - then_E / then_E[-1]).max()
        return bool(max(share, abs(now_E[-1] / then_E[-1] - 1)) > MOVED)

    def _open_items(self, until_B: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """How many items of open lists were shown until each of these clocks."""
        clocks, totals = (np.frombuffer(open_, np.int64)[self._first :] for open_ in (self._clocks, self._totals))
        reached_B = clocks.searchsorted(until_B, side="right")
        return np.asarray(totals[reached_B] - totals[0], np.float64)
