"""Labels as they are given out: what interactions decide, what silence says, and where a click corrects it."""

from __future__ import annotations

from collections.abc import Iterable

from streaming.join.columns_to_rows import InteractionRow
from streaming.join.labeled_impression import LabeledImpression, LabelRule
from streaming.join.open_impression import OpenImpression
from streaming.join.outcomes import OUTCOMES, TALLIES
from streaming.join.silence.silences import Silences


class Labeler:
    """Gives out the labels of impressions that are open, and counts.

    With `paced` a decided label is given out at once, and silence when `learn_silence` is called, or when the window
    closes; otherwise all labels when it closes. `clock` is the joiner's, `known` the clock (ms) at which labels became
    known, `sequence` the number of the event that made them known, `task` the number
    of the task whose labels they are.
    """

    def __init__(self, rule: LabelRule, wait: int, silences: Silences, *, paced: bool, task: int) -> None:
        self._rule, self._wait, self._silences, self._paced, self._task = rule, wait, silences, paced, task
        self.counts = dict.fromkeys(OUTCOMES, 0)
        self.tallies = dict.fromkeys(TALLIES, 0)
        self._out: list[LabeledImpression] = []

    def decide(self, shown: OpenImpression, interactions: Iterable[InteractionRow], clock: int, sequence: int) -> None:
        """Count interactions with an open impression, and give out the labels that they decide, all at once."""
        labels: dict[int, float] = {}
        for acted in interactions:
            outcome, position = shown.decide(acted.item, acted.action, acted.time, self._wait)
            self.counts[outcome] += 1
            if position >= 0:
                label = labels[position] = self._rule.label(acted.value)
                if label:
                    self._click(shown, position, clock)
                else:
                    self.tallies["negatives"] += 1
        if labels:
            self._give_out_decided(shown, labels, clock, sequence)

    def learn_silence(self, shown: OpenImpression, known: int, sequence: int) -> None:
        """Give out as negative what nobody has decided; a click may still correct it."""
        shown.silent = True
        positions, labels = shown.undecided()
        if positions:
            self._out.append(shown.labeled(positions, labels, known, sequence, False, self._task))

    def close(self, shown: OpenImpression, known: int, sequence: int) -> None:
        """The window of an impression is over: labels that no interaction decided are negative."""
        count = len(shown.items)
        self.tallies["negatives"] += count - len(shown.decided) if shown.decided else count
        if not self._paced:
            self._out.append(shown.labeled(*shown.final(), known, sequence, False, self._task))
            return
        if not shown.silent:
            self.learn_silence(shown, known, sequence)
        self._silences.close(shown)

    def take_out(self) -> list[LabeledImpression]:
        """The labels emitted since the last call."""
        out, self._out = self._out, []
        return out

    def _click(self, shown: OpenImpression, position: int, clock: int) -> None:
        self.tallies["positives"] += 1
        if shown.clicks is None:
            shown.clicks = {}
        shown.clicks[position] = self._silences.clicked(clock - shown.clock) if self._paced else 0

    def _give_out_decided(self, shown: OpenImpression, labels: dict[int, float], clock: int, sequence: int) -> None:
        """Of items given out as negative before, only the positive ones."""
        if shown.silent:
            labels = {position: label for position, label in labels.items() if label}
            self.tallies["corrected"] += len(labels)
        if self._paced and labels:
            values = tuple(labels.values())
            self._out.append(shown.labeled(tuple(labels), values, clock, sequence, shown.silent, self._task))
