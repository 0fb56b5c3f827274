"""Figures over time, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Series:
    """The samples of a window, the latest `most` of them; or, if it `thins`, of all time: when it is full, each second
    sample goes and only each second of those that come is kept, so that what is left is spread evenly.
    """

    most: int
    thins: bool = False
    times: list[int] = field(default_factory=list)
    """Of the samples, in milliseconds since the epoch."""
    values: dict[str, list[float | None]] = field(default_factory=dict)
    """By name, one value for each time; None where the sample had none."""
    _stride: int = 1
    _skipped: int = 0

    def add(self, time: int, sample: Mapping[str, float]) -> None:
        """One value for each name that has one now. Names of which no value is left are forgotten."""
        self._skipped += 1
        if self._skipped < self._stride:
            return
        self._skipped = 0
        for name in sample.keys() - self.values.keys():
            self.values[name] = [None] * len(self.times)
        self.times.append(time)
        for name, values in self.values.items():
            values.append(sample.get(name))
        if len(self.times) > self.most:
            self._shrink()

    def _shrink(self) -> None:
        kept = slice((len(self.times) - 1) % 2, None, 2) if self.thins else slice(-self.most, None)
        self._stride *= 2 if self.thins else 1
        self.times = self.times[kept]
        shrunk = {name: values[kept] for name, values in self.values.items()}
        self.values = {name: values for name, values in shrunk.items() if any(one is not None for one in values)}
