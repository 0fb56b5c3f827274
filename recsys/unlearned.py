"""What could not be learned from a log, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from recsys.errors import file_errors

LOST = {
    "late_impressions": "impressions that came after their window had closed",
    "late": "interactions that came after it",
    "unmatched": "interactions without their impression",
    "unknown_items": "interactions with an item that was not shown",
}
"""Outcomes of the joiner that make no label, though something in the log was meant to give one."""

IMPAIRED = {
    "closed_early": "windows closed early, because too many impressions were open: raise training.max_pending",
    "evicted_users": "users lost their features to newer ones: raise features.entities",
    "evicted_items": "items lost their features to newer ones: raise features.entities",
    **{
        f"evicted_counters_of_{kind}": f"{kind} lost their counters to those seen later: raise features.counted"
        for kind in ("users", "items", "pairs")
    },
    "evicted_histories": "users lost their history to those seen later: raise features.counted",
    "bad_values": "feature values of the wrong kind were taken as missing: compare features.fields with the events",
}
"""What rows were made without (see `streaming.feed.Feed.losses`), with the remedy."""

REMEDY = (
    "ingest files that belong together in one command, with --sort unless they are in the order of time, into a new log"
)


def refused(dead_letters: Path) -> int:
    """Number of records that ingestion has refused."""
    with file_errors("the dead letters ([log] dead_letters)", dead_letters):
        if not dead_letters.exists():
            return 0
        with dead_letters.open("rb") as lines:
            return sum(1 for _ in lines)


def lost(outcomes: Mapping[str, int], dead_letters: Path, tasks: int = 1) -> str:
    """All that was lost on the way to the labels of so many tasks, in a sentence: also that nothing was."""
    parts = [not_learned(outcomes, tasks)]
    if count := refused(dead_letters):
        parts.append(f"{count:,} records refused by recsys ingest, with position and reason in {dead_letters}")
    found = ", ".join(filter(None, parts))
    return (
        f"Not learned from, in the whole log: {found}."
        if found
        else "Nothing was lost: no event was late, unmatched or refused."
    )


def not_learned(outcomes: Mapping[str, int], tasks: int = 1) -> str:
    """What the joiner could make no label of, in words; empty when there is nothing.

    Interactions that it holds because their impression may still come are without it so far, and count so, whether the
    log ends there (`recsys replay`) or may go on (`recsys train`).

    >>> not_learned({"late_impressions": 0, "unmatched": 2, "joined": 5})
    '2 interactions without their impression'
    >>> not_learned({"unmatched": 1, "held": 1}, tasks=2)
    '2 interactions without their impression (over all 2 tasks: an event counts once for each task that it is of)'
    """
    counts = {**outcomes, "unmatched": outcomes.get("unmatched", 0) + outcomes.get("held", 0)}
    found = ", ".join(f"{counts[name]:,} {words}" for name, words in LOST.items() if counts.get(name))
    every = f" (over all {tasks} tasks: an event counts once for each task that it is of)"
    return found + every if found and tasks > 1 else found


def waiting(rows: int, batch_size: int) -> str:
    """What is to be said of labelled rows that were not learned; empty for none.

    >>> waiting(12, 256)
    '12 rows wait for a full batch of 256: they are learned with those that come next, or as they are when following.'
    >>> waiting(4386, 32)
    '4,386 rows were read and not learned: the checkpoint has them, and `recsys train` goes on with them.'
    """
    if not rows:
        return ""
    if rows >= batch_size:  # stopped between two of the batches that were read together
        return (
            f"{rows:,} rows were read and not learned: the checkpoint has them, and `recsys train` goes on with them."
        )
    return (
        f"{rows:,} rows wait for a full batch of {batch_size}: they are learned with those that come next, or as they "
        "are when following."
    )


def unlabelled(items: int, tasks: int = 1) -> str:
    """What is to be said of shown items that have no label yet; empty for none.

    >>> unlabelled(1)
    '1 shown item still waits for its clicks (training.wait): later events give it its label.'
    >>> unlabelled(1234)
    '1,234 shown items still wait for their clicks (training.wait): later events give them their labels.'
    """
    if not items:
        return ""
    one = "shown item still waits for its clicks (training.wait): later events give it its label"
    many = "shown items still wait for their clicks (training.wait): later events give them their labels"
    every = f" (over all {tasks} tasks: an item counts once for each task)" if tasks > 1 else ""
    return f"{items:,} {one if items == 1 else many}{every}."


def sampled(counts: Mapping[str, int]) -> str:
    """What was learned of the rows without a positive where they are sampled (see `NegativeSampling.counts`).

    >>> sampled({"negatives": 15168, "learned": 1604})
    'Learned from 1,604 of 15,168 rows without a positive: all others were scored only ([training.negatives]).'
    """
    return (
        f"Learned from {counts['learned']:,} of {counts['negatives']:,} rows without a positive: all others were "
        "scored only ([training.negatives])."
    )


def impaired(losses: Mapping[str, int]) -> Iterator[str]:
    """One warning for each kind of loss that happened.

    >>> list(impaired({"closed_early": 0, "evicted_items": 3}))
    ['3 items lost their features to newer ones: raise features.entities.']
    """
    return (f"{losses[name]:,} {words}." for name, words in IMPAIRED.items() if losses.get(name))


def left_out(by_field: Mapping[str, int]) -> Iterator[str]:
    """One warning for each field whose values made rows useless.

    >>> list(left_out({"price": 3}))
    ['3 rows not learned, because their loss or gradient was not finite: field price.']
    """
    words = "rows not learned, because their loss or gradient was not finite: field"
    return (f"{count:,} {words} {field}." for field, count in by_field.items())
