"""The events that the tables speak of."""

from __future__ import annotations

from streaming.join.columns_to_rows import InteractionRow
from streaming.join.open_impression import OpenImpression
from streaming.join.tables import kernels
from streaming.join.tables.layout import Tables
from streaming.join.tables.numbered import Keys, Shelf


class Kept:
    """Impressions by slot and interactions by place; `opened` are the impressions by id whose window is open."""

    def __init__(self) -> None:
        self.keys = Keys()
        self.opened: dict[str, OpenImpression] = {}
        self.slots = Shelf[OpenImpression]()
        self.places = Shelf[InteractionRow]()

    def let_go(self, t: Tables) -> None:
        """Forget what the kernels have let go."""
        now = t.now[0]
        ended = t.ended[: now["ended"]].tolist()
        opened, objects = self.opened, self.slots.objects
        for slot in ended:
            shown = objects[slot]
            if shown.id in opened and opened[shown.id] is shown:
                del opened[shown.id]
        self.slots.remove(ended)
        self.places.remove(t.released[: now["released"]].tolist())
        self.keys.free(kernels.unused_keys(t).tolist())
        now["ended"] = now["released"] = 0
