"""The event log, and the records that were refused on their way into it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from streaming.ingest.refusals.dead_letters import DeadLetters, Entry
from streaming.log.erasure import RetainingLog, RewritableLog, UserEvents, append_erasures
from streaming.log.event_log import EventLog

_DAY = 86_400_000


class LogPlace:
    """The users' events, those too that came after an erasure, of users who came back."""

    name = "event log"

    def __init__(self, log: EventLog, users: Sequence[str]) -> None:
        self._log, self._users = log, users
        self._events = UserEvents(log, users, returned=True)

    @property
    def remedy(self) -> str:
        if not isinstance(self._log, RetainingLog):
            return "erase again"
        kept = self._log.retention()
        if kept is None:
            return "records of a topic cannot be rewritten, and this one keeps them for ever: set its retention.ms"
        return f"records of a topic cannot be rewritten: they go {kept / _DAY:.3g} days after they came (retention.ms)"

    def impressions(self) -> list[str]:
        """The ids of the users' impressions, as far as the log has them or had them when this began."""
        return self._events.impressions

    def count(self) -> int:
        return sum(self._events.count().values())

    def tell(self) -> None:
        """Tell all readers to forget the users, unless the log does already."""
        if to_tell := [user for user in self._users if not self._events.is_erased(user)]:
            append_erasures(self._log, to_tell)
        self._events = UserEvents(self._log, self._users)

    def remove(self) -> None:
        if isinstance(self._log, RewritableLog):
            self._events.remove(self._log)


class DeadLettersPlace:
    """Refused records in which a value is a user's id, or that of one of their `impressions`.

    Of what is no JSON it is enough that the id stands in it as a word.
    """

    name, remedy = "dead letters", "refused since this began: erase again"

    def __init__(self, letters: DeadLetters, users: Sequence[str], impressions: Callable[[], Collection[str]]) -> None:
        self._letters, self._users = letters, users
        self._impressions = impressions
        self._words = re.compile("|".join(rf"(?<!\w){re.escape(user)}(?!\w)" for user in users))

    def count(self) -> int:
        return self._letters.count(self._chosen())

    def remove(self) -> None:
        self._letters.remove(self._chosen())

    def _chosen(self) -> Callable[[Entry], bool]:
        names = {*self._users, *self._impressions()}

        def chosen(entry: Entry) -> bool:
            raw = str(entry.get("raw", ""))
            if entry.get("encoding") == "base64":
                raw = base64.b64decode(raw).decode(errors="replace")
            try:
                return any(value in names for value in _values(json.loads(raw)))
            except (ValueError, RecursionError):
                return self._words.search(raw) is not None

        return chosen


def _values(value: Any) -> Iterator[str]:
    """All strings and numbers in a JSON value, as text."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _values(one)
    elif value is not None:
        yield str(value)
