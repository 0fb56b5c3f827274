"""The policies of exploration by the names that settings have for them."""

from __future__ import annotations

from recsys.errors import InvalidValueError
from serving.ranking.exploration import EpsilonGreedy, Exploration, Greedy, PlackettLuce
from serving.ranking.thompson import Thompson


def exploration(kind: str, temperature: float = 1.0, epsilon: float = 0.1) -> Exploration:
    """The policy that a configuration names: `none`, `plackett_luce`, `epsilon` or `thompson`."""
    if kind == "none":
        return Greedy()
    if kind == "plackett_luce":
        return PlackettLuce(temperature)
    if kind == "epsilon":
        return EpsilonGreedy(epsilon)
    if kind == "thompson":
        return Thompson(epsilon)
    raise InvalidValueError(f"exploration is {kind!r}: it must be 'none', 'plackett_luce', 'epsilon' or 'thompson'")
