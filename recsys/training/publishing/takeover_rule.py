"""Whether a run may take the place of the one that servers follow: by lag, and by progressive validation.

Both runs scored their recent rows before they learned from them. What is compared is their normalised entropy, the mean
log loss over that of always predicting the rows' share of positives (He et al., ADKDD 2014): it is the same measure
where the shares differ, as they do when the runs read the log at different times.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from serving.replication.publish.served_run import Rival, ServedRun

Mode = Literal["validated", "caught_up", "at_once", "never"]
FIGURE = "normalised_entropy"
MARGIN = 0.05
"""By which share of the other run's figure the new one may be worse, which takes in the noise of some 20,000 rows."""
_Figures = Mapping[str, Mapping[str, float]]
_WARNED = frozenset({"figures", "back", "unknown"})
"""Stages that somebody should know of."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Verdict:
    may: bool
    """Whether the run may take over now."""
    because: str
    """What speaks for it, or why it waits and what ends that: part of a sentence."""
    stage: str
    """What it waits for, or whether it takes over, in a word."""
    over: str = ""
    """The run that it was compared with."""


@dataclass(frozen=True, slots=True)
class Candidacy:
    """What the run that would take over has reached. `figures`: by task, of its recent rows; those that are defined."""

    run: str
    steps: int
    unread: int
    """Events of the log that it has not read."""
    has_caught_up: bool
    """Whether that is at most 1 % of the log."""
    is_traced: bool
    """Whether its graph can be published."""
    figures: _Figures


class TakeoverRule:
    """The rule that `[training] take_over` names, for one trainer."""

    def __init__(self, mode: Mode) -> None:
        self._mode: Mode = mode
        self._stage = ""
        self.waits = ""
        """Why servers follow another run; empty if they follow this one."""

    def verdict(self, runs: ServedRun, own: Callable[[], Candidacy]) -> Verdict | None:
        """None if no other run is served. Logs what is waited for when that changes. Raises as `ServedRun` does."""
        rival = runs.rival()
        if rival is None:
            self.waits = self._stage = ""
            return None
        candidacy = own()
        verdict = replace(judged(self._mode, candidacy, rival), over=rival.run)
        if verdict.stage != self._stage:
            said = "is served from now on" if verdict.may else "is not served"
            level = logging.WARNING if verdict.stage in _WARNED else logging.INFO
            _logger.log(level, "run %s %s: %s", candidacy.run, said, verdict.because)
        self.waits, self._stage = "" if verdict.may else verdict.because, verdict.stage
        return verdict


def judged(mode: Mode, own: Candidacy, rival: Rival) -> Verdict:
    """Whether a run may replace the `rival`. None does by itself after somebody has gone back from it."""
    if rival.gone_back is not None:
        return _not_yet("back", f"{rival.gone_back.by} has gone back from it: `recsys rollback` serves it again")
    if mode == "never":
        return _not_yet("never", '[training] take_over is "never"')
    if not own.steps and not own.has_caught_up:
        return _not_yet("start", "it has learned nothing yet")
    if mode != "at_once" and not own.has_caught_up:
        return _not_yet("log", f"it takes over when it has read 99 % of the log, and {own.unread:,} events are unread")
    if not own.is_traced:
        return _not_yet("graph", "its graph is being traced")
    if mode != "validated":
        return _now(f'[training] take_over is "{mode}"')
    return _validated(own.figures, rival)


def _validated(own: _Figures, rival: Rival) -> Verdict:
    known = {task: figures[FIGURE] for task, figures in rival.figures.items() if FIGURE in figures and task in own}
    if not known:
        return _now(f"it has read the log; nothing is known of how well run {rival.run} did", "unknown")
    figures = f"{'; '.join(_compared(known, own))} of run {rival.run}"
    if all(own[task].get(FIGURE, math.inf) <= (1 + MARGIN) * theirs for task, theirs in known.items()):
        return _now(f"it has read the log, and the normalised entropy of its recent rows is {figures}")
    return _not_yet(
        "figures",
        f"it takes over when the normalised entropy of its recent rows is at most {MARGIN:.0%} above that of the run "
        f"that is served, or by another [training] take_over: it is {figures}",
    )


def _compared(known: Mapping[str, float], own: _Figures) -> Iterator[str]:
    for task, theirs in known.items():
        ours = own[task].get(FIGURE)
        yield f"{'undefined' if ours is None else f'{ours:.4f}'} for {task}, against {theirs:.4f}"


def _now(because: str, stage: str = "served") -> Verdict:
    return Verdict(True, because, stage)


def _not_yet(stage: str, because: str) -> Verdict:
    return Verdict(False, because, stage)
