"""What the workers say to the process that started them, and whether they are to stop."""

from __future__ import annotations

ATTEMPTS = 5
"""Starts in a row without a new checkpoint after which the job is given up."""


class Board:
    """An object that all processes of a job reach (as an actor of Ray, its methods are called one at a time)."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, str]] = []
        self._picture = ""
        self._error = ""
        self._stops = False
        self._starts = 0
        self._newest = ""

    def say(self, text: str, style: str = "") -> None:
        """A line for the user, printed once."""
        self._lines.append((text, style))

    def show(self, picture: str) -> None:
        """What the user sees below the lines, until it is replaced."""
        self._picture = picture

    def news(self) -> tuple[list[tuple[str, str]], str]:
        """Lines that were not given out yet, and the current picture."""
        lines, self._lines = self._lines, []
        return lines, self._picture

    def started(self, newest: str) -> None:
        """Workers start from the checkpoint `newest`; the job fails after `ATTEMPTS` starts from the same one."""
        self._starts = self._starts + 1 if newest == self._newest else 1
        self._newest = newest
        if self._starts > ATTEMPTS:
            self.fail(
                f"the workers ended {ATTEMPTS} times in a row before they could write a checkpoint; "
                "see the warnings above, and the logs that Ray keeps in its temporary folder"
            )

    def stop(self) -> None:
        """Ask the workers to finish what they are doing and end."""
        self._stops = True

    def stops(self) -> bool:
        return self._stops

    def fail(self, error: str) -> None:
        """The job cannot go on, not even in other processes."""
        self._error = error

    def error(self) -> str:
        return self._error
