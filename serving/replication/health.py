"""Whether Redis answers, so that not every request has to find out by waiting."""

from __future__ import annotations


class Availability:
    """One flag that all who use Redis for requests share.

    Who is let down by Redis clears it, and then nobody tries. The thread that follows the streams sets it as soon as
    Redis answers again, which it asks ten times a second.
    """

    def __init__(self, up: bool = True) -> None:
        self.up = up
