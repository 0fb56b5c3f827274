"""How long clicks take to come, so that silence can be learned at their pace.

Suffixes: B bins of the delay, E edges of bins (B + 1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

import msgspec
import numpy as np
import numpy.typing as npt

from streaming.join.tables import kernels
from streaming.join.tables.layout import new_delay_counts, with_room_for_lists

BINS = 48
SHORTEST = 100
"""Upper edge of the first bin, in ms."""
ENOUGH = 20
"""Clicks before an estimate is made, and items that must have reached a delay before its clicks are believed."""
MOVED = 0.05
"""Change of the distribution, or of the rate as a share of it, at which ages are drawn anew."""
SCALES = np.geomspace(1 / 32, 4, 48)
"""Guesses of the scale of delays, as shares of the longest known one: from 4 on, what is known is flat for all."""
SPREADS = (0.75, 1.0, 1.5)
"""Guesses of the standard deviation of the logarithm of log-normal delays."""
MEMORY = 1 << 17
"""Closed items after which all counts of the closed are halved: older traffic fades."""
DRAWS = 1024
"""Number of distinguished ages, a power of 2."""
REFRESH = 256
"""Least number of lists between two estimates; with many lists open, a sixteenth of them. While so many are open,
a sixteenth of the age of the oldest one brings an estimate, too: what came in a burst is learned after it."""
_NEVER = np.iinfo(np.int64).max

_MIDDLES = (np.arange(DRAWS) + 0.5) / DRAWS


def draws(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The draws, among `DRAWS`, of impressions, from a hash of each one's id, so that they are repeatable."""
    return hashes >> np.uint64(64 - DRAWS.bit_length() + 1)


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
    estimate_at: int = 0


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
        edges_E = np.concatenate([[0.0], np.geomspace(SHORTEST, longest, BINS)])
        self.counts = new_delay_counts(edges_E, DRAWS, memory=MEMORY)
        """What kernels count; lists before the tally's `first` are closed, and forgotten when room is needed."""
        self._middles_B = (edges_E[1:] + edges_E[:-1]) / 2
        self._wait = wait
        self._cumulative_E: list[float] = []
        """Share of shown items that are clicked within each edge; empty without an estimate."""
        self._noted_E: list[float] = []

    @property
    def rate(self) -> float:
        """Estimated share of shown items that are clicked within `wait`; 0 without an estimate."""
        return self._cumulative_E[-1] if self._cumulative_E else 0.0

    def reserve(self, lists: int) -> None:
        """Make room for so many lists more."""
        self.counts = with_room_for_lists(self.counts, lists)

    def estimate(self, clock: int) -> None:
        """Estimate anew, as is due when the clock has passed the tally's `estimate_at`, and before a list is shown when
        `until_estimate` is 0.
        """
        tally = self.counts.tally[0]
        self._refresh(clock)
        first, lists = int(tally["first"]), int(tally["lists"])
        tally["until_estimate"] = max(REFRESH, (lists - first) // 16)
        step = max(1, (clock - int(self.counts.clocks[first])) // 16) if lists - first >= REFRESH else _NEVER
        tally["estimate_at"] = min(clock + step, _NEVER)

    def bin(self, delay: int) -> int:
        """Number of the bin of a delay."""
        return int(kernels.bin_of(self.counts, delay))

    def shown(self, clock: int, items: int) -> None:
        """A list was shown; clocks do not fall."""
        self.reserve(1)
        tally = self.counts.tally[0]
        if tally["until_estimate"] <= 0 or clock > tally["estimate_at"]:
            self.estimate(clock)
        kernels.list_shown(self.counts, clock, items)

    def clicked(self, bin_: int) -> None:
        """An item of an open list was clicked."""
        self.counts.open_clicks_B[bin_] += 1

    def closed(self, items: int, bins: Iterable[int]) -> None:
        """The window of a list, about the one shown longest ago, is over; `bins` are those of its clicks."""
        kernels.list_closed(self.counts, items)
        for bin_ in bins:
            kernels.click_closed(self.counts, bin_)
        kernels.fade(self.counts)

    def age(self, draw: float) -> int:
        """The age (ms) at which the silence of a list is learned, from a draw in [0, 1)."""
        return int(self.counts.ages[int(draw * DRAWS)])

    def draw_ages(self) -> npt.NDArray[np.int64]:
        """The age of each of `DRAWS` equal parts of [0, 1): H^-1 at their middles; 0 without an estimate."""
        if not self._cumulative_E:
            return np.zeros(DRAWS, np.int64)
        shares = self.rate * (1 - _MIDDLES) / (1 - self.rate * _MIDDLES)
        ages = np.minimum(np.interp(shares, self._cumulative_E, self.counts.edges_E), self._wait)
        return ages.astype(np.int64)

    def state(self) -> bytes:
        """All that `restore` needs."""
        d, tally = self.counts, self.counts.tally[0]
        first, lists = int(tally["first"]), int(tally["lists"])
        state = _DelaysState(
            d.clicks_B.tolist(),
            d.open_clicks_B.tolist(),
            float(tally["closed"]),
            d.clocks[first:lists].tobytes(),
            d.totals[first : lists + 1].tobytes(),
            int(tally["until_estimate"]),
            self._cumulative_E,
            self._noted_E,
            int(tally["version"]),
            int(tally["estimate_at"]),
        )
        return msgspec.msgpack.encode(state)

    def restore(self, state: bytes) -> None:
        """Restore what `state` returned. Raises msgspec.DecodeError when it is something else."""
        loaded = msgspec.msgpack.decode(state, type=_DelaysState)
        clocks, totals = (np.frombuffer(part, np.int64) for part in (loaded.clocks, loaded.totals))
        tally = self.counts.tally[0]
        tally["lists"] = tally["first"] = 0
        self.reserve(len(clocks))
        d = self.counts
        d.clocks[: len(clocks)], d.totals[: len(totals)] = clocks, totals
        d.clicks_B[:], d.open_clicks_B[:] = loaded.clicks, loaded.open_clicks
        tally["closed"], tally["lists"], tally["version"] = loaded.closed, len(clocks), loaded.version
        tally["until_estimate"], tally["estimate_at"] = loaded.until_refresh, loaded.estimate_at
        self._cumulative_E, self._noted_E = loaded.cumulative, loaded.noted
        d.ages[:] = self.draw_ages()

    def _refresh(self, clock: int) -> None:
        clicks_B = self.counts.clicks_B + self.counts.open_clicks_B
        if clicks_B.sum() < ENOUGH:
            return
        reached_B = self.counts.tally[0]["closed"] + self._open_items(clock - self._middles_B)
        known = int(np.count_nonzero(reached_B >= ENOUGH))  # the first ones: longer delays were reached by fewer
        if not known:
            return
        incidence_B = np.zeros(BINS)
        incidence_B[:known] = clicks_B[:known] / reached_B[:known]
        if known < BINS:
            incidence_B[known:] = self._beyond(clicks_B[:known], reached_B[:known])
        total = float(incidence_B.sum())
        if total > 0:
            shares_B = incidence_B * min(1.0, 0.99 / total)
            self._cumulative_E = [0.0, *np.cumsum(shares_B).tolist()]
            self.counts.ages[:] = self.draw_ages()
            if self._moved():
                self.counts.tally[0]["version"] += 1
                self._noted_E = self._cumulative_E

    def _beyond(self, clicks_K: npt.NDArray[np.float64], reached_K: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Guess of the incidence in the bins after the K known ones: exponential and log-normal delays, averaged.

        Clicks of a bin are Poisson with mean reached * p * q, q being the bin's share of one of the distributions (S)
        of `_shares`, all equally likely beforehand; p has its most likely value for each.
        """
        known = len(clicks_K)
        shares_SB = _shares(tuple(self.counts.edges_E.tolist()), known)
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
        tally = self.counts.tally[0]
        first, lists = int(tally["first"]), int(tally["lists"])
        totals = self.counts.totals[first : lists + 1]
        reached_B = self.counts.clocks[first:lists].searchsorted(until_B, side="right")
        return np.asarray(totals[reached_B] - totals[0], np.float64)


@cache
def _shares(edges_E: tuple[float, ...], known: int) -> npt.NDArray[np.float64]:
    """The share of each bin of exponential delays and, for each of `SPREADS`, of log-normal ones, [S, B], whose scale
    (mean, median) is one of `SCALES` of the edge of the `known` bins.
    """
    by_scale_SE = np.array(edges_E) / (edges_E[known] * SCALES[:, None])
    logs_SE = np.log(np.maximum(by_scale_SE, 1e-300)) / math.sqrt(2)
    erf = np.vectorize(math.erf)
    cumulative = [1 - np.exp(-by_scale_SE), *((1 + erf(logs_SE / spread)) / 2 for spread in SPREADS)]
    return np.diff(np.concatenate(cumulative))
