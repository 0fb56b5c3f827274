"""A model with the dimensions that DNIS finds at a tenth of the values, beside the whole one: bytes in Redis, p50.

The search is short in a quick run: what is measured is the cost of the dimensions, whose quality `recsys reproduce
dnis` shows.
"""

from __future__ import annotations

import torch

from benchmarks._served_size import configured, costs, learned, p50, prepared
from benchmarks.harness import Result, Target
from recsys import wiring
from recsys.fit.parts import read_parts
from recsys.search.dnis.dnis_study import compare

SHARE = 0.1


def run(quick: bool) -> Result:
    torch.set_num_threads(1)
    epochs = {"epochs": 1, "search_epochs": 1} if quick else {"epochs": 4, "search_epochs": 4}
    section = {"shares": [SHARE], "controls": ["tables"], **epochs}
    with prepared({"dnis": section}) as config:
        log = wiring.event_log(config)
        (dims,) = [p.dims for p in compare(config, read_parts(config, log)).points if p.dims is not None]
        log.close()
        dim = max(*dims.values(), 4)
        tables = {table: {"dim": own} for table, own in dims.items() if own < dim}
        narrow = configured(config.redis.folder.parent, {"features": {"dim": dim, "tables": tables}})
        sizes, seconds = costs(config, {"whole": learned(config), "narrow": learned(narrow)})
    targets = [
        Target("bytes in Redis, of those of the whole model", sizes["narrow"] / sizes["whole"], 0.5, "lower"),
        Target("p50 of a ranking, of that by the whole model", p50(seconds, "narrow"), 1.0, "lower"),
    ]
    return Result("dnis", targets, {"bytes": sizes, "seconds": seconds, "dims": dims})
