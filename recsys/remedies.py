"""What to write in `recsys.toml` so that records are read that were refused."""

from __future__ import annotations

import re
from typing import Final

_MAPPED: Final = "these lines are no events of this project: `recsys init --from FILE` proposes a mapping for them"
_REMEDIES: Final[tuple[tuple[str, str], ...]] = (
    (r"missing required field `user`", 'anonymous = "request" gives such lists a user of their own'),
    (
        r"missing required field `impression`",
        'kind = "feedback" is for what users did without lists; where = { ... } takes rows of one kind',
    ),
    (r"missing required field `type`|`\$\.type`|unknown field|got `\w+` - at `\$\.(id|user|item|impression)", _MAPPED),
    (r"got `(str|float)` - at `\$\.time`", _MAPPED),
    (r"missing required field|: missing$", "null_values has the words that stand for a missing value"),
    (r"^\w+: \"'.*'\" in column", 'quote = "\'", the quotation mark of this file'),
    (r"is not as time_format", "time_format; time_of_day in `columns` if another column has the time of day"),
    (
        r"is not ISO 8601|is not a number of ",
        'time_unit (s, ms, us, ns, d for days, iso), or time_format = "%d-%m-%Y %H:%M"',
    ),
    (
        r"after the clock",
        'time_unit = "us" or "ns" if its times are numbers that long; [log] max_future if clocks are ahead',
    ),
    (r"no row of another user", 'negatives_within = "1d" pairs rows that are further apart'),
    (r"^'.*' is not numeric|: '.*' is not numeric", "null_values, with the usual words, if it stands for nothing"),
    (r"duplicate item", 'repeated_items = "first" keeps the list'),
    (r"another \w+ has this id", 'id = ["COLUMN", "COLUMN"] if only several columns together tell rows apart'),
    (r"\d+ cells for \d+ columns", "delimiter, quote or escape, or `header` with a name for each cell"),
    (r"longer than \d+ bytes", "[log] max_line"),
    (r"unknown feature", '[log] unknown_features = "keep"'),
)


def remedy(reason: str) -> str:
    """What to write in the file's `[[log.mapping]]`, or elsewhere as it says; empty where only the data can change.

    >>> remedy("items: duplicate item 'a'; an interaction could not tell which one it means")
    'in its [[log.mapping]]: repeated_items = "first" keeps the list'
    """
    found = next((text for pattern, text in _REMEDIES if re.search(pattern, reason)), "")
    return found if not found or found == _MAPPED or found.startswith("[") else f"in its [[log.mapping]]: {found}"
