"""Random numbers for torch's own operations, from one learner's generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def randomness(generator: torch.Generator) -> Iterator[None]:
    """Let torch draw dropout masks from `generator` (on the CPU); its dropout operations take no generator."""
    outside = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(outside)
