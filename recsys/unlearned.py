"""What could not be learned from a log, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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
    "bad_values": "feature values of the wrong kind were taken as missing: compare features.fields with the events",
}
"""What rows were made without (see `streaming.feed.Feed.losses`), with the remedy."""

REMEDY = (
    "ingest files that belong together in one command, with --sort unless they are in the order of time, into a new log"
)


def not_learned(outcomes: Mapping[str, int]) -> str:
    """What the joiner could make no label of, in words; empty when there is nothing.

    >>> not_learned({"late_impressions": 0, "unmatched": 2, "joined": 5})
    '2 interactions without their impression'
    """
    return ", ".join(f"{outcomes[name]:,} {words}" for name, words in LOST.items() if outcomes.get(name))


def impaired(losses: Mapping[str, int]) -> Iterator[str]:
    """One warning for each kind of loss that happened.

    >>> list(impaired({"closed_early": 0, "evicted_items": 3}))
    ['3 items lost their features to newer ones: raise features.entities.']
    """
    return (f"{losses[name]:,} {words}." for name, words in IMPAIRED.items() if losses.get(name))
