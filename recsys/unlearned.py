"""What could not be learned from a log, in words."""

from __future__ import annotations

from collections.abc import Mapping

LOST = {
    "late_impressions": "impressions that came after their window had closed",
    "late": "interactions that came after it",
    "unmatched": "interactions without their impression",
    "unknown_items": "interactions with an item that was not shown",
}
"""Outcomes of the joiner that make no label, though something in the log was meant to give one."""

REMEDY = "ingest files that belong together in one command, or in the order of time, into a new log"


def not_learned(outcomes: Mapping[str, int]) -> str:
    """What the joiner could make no label of, in words; empty when there is nothing.

    >>> not_learned({"late_impressions": 0, "unmatched": 2, "joined": 5})
    '2 interactions without their impression'
    """
    return ", ".join(f"{outcomes[name]:,} {words}" for name, words in LOST.items() if outcomes.get(name))
