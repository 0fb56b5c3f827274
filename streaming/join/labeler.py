"""Labels as they are given out, from what the kernels say of impressions and interactions."""

from __future__ import annotations

from collections.abc import Iterator

from streaming.join.labeled_impression import LabeledImpression
from streaming.join.open_impression import Labels, OpenImpression
from streaming.join.tables.kernels import BY_CLICKS, BY_SILENCE
from streaming.join.tables.layout import Tables
from streaming.join.tables.numbered import Shelf

_Decision = tuple[int, int, int, bool, int]
"""Slot, position, code of the action, whether the label is positive, bin of the delay."""


class Labeler:
    """Reads the tables' outputs, and notes on each impression what is known of it. `task` is that of the labels."""

    def __init__(self, slots: Shelf[OpenImpression], actions: list[str], task: int) -> None:
        self._slots, self._actions, self._task = slots, actions, task

    def labels(self, t: Tables) -> list[LabeledImpression]:
        """All of the outputs, in order; they are taken."""
        slots, decisions, noted = self._slots.objects, _decisions(t), 0
        out: list[LabeledImpression] = []
        for slot, by, known, sequence, since, until in _outputs(t):
            if noted < until:
                self._note(decisions[noted:until])
                noted = until
            shown = slots[slot]
            if by == BY_SILENCE:
                shown.silent = True
                positions, labels = shown.undecided()
                if positions:
                    out.append(shown.labeled(positions, labels, known, sequence, False, self._task))
            elif by == BY_CLICKS:
                positions, labels = _clicked(decisions[since:until], shown.silent)
                out.append(shown.labeled(positions, labels, known, sequence, shown.silent, self._task))
            else:
                out.append(shown.labeled(*shown.final(), known, sequence, False, self._task))
        self._note(decisions[noted:])
        t.now["outputs"] = t.now["decisions"] = 0
        return out

    def _note(self, decisions: list[_Decision]) -> None:
        for slot, position, action, positive, bin_ in decisions:
            shown = self._slots.objects[slot]
            if shown.decided is None:
                shown.decided = {}
            shown.decided[position] = self._actions[action]
            if positive:
                if shown.clicks is None:
                    shown.clicks = {}
                shown.clicks[position] = bin_


def _clicked(decisions: list[_Decision], silent: bool) -> Labels:
    """Labels that interactions decided together; of items given out as negative before, only the positive ones."""
    chosen = [(position, float(yes)) for _, position, _, yes, _ in decisions if yes or not silent]
    return tuple(position for position, _ in chosen), tuple(label for _, label in chosen)


def _outputs(t: Tables) -> Iterator[tuple[int, int, int, int, int, int]]:
    outputs = t.outputs[: t.now[0]["outputs"]]
    return zip(*(outputs[name].tolist() for name in ("slot", "by", "known", "sequence", "since", "until")), strict=True)


def _decisions(t: Tables) -> list[_Decision]:
    acted = t.acted[t.decisions[: t.now[0]["decisions"]]]
    columns = (acted[name].tolist() for name in ("slot", "position", "action", "positive", "bin"))
    return list(zip(*columns, strict=True))
