"""Processes that form a group of PyTorch (gloo) on loopback, for benchmarks of what they exchange."""

from __future__ import annotations

import logging
import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

SECONDS = 600
"""After which a process is given up."""


def together(world: int, member: Callable[..., Any], *arguments: Any) -> Any:
    """What member(rank, *arguments) returns in the first of `world` processes, each with one thread.

    Raises RuntimeError if one of them fails.
    """
    context = multiprocessing.get_context("spawn")
    answers: SimpleQueue[Any] = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        members = [
            context.Process(target=_run, args=(rank, world, meeting, answers, member, arguments), daemon=True)
            for rank in range(world)
        ]
        for process in members:
            process.start()
        try:
            for process in members:
                process.join(SECONDS)
            if any(process.exitcode != 0 for process in members):
                raise RuntimeError("a process of the benchmark failed, see above")
            return answers.get()
        finally:
            for process in members:
                process.kill()


def _run(
    rank: int, world: int, meeting: Path, answers: SimpleQueue[Any], member: Callable[..., Any], arguments: Any
) -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=world)
    answer = member(rank, *arguments)
    if rank == 0:
        answers.put(answer)
    dist.barrier()
    dist.destroy_process_group()
