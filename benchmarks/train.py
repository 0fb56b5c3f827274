"""Training AutoInt in memory: the learner against the same network in plain PyTorch with `nn.Embedding`.

Both learn from the same batches, which are ready, from the same weights, by Adam and Adagrad; neither is scored beside
learning, as in `recsys fit`. The peer has the faster of sparse and dense gradients, and of fused attention and
products. Rates are set against that of a large matrix product in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks._plain_autoint import Form
from benchmarks._training_sides import Peer, batches, config, fastest, turn
from benchmarks.harness import Result, Target, interleave, median, ratio
from recsys import wiring

SIZES = (256, 1024, 4096)
ROWS = {7: 8192, 39: 4096}
"""In a turn, at least one batch."""
PRODUCT = 1024
PRODUCTS = Form(sparse=True, fused=False)
DEEPFM = {"name": "fm", "mlp": [400, 400]}


def run(quick: bool) -> Result:
    torch.set_num_threads(1)
    rounds = 3 if quick else 9
    cases = [_case(fields, size, rounds, quick) for fields in (7, 39) for size in (SIZES[:2] if quick else SIZES)]
    threads = {name: _threads(model, rounds, quick) for name, model in (("AutoInt", None), ("DeepFM", DEEPFM))}
    targets: list[Target] = []
    for case in cases:
        where = f"{case['fields']} fields, batch {case['batch']}"
        targets.append(Target(f"{where}: times plain PyTorch", case["ratio"], 1.5))
        targets.append(Target(f"{where}: share of a matrix product's rate", case["share"], 0.35))
    targets += [Target(f"{name}: two threads, times one", found["ratio"], 1.3) for name, found in threads.items()]
    largest = max(case["difference"] for case in cases)
    targets.append(Target("largest difference of a score after three steps", largest, 1e-4, "lower"))
    return Result("train", targets, {"cases": cases, "threads": threads})


def _case(fields: int, size: int, rounds: int, quick: bool) -> dict[str, Any]:
    """One thread, CPU seconds."""
    configured = config(fields)
    learned = batches(configured, size, 4)
    learner = wiring.learner(configured)
    form, peer = fastest(learner, configured, learned)  # which reads all rows, so that none is new to the learner
    steps = 1 if quick else max(ROWS[fields] // size, 1)
    flops = _flops_a_row(fields)
    seconds = interleave(
        {
            "ours": turn(learner, learned, steps),
            "peer": peer.turn(steps),
            "product": _product(),
        },
        rounds,
    )
    rates = {side: steps * size / median(seconds[side]) for side in ("ours", "peer")}
    gflops = {side: rate * flops / 1e9 for side, rate in rates.items()}
    gflops["product"] = 2 * PRODUCT**3 / median(seconds["product"]) / 1e9
    found = {"fields": fields, "batch": size, "peer": str(form), "difference": _difference(fields, form)}
    found |= {"ratio": ratio(seconds["peer"], seconds["ours"]), "share": gflops["ours"] / gflops["product"]}
    print(
        f"{fields} fields, batch {size}: {rates['ours']:,.0f} rows/s, {gflops['ours']:.1f} GFLOP/s; plain PyTorch "
        f"({form}) {rates['peer']:,.0f} rows/s, {gflops['peer']:.1f} GFLOP/s; product {gflops['product']:.1f} GFLOP/s"
    )
    return found | {"rows_per_s": rates, "gflop_per_s": gflops, "steps_a_turn": steps, "seconds_a_turn": seconds}


def _product() -> Callable[[], None]:
    left, right, out = (torch.rand(PRODUCT, PRODUCT) for _ in range(3))

    def work() -> None:
        torch.mm(left, right, out=out)

    return work


def _flops_a_row(fields: int) -> float:
    configured = config(fields)
    return Peer(wiring.learner(configured), configured, batches(configured, 8, 1), PRODUCTS).flops_a_row()


def _difference(fields: int, form: Form) -> float:
    """The largest between scores of the two, over the first three batches of 256."""
    configured = config(fields, averaging=0.0)
    learned = batches(configured, 256, 3)
    learner = wiring.learner(configured)
    peer = Peer(learner, configured, learned, form)
    both = zip((learner.step(one, scored=False) for one in learned), peer.scores(), strict=True)
    return max(float(np.abs(ours_B - peers_B).max()) for ours_B, peers_B in both)


def _threads(model: dict[str, Any] | None, rounds: int, quick: bool) -> dict[str, Any]:
    """39 fields, batch 1024: seconds that pass with one and two threads, of the network and of the store."""
    configured = {threads: config(39, model, threads=threads) for threads in (1, 2)}
    learned = batches(configured[1], 1024, 4)
    steps = 1 if quick else 4

    def with_threads(threads: int) -> Callable[[], None]:
        work = turn(wiring.learner(configured[threads]), learned, steps)

        def set_first() -> None:
            torch.set_num_threads(threads)
            work()

        return set_first

    seconds = interleave({f"{n}": with_threads(n) for n in (1, 2)}, rounds, time.perf_counter)
    torch.set_num_threads(1)
    rates = {n: steps * 1024 / median(seconds[n]) for n in seconds}
    return {"ratio": ratio(seconds["1"], seconds["2"]), "rows_per_s": rates, "seconds_a_turn": seconds}
