"""Numbers as people read them."""

from __future__ import annotations

import time

from streaming.events.schema import Value


def count(value: float) -> str:
    """
    >>> count(1234567.2)
    '1,234,567'
    """
    return f"{value:,.0f}"


def span(seconds: float) -> str:
    """
    >>> span(0.25), span(75), span(7200), span(400_000)
    ('0.2 s', '75 s', '2.0 h', '4.6 days')
    """
    for unit, size, digits in ("days", 86_400, 1), ("h", 3600, 1), ("min", 60, 0):
        if seconds >= 2 * size:
            return f"{seconds / size:,.{digits}f} {unit}"
    return f"{seconds:,.{1 if seconds < 10 else 0}f} s"


def moment(milliseconds: float) -> str:
    """
    >>> moment(1_700_000_000_000)
    '2023-11-14 22:13:20 UTC'
    """
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(milliseconds / 1000))


def fraction(value: float | None, sign: str = "") -> str:
    """
    >>> fraction(0.12341), fraction(0.1, "+"), fraction(None)
    ('0.1234', '+0.1000', '-')
    """
    return "-" if value is None else f"{value:{sign}.4f}"


def with_interval(value: float | None, interval: tuple[float, float] | None, sign: str = "") -> str:
    """
    >>> with_interval(0.1, (0.05, 0.2), "+")
    '+0.1000 [+0.0500, +0.2000]'
    """
    if value is None or interval is None:
        return "-"
    return f"{value:{sign}.4f} [{interval[0]:{sign}.4f}, {interval[1]:{sign}.4f}]"


def written(value: Value) -> str:
    """A feature.

    >>> written(["a", "b"]), written(None), written(0.25)
    ('a, b', '-', '0.25')
    """
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
