"""Remembers whether Redis is available, so that requests do not each wait for a time-out."""

from __future__ import annotations


class Availability:
    """One flag shared by everything that uses Redis while answering requests.

    The first caller whose command fails clears the flag; others then skip Redis until it is set again. The thread that
    follows the streams asks Redis ten times a second and sets the flag when it answers.
    """

    def __init__(self, up: bool = True) -> None:
        self.up = up
