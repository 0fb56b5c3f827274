"""How the tables of a snapshot differ from those of a store, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from embedding.store import FALLBACK_ROWS, Table

_NAMES = {
    "kind": "optimizer",
    "lr": "learning rate of embedding rows",
    "max_norm": "largest norm of gradients",
    "fallback_rows": "number of multiplexed rows",
    "l2": "penalty of embedding rows (l2)",
    "admission": "admission of ids",
}


def differences(written: Mapping[str, Any], tables: Mapping[str, Table], seed: int) -> Iterator[str]:
    """One sentence for each setting in which a snapshot with the manifest `written` cannot be loaded into a store.

    Tables that only the snapshot has are no difference here.
    """
    if written["seed"] != seed:
        yield f"the seed is {written['seed']} in the checkpoint, {seed} in the configuration"
    found: dict[tuple[str, str, str], list[str]] = {}
    specs = {spec["name"]: spec for spec in written["tables"]}
    for name, table in tables.items():
        before, now = _settings(specs[name]), _settings(json.loads(json.dumps(asdict(table))))
        if not (specs[name]["fallback"] == table.fallback == "multiplexed"):  # rows that begin or end are allowed to
            before["fallback_rows"] = now["fallback_rows"]
        for what in before:
            if before[what] != now[what]:
                old, new = ("not set" if value is None else str(value) for value in (before[what], now[what]))
                found.setdefault((what, old, new), []).append(name)
    for (what, old, new), names in found.items():
        of = "" if len(names) == len(tables) else f" of table{'s' * (len(names) > 1)} {', '.join(names)}"
        yield f"the {_NAMES.get(what, what)}{of} is {old} in the checkpoint, {new} in the configuration"


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Those that decide what the rows and states of a table mean."""
    rows = spec.get("fallback_rows", FALLBACK_ROWS)  # which older snapshots do not say
    return {"dim": spec["dim"], **spec["optimizer"], "admission": spec["admission"]["kind"], "fallback_rows": rows}
