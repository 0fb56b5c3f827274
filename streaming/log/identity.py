"""Whether a log is the one that something was saved for."""

from __future__ import annotations


def difference(known: str, found: str) -> str:
    """How the log whose identity is `found` differs from that of `known`; "" if it does not, or if one is unknown.

    An identity is PLACE/NAME, such as a Kafka cluster's id and a topic's.

    >>> difference("c1/t1", "c1/t1"), difference("", "c1/t1")
    ('', '')
    >>> difference("c1/t1", "c2/t7")
    'it is on another cluster, c2, not c1'
    >>> difference("c1/t1", "c1/t7")
    'it was removed and made anew since: it was t1, and is t7'
    """
    if not known or not found or known == found:
        return ""
    (place, _, name), (other_place, _, other) = known.rpartition("/"), found.rpartition("/")
    if place != other_place:
        return f"it is on another cluster, {other_place}, not {place}"
    return f"it was removed and made anew since: it was {name}, and is {other}"
