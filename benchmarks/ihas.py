"""Two groups of rows with a router and a model each, as an arm, beside the whole model: bytes in Redis, p50.

The search is short in a quick run: what is measured is the cost of serving groups, whose quality `recsys reproduce
ihas` shows.
"""

from __future__ import annotations

import torch

from benchmarks._served_size import costs, learned, p50, prepared
from benchmarks.harness import Result, Target
from recsys import wiring
from recsys.fit.parts import read_parts
from recsys.search.ihas.ihas_study import IhasStudy
from recsys.search.ihas.served_groups import published
from recsys.search.search_folder import SearchFolder

GROUPS = 2


def run(quick: bool) -> Result:
    torch.set_num_threads(1)
    with prepared({"ihas": {"groups": [GROUPS], "epochs": 1 if quick else 4}}) as config:
        log = wiring.event_log(config)
        study = IhasStudy.of(config, read_parts(config, log), SearchFolder())
        log.close()
        models = {"whole": learned(config), "groups": lambda publisher: published(study, GROUPS, publisher)}
        sizes, seconds = costs(config, models)
    targets = [
        Target("bytes in Redis, of those of the whole model", sizes["groups"] / sizes["whole"], 1.0, "lower"),
        Target("p50 of a ranking, of that by the whole model", p50(seconds, "groups"), 2.0, "lower"),
    ]
    return Result("ihas", targets, {"bytes": sizes, "seconds": seconds, "kept": study.kept})
