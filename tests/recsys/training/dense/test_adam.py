"""`torch.optim.Adam` is the independent case: both call one function of torch for the arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from recsys.training.dense.adam import Adam


def learned(
    make: Callable[[Iterable[torch.nn.Parameter]], Adam | torch.optim.Adam], resume_at: int = -1
) -> torch.Tensor:
    """All weights after 12 steps, of which the second half has no gradient for the last layer."""
    draw = torch.Generator().manual_seed(1)
    weights = [torch.nn.Parameter(torch.randn(3, 2, generator=draw)) for _ in range(2)]
    optimizer = make(weights)
    for number in range(12):
        if number == resume_at and isinstance(optimizer, Adam):
            state = optimizer.state()
            optimizer = make(weights)
            assert isinstance(optimizer, Adam)
            optimizer.restore(state)
        inputs = torch.randn(4, 3, generator=draw)
        optimizer.zero_grad()
        used = weights if number < 6 else weights[:1]
        (inputs @ torch.cat([*used], 1)).square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return torch.stack([weight.detach() for weight in weights])


def test_it_learns_as_torchs_own() -> None:
    expected = learned(lambda weights: torch.optim.Adam(weights, lr=0.01, fused=True))
    torch.testing.assert_close(learned(lambda weights: Adam(weights, lr=0.01)), expected, rtol=0, atol=0)


def test_it_goes_on_from_a_saved_state() -> None:
    expected = learned(lambda weights: Adam(weights, lr=0.01))
    for number in (0, 3, 9):
        torch.testing.assert_close(learned(lambda weights: Adam(weights, lr=0.01), number), expected, rtol=0, atol=0)


def test_a_saved_state_is_a_copy() -> None:
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = Adam([weight], lr=0.01)
    weight.grad = torch.full((1,), 2.0)
    optimizer.step()
    before = {name: value.clone() for name, value in optimizer.state().items()}
    saved = optimizer.state()
    optimizer.step()
    assert saved == before != optimizer.state()
