"""Signals end a server at any moment after it was asked to serve."""

from __future__ import annotations

import gc
import signal

import pytest
from starlette.applications import Starlette

from serving.listening.http_server import http_server, listening, serve


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_it_listens_for_signals_ends_it(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = []

    def interrupted() -> None:
        raised.append(number)
        signal.raise_signal(number)

    monkeypatch.setattr(gc, "freeze", interrupted)  # before the event loop runs
    before = signal.getsignal(number)
    with listening("127.0.0.1", 0) as listener:
        serve(http_server(Starlette()), listener)
    assert raised == [number]
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_moment_that_it_answers_ends_it(number: signal.Signals) -> None:
    raised = []

    def ready() -> None:
        raised.append(number)
        signal.raise_signal(number)

    with listening("127.0.0.1", 0) as listener:
        serve(http_server(Starlette()), listener, ready)
    assert raised == [number]
