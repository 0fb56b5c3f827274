"""The models of a process: those that its arms name, and the champion, which may become another one at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from serving.model.loaded_model import LoadedModel
from serving.replication.follow.model_loader import ModelLoader
from serving.replication.keys import CHAMPION, ONLINE


class FollowedModels:
    """The `Models` that loaders keep current; `make` makes the loader of a model.

    `champion` among the `names` is the promoted model. Until a new champion is loaded, the one before it serves, and
    afterwards its rows stay cached, so that a rollback takes effect at once. Those `beside` are loaded, too, but not
    missed: no answer needs them.
    """

    def __init__(self, names: Iterable[str], make: Callable[[str], ModelLoader], beside: Iterable[str] = ()) -> None:
        self._names = set(names)
        self._beside = set(beside)
        self._make = make
        self.champion = ONLINE
        self._before = ""
        """The champion before that this process has served."""
        self.loaders: dict[str, ModelLoader] = {}
        self._load_wanted()

    def crown(self, champion: str) -> bool:
        """Make this model the champion; whether there are other loaders now."""
        if champion == self.champion:
            return False
        if self._current(self.champion) is not None:
            self._before = self.champion
        self.champion = champion
        return self._load_wanted()

    def get(self, name: str) -> LoadedModel | None:
        if name != CHAMPION:
            return self._current(name)
        return self._current(self.champion) or self._current(self._before)

    @property
    def loaded(self) -> dict[str, LoadedModel]:
        return {name: loader.current for name, loader in self.loaders.items() if loader.current is not None}

    @property
    def refused(self) -> int:
        return sum(bool(loader.refused) for loader in self.loaders.values())

    @property
    def missing(self) -> dict[str, str]:
        absent = (self.loaders[name] for name in sorted(self._needed()) if self._current(name) is None)
        return {loader.name: loader.refused or "not published yet" for loader in absent}

    def _current(self, name: str) -> LoadedModel | None:
        loader = self.loaders.get(name)
        return None if loader is None else loader.current

    def _needed(self) -> set[str]:
        """The models that answers need."""
        return self._resolved(self._names)

    def _resolved(self, names: set[str]) -> set[str]:
        return {self.champion if name == CHAMPION else name for name in names}

    def _load_wanted(self) -> bool:
        before = {self._before} - {""} if CHAMPION in self._names | self._beside else set()
        wanted = sorted(self._needed() | before | self._resolved(self._beside))
        changed = wanted != list(self.loaders)
        if changed:
            known = self.loaders
            self.loaders = {name: known.get(name) or self._make(name) for name in wanted}  # readers see all or nothing
        return changed
