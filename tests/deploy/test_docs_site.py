"""The pages of the documentation's site, before they are made HTML."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_docs import ROOT

PAGES = runpy.run_path(str(ROOT / "deploy" / "docs" / "pages.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "pages"
    PAGES["write"](folder)
    return folder


def test_links_lead_to_pages_of_the_site(folder: Path) -> None:
    found = 0
    for page in folder.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
                found += 1
    assert found > 200


def test_every_page_has_its_place(folder: Path) -> None:
    settings: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "docs" / "mkdocs.yml").read_text("utf-8"))
    placed = {
        page for one in settings["nav"] for page in (next(iter(one.values())) if isinstance(one, dict) else [one])
    }
    pages = [*folder.glob("*.md"), *folder.glob("models/*.md")]
    assert {str(page.relative_to(folder)) for page in pages} == placed - {"results/README.md"}


def test_metrics_of_alerts_and_dashboard_are_in_the_reference(folder: Path) -> None:
    described = set(re.findall(r"^\| `(\w+)`", (folder / "metrics.md").read_text("utf-8"), re.MULTILINE))
    used = "".join(
        (ROOT / "deploy" / name).read_text("utf-8") for name in ("prometheus/alerts.yml", "grafana/recsys.json")
    )
    series = {re.sub("_(total|count|sum|bucket)$", "", name) for name in re.findall(r"\brecsys_\w+", used)}
    assert series
    assert series <= described


def test_what_the_reference_names_exists(folder: Path) -> None:
    names = re.findall(r"^::: ([\w.]+)", (folder / "api.md").read_text("utf-8"), re.MULTILINE)
    assert names
    for name in names:
        path = name.split(".")
        module = next(
            ROOT.joinpath(*path[:size]).with_suffix(".py")
            for size in range(len(path), 0, -1)
            if ROOT.joinpath(*path[:size]).with_suffix(".py").exists()
        )
        last = path[-1]
        assert module.stem == last or re.search(rf"^class {last}\b", module.read_text("utf-8"), re.MULTILINE)
