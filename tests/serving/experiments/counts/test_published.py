"""The page shows the figures of the committed benchmark."""

from __future__ import annotations

from benchmarks.harness import ROOT, saved


def test_the_shares_of_the_page_are_those_of_the_result() -> None:
    raw = saved(ROOT / "docs/results", "experiments")[-1]["raw"]
    page = (ROOT / "docs/experiments.md").read_text("utf-8")
    for users in (1_000, 4_000):
        for arms, what in (("equal", "equal arms told apart (5 % stated)"), ("different", "arms .02 apart told apart")):
            shares = raw[f"{users} users"][arms]
            row = f"| {users:,} | {what} | {100 * shares['plain']:.1f} % | {100 * shares['adjusted']:.1f} % |"
            assert row in page
