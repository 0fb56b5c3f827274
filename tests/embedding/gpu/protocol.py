"""The protocol of `embedding.gpu.kernels.claim` as a small state machine, and a search through all its interleavings.

A lane is a program of its own here, which allows more orders than a GPU does. A load may return any word its slot held
since the launch began, which allows more than its caches do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal

EMPTY, TOMBSTONE = "empty", "tombstone"
Word = str  # a marker or an id
OPEN = (EMPTY, TOMBSTONE)
Variant = Literal["right", "no compare-and-swap", "row before slot"]


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane: the id it wants a row for, and where in `claim` it is."""

    id: str
    home: int
    at: Literal["start", "load", "swap", "draw", "store", "done"] = "start"
    slot: int = 0
    seen: Word = ""
    row: int = -1
    new: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Memory and lanes. `words[s]` are all words of slot s since the launch began, the last one being there now."""

    words: tuple[tuple[Word, ...], ...]
    rows: tuple[int, ...]
    free: int
    lanes: tuple[Lane, ...]

    def write(self, slot: int, word: Word) -> State:
        history = self.words[slot]
        kept = (*(old for old in history if old != word), word)
        return replace(self, words=(*self.words[:slot], kept, *self.words[slot + 1 :]))

    def store_row(self, slot: int, row: int) -> State:
        return replace(self, rows=(*self.rows[:slot], row, *self.rows[slot + 1 :]))

    def move(self, lane: int, to: Lane) -> State:
        return replace(self, lanes=(*self.lanes[:lane], to, *self.lanes[lane + 1 :]))


def _look(lane: Lane, word: Word, size: int) -> Lane:
    """Where a lane goes that found `word` in its slot."""
    if word == lane.id:
        return replace(lane, at="done")
    if word in OPEN:
        return replace(lane, at="swap", seen=word)
    after = (lane.slot + 1) % size
    return replace(lane, at="done" if after == lane.home else "load", slot=after)


def successors(state: State, variant: Variant = "right") -> Iterator[State]:
    """Every state that one step of one lane leads to."""
    for number, lane in enumerate(state.lanes):
        match lane.at:
            case "start":
                begun = replace(lane, at="load", slot=lane.home) if state.free > 0 else replace(lane, at="done")
                if variant == "row before slot" and state.free > 0:
                    begun = replace(begun, row=state.free - 1)
                    yield replace(state, free=state.free - 1).move(number, begun)
                else:
                    yield state.move(number, begun)
            case "load":
                for word in state.words[lane.slot]:
                    yield state.move(number, _look(lane, word, len(state.words)))
            case "swap":
                yield _swap(state, number, lane, variant)
            case "draw":
                row = state.free - 1 if variant != "row before slot" else lane.row
                drawn = replace(lane, at="store", row=row)
                yield (replace(state, free=state.free - 1) if row != lane.row else state).move(number, drawn)
            case "store" if lane.row >= 0:
                yield state.store_row(lane.slot, lane.row).move(number, replace(lane, at="done", new=True))
            case "store":
                yield state.write(lane.slot, TOMBSTONE).move(number, replace(lane, at="done"))


def _swap(state: State, number: int, lane: Lane, variant: Variant) -> State:
    there = state.words[lane.slot][-1]
    if there == lane.seen or variant == "no compare-and-swap":
        return state.write(lane.slot, lane.id).move(number, replace(lane, at="draw"))
    return state.move(number, replace(lane, at="load"))


def find(state: State, one: str, home: int) -> int:
    """The slot of an id after the launch, -1 where there is none: what the second `touch` does."""
    size = len(state.words)
    for step in count():
        word = state.words[(home + step) % size][-1]
        if word == one:
            return (home + step) % size
        if word == EMPTY or step == size - 1:
            return -1
    raise AssertionError("count() is endless")


def flaws(state: State, begin: State) -> list[str]:
    """What is wrong with a state in which every lane is done."""
    current = [history[-1] for history in state.words]
    wanted = {lane.id: lane.home for lane in state.lanes}
    found = []
    for slot, word in enumerate(current):
        if word not in OPEN and current.count(word) > 1:
            found.append(f"{word} has {current.count(word)} slots")
        if word in wanted and state.rows[slot] < 0:
            found.append(f"{word} has a slot without a row")
        if begin.words[slot][-1] not in OPEN and (word, state.rows[slot]) != (begin.words[slot][-1], begin.rows[slot]):
            found.append(f"{begin.words[slot][-1]} was overwritten")
    rows = [row for slot, row in enumerate(state.rows) if current[slot] not in OPEN]
    if len(set(rows)) < len(rows):
        found.append("two ids share a row")
    admitted = [one for one, home in wanted.items() if find(state, one, home) >= 0]
    if len(admitted) != min(len(wanted), begin.free):
        found.append(f"{len(admitted)} of {len(wanted)} ids got one of {begin.free} rows")
    if sorted(lane.id for lane in state.lanes if lane.new) != sorted(admitted):
        found.append("an id is new never or twice")
    return found


def explore(begin: State, variant: Variant = "right") -> tuple[int, int, set[str]]:
    """How many states there are, how many of them are final, and the flaws of the final ones."""
    known, waiting, final, wrong = {begin}, [begin], 0, set[str]()
    while waiting:
        state = waiting.pop()
        if all(lane.at == "done" for lane in state.lanes):
            final += 1
            wrong.update(flaws(state, begin))
        for after in successors(state, variant):
            if after not in known:
                known.add(after)
                waiting.append(after)
    return len(known), final, wrong


def begin(ring: str, lanes: str, free: int) -> State:
    """A ring such as `.x-y` (empty, id x, tombstone, id y) and lanes such as `a0 b2` (id and home).

    Rows of the ids in the ring are 100 and up. The table keeps more slots in a ring than there are rows.
    """
    names = {".": EMPTY, "-": TOMBSTONE}
    words = tuple((names.get(letter, letter),) for letter in ring)
    rows = tuple(100 + slot if letter not in ".-" else -1 for slot, letter in enumerate(ring))
    return State(words, rows, free, tuple(Lane(lane[0], int(lane[1:])) for lane in lanes.split()))
