"""What is wrong with a file that is not TOML."""

from __future__ import annotations

import re

from recsys.config.messages import SettingProblem

_BARE = re.compile(r"""(?<=[=,\[])\s*(?P<word>[^\s"'=,\[\]{}#][^"'=,\[\]{}#]*)""")
_UNCLOSED = re.compile(r"""=[^#]*(?:"[^"]*|'[^']*)$""")


def not_toml(text: str, reason: str) -> SettingProblem:
    """The problem of a file, from the reason that `tomllib` gives, with a hint when quotes are missing."""
    lines = text.splitlines() or [""]
    place = re.search(r"at line (\d+), column (\d+)", reason)
    if place is None:
        number = next((n for n, line in enumerate(lines, 1) if _unclosed(line)), len(lines))
        return SettingProblem(number, "", f"not TOML: {reason}{_hint(lines[number - 1], -1)}")
    number = min(int(place[1]), len(lines))
    return SettingProblem(number, "", f"not TOML: {reason}{_hint(lines[number - 1], int(place[2]) - 1)}")


def _hint(line: str, column: int) -> str:
    for word in _BARE.finditer(line) if "=" in line else ():  # a table's name needs none
        if word.start("word") <= column <= word.end("word"):
            return f'; text needs quotes: "{word["word"].strip()}"'
    return "; the closing quotation mark is missing" if _unclosed(line) else ""


def _unclosed(line: str) -> bool:
    """Whether a string that begins on the line does not end on it."""
    without_strings = re.sub(r"""\"(?:[^"\\]|\\.)*"|'[^']*'""", "", line)
    return _UNCLOSED.search(without_strings) is not None
