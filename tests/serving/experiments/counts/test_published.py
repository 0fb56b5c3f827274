"""The page shows the figures of the committed benchmark."""

from __future__ import annotations

from benchmarks.harness import ROOT, saved

SHOWN = ("verdict", "fixed horizon", "fixed horizon, any look")


def percent(share: float) -> str:
    return "100 %" if share == 1 else f"{100 * share:.1f} %"


def test_the_shares_of_the_page_are_those_of_the_result() -> None:
    raw = saved(ROOT / "docs/results", "experiments")[-1]["raw"]
    page = (ROOT / "docs/experiments.md").read_text("utf-8")
    for users in (1_000, 4_000):
        for apart, what in (("0.0", "0 (5 % stated)"), ("0.02", ".02"), ("0.05", ".05")):
            shares = raw[f"{users} users"][f"{apart} apart"]
            cells = [f"{percent(shares[name]['plain'])}, {percent(shares[name]['adjusted'])}" for name in SHOWN]
            assert f"| {users:,} | {what} | {' | '.join(cells)} |" in page
