"""Exact confidence sequences of a share: of users who each count once, as 1 or 0, and then never change.

A gambler who bets on every user against a share `p` has, when p is right, a capital that is 1 in the mean at all times,
and reaches 1 / alpha with a probability of at most alpha (Ville). The sequence has the shares against which no more was
won (Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, 2024; Robbins 1970). Of ones and
zeros the mean capital of all constant bets has a closed form, here with Jeffreys' prior, whose bets are those of
Krichevsky and Trofimov (1981): only sums are needed, no number of users is too small, and nothing is asymptotic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, lgamma, log, sqrt

from serving.experiments.inference.intervals import Interval

_PRIOR = 0.5
_HALVINGS = 60
_STEEPEST = 60.0
"""Logarithm of the largest slope that is looked at."""


@dataclass(frozen=True, slots=True)
class UserShare:
    """`ones` of `users`."""

    users: int
    ones: int

    def capital(self, p: float) -> float:
        """Logarithm of what was won against the share `p`, a convex function of it."""
        zeros = self.users - self.ones
        won = _log_beta(_PRIOR + self.ones, _PRIOR + zeros) - _log_beta(_PRIOR, _PRIOR)
        return won - _times_log(self.ones, p) - _times_log(zeros, 1 - p)

    def at_slope(self, slope: float) -> float:
        """The share at which the capital grows by `slope`: the root of users p - ones = slope p (1 - p)."""
        if not slope:
            return self.ones / self.users
        half = (self.users - slope) / 2
        root = self._root(slope)
        if half > 0:
            return self.ones / (half + root)
        return min((root - half) / slope, 1.0)

    def _root(self, slope: float) -> float:
        """Of (users - slope)^2 / 4 + slope ones, as a sum of what is not negative: a difference may round below 0."""
        if slope > 0:
            return sqrt(((self.users - slope) / 2) ** 2 + slope * self.ones)
        return sqrt(((self.users + slope) / 2) ** 2 - slope * (self.users - self.ones))

    def interval(self, alpha: float) -> Interval:
        """Confidence sequence: it covers the share at all times at once with probability 1 - alpha."""
        if not self.users:
            return 0.0, 1.0
        return self._end(alpha, -1), self._end(alpha, 1)

    def _end(self, alpha: float, sign: int) -> float:
        return self.at_slope(sign * _slope(lambda slope: self.capital(self.at_slope(sign * slope)), alpha))


def difference_interval(treatment: UserShare, control: UserShare, alpha: float) -> Interval:
    """Confidence sequence of the treatment's share less the control's.

    Users of both are independent, so the product of the capitals against both shares is a capital, too. The sequence
    has the differences of all pairs of shares against which it has not won enough; the pairs are a convex set, at whose
    ends both capitals have opposite slopes.
    """
    if not treatment.users or not control.users:
        return -1.0, 1.0

    def end(sign: int) -> float:
        def pair(slope: float) -> tuple[float, float]:
            return treatment.at_slope(sign * slope), control.at_slope(-sign * slope)

        def capital(slope: float) -> float:
            shares = pair(slope)
            return treatment.capital(shares[0]) + control.capital(shares[1])

        more, less = pair(_slope(capital, alpha))
        return more - less

    return end(-1), end(1)


def _slope(capital: Callable[[float], float], alpha: float) -> float:
    """The slope at which a capital that grows with it has reached 1 / alpha; by bisection of its logarithm."""
    low, high, reached = -_STEEPEST, _STEEPEST, log(1 / alpha)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if capital(exp(middle)) < reached else (low, middle)
    return exp(high)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _times_log(count: int, p: float) -> float:
    """Infinitely little where what happened had no chance."""
    if not count:
        return 0.0
    return count * log(p) if p > 0 else float("-inf")
