"""What a search has, in files: one that was killed goes on from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from recsys.errors import InvalidValueError, StateError, file_errors
from recsys.evaluation.result_settings import goes_on
from streaming.log import durable_files

_T = TypeVar("_T")
_SETTINGS = "settings.json"
_VALUES = "values"
_WHAT = "the search (--out)"


class SearchFolder:
    """Results of the parts of a search that have ended, and the states of stages that have not.

    Each is a file that is replaced as a whole. Without a `folder` nothing is kept.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @classmethod
    def of(cls, folder: Path, settings: Mapping[str, Any], stated: Mapping[str, Any] | None = None) -> SearchFolder:
        """The folder of a search with these `settings`, as JSON; those that are `stated` (all) may not be new to it.

        Raises InvalidValueError if it is of another search.
        """
        path = folder / _SETTINGS
        with file_errors(_WHAT, folder):
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                durable_files.replace(path, json.dumps(settings, sort_keys=True).encode())
            elif not goes_on(cls._settings(path), settings, settings if stated is None else stated):
                raise InvalidValueError(
                    f"{folder} has a search with other settings, or of a log that has grown since: restore them and "
                    "--until, name another --out, or remove the folder"
                )
        return cls(folder)

    @property
    def has_begun(self) -> bool:
        """Whether anything is kept that is gone on from."""
        return self._folder is not None and any(path.name != _SETTINGS for path in self._folder.iterdir())

    def result(self, name: str, kind: type[_T], compute: Callable[[], _T]) -> _T:
        """The result of a part, computed unless it is there; the states of its stages, `name` and `name.N`, go then."""
        if self._folder is None:
            return compute()
        path = self._file(name, "json")
        with file_errors(_WHAT, path):
            if path.exists():
                return msgspec.json.decode(path.read_bytes(), type=kind)
            found = compute()
            durable_files.replace(path, msgspec.json.encode(found))
            for state in self._folder.glob(f"{path.stem}.*safetensors"):
                state.unlink()
        return found

    def write_stage(self, name: str, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Keep the state of a stage: tensors by name, and values that JSON has."""
        if self._folder is not None:
            copies = {key: tensor.detach().clone() for key, tensor in tensors.items()}
            path = self._file(name, "safetensors")
            with file_errors(_WHAT, path):
                durable_files.replace(path, save(copies, {_VALUES: json.dumps(dict(values))}))

    def read_stage(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was kept of a stage; None if nothing was. Raises StateError if the file is damaged."""
        path = None if self._folder is None else self._file(name, "safetensors")
        if path is None or not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as opened:
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118  # it is no mapping
                return tensors, json.loads(opened.metadata()[_VALUES])
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"{path} is damaged, remove it to do its stage again: {error}") from None

    @staticmethod
    def _settings(path: Path) -> Any:
        try:
            return json.loads(path.read_bytes())
        except ValueError as error:
            raise StateError(f"{path} is damaged, remove its folder to begin anew: {error}") from None

    def _file(self, name: str, suffix: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{name.replace(' ', '-')}.{suffix}"
