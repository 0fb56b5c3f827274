"""Puts together the pages of the documentation's site: docs/, and what is generated from the code.

`python deploy/docs/pages.py FOLDER` writes them; deploy/docs/mkdocs.yml makes a site of them, with this file's hook.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_DIAGRAM = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)
"""Drawn by a script from another host, which the site does not ask."""
_SHIM = "https://unpkg.com/iframe-worker/shim"
"""What the theme loads so that pages opened from the disk can be searched."""
_KINDS = {
    "Counter": "counter",
    "CounterMetricFamily": "counter",
    "Histogram": "histogram",
    "Summary": "summary",
    "GaugeMetricFamily": "gauge",
    "_gauge": "gauge",
}
"""What makes a metric, and its type."""
_API = {
    "The platform as an object": ["recsys.recommender.recommender.Recommender"],
    "A client of the server": ["recsys.client.client.Client", "recsys.client.retries.Retries"],
    "Requests and answers": ["serving.api.messages.schemas"],
    "Events": ["streaming.events.schema"],
    "The embedding store": ["embedding.local.store.LocalStore", "embedding.store"],
    "The drop-in for TorchRec": ["embedding.torchrec.collection.CollisionFreeEmbeddingBagCollection"],
    "Errors": ["recsys.errors"],
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a server, as the code declares it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    what: str


def write(folder: Path) -> None:
    """Write all pages into `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder)
    for page in folder.rglob("*.md"):
        page.write_text(within(page.read_text("utf-8"), page.relative_to(folder)), "utf-8")
    for name, page in (("README.md", "index.md"), ("CONTRIBUTING.md", "contributing.md")):
        (folder / page).write_text(within((ROOT / name).read_text("utf-8"), Path(page), ROOT), "utf-8")
    (folder / "index.md").write_text(_DIAGRAM.sub("", (folder / "index.md").read_text("utf-8")), "utf-8")
    shutil.copytree(ROOT / "deploy" / "docs" / "vendor", folder / "vendor")
    (folder / "configuration.md").write_text(configuration(), "utf-8")
    (folder / "metrics.md").write_text(metrics_page(), "utf-8")
    (folder / "api.md").write_text(api(), "utf-8")
    (folder / "decisions.md").write_text(decisions(), "utf-8")


def on_post_build(config: Any, **_: object) -> None:
    """MkDocs calls it: the shim comes from the site itself."""
    site = Path(config["site_dir"])
    (shim,) = (site / "vendor").glob("iframe-worker-*.js")
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        page.write_text(page.read_text("utf-8").replace(_SHIM, f"{up}vendor/{shim.name}"), "utf-8")


def within(text: str, page: Path, at: Path = ROOT / "docs") -> str:
    """`text` with links that work in the site: to pages there, and only the words of links to other files.

    `page` is the page's path in the site, and relative links were written from the folder of that path below `at`.
    """

    def moved(link: re.Match[str]) -> str:
        image, words, target, anchor = link.groups()
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        place = ((at / page).parent / target).resolve()
        if place == ROOT / "README.md":
            place = ROOT / "docs" / "index.md"
        elif place == ROOT / "CONTRIBUTING.md":
            place = ROOT / "docs" / "contributing.md"
        elif place.is_dir() and (place / "README.md").exists() and place.is_relative_to(ROOT / "docs"):
            place /= "README.md"
        elif place == ROOT / "docs" / "adr":
            place = ROOT / "docs" / "decisions.md"
        if not place.is_relative_to(ROOT / "docs"):
            return words
        up = "../" * (len(page.parts) - 1)
        return f"{image}[{words}]({up}{place.relative_to(ROOT / 'docs').as_posix()}{anchor or ''})"

    return _LINK.sub(moved, text)


def configuration() -> str:
    """Every setting with its default and meaning: the file that `recsys init` writes, which a test keeps complete."""
    settings = (ROOT / "recsys" / "recsys.toml").read_text("utf-8")
    return (
        "# Configuration\nEvery setting of `recsys.toml` with its default. `recsys init` writes this file, and "
        f"`recsys check` says what is wrong with yours.\n\n```toml\n{settings}```\n"
    )


def metrics_page() -> str:
    rows = [
        f"| `{one.name}` | {one.kind} | {', '.join(f'`{label}`' for label in one.labels)} | {one.what} |"
        for one in metrics()
    ]
    head = "| metric | type | labels | what it is |\n|---|---|---|---|\n"
    return (
        "# Metrics\nWhat `GET /metrics` of a server has, and of a trainer (`[training] metrics`) the last three. "
        "Counters end in `_total`, histograms and summaries have `_count` and `_sum`. What to look at and when: "
        "[operations](operations.md).\n\n" + head + "\n".join(rows) + "\n"
    )


def metrics() -> list[Metric]:
    """All that the server's code declares, in the order of the code."""
    folder = ROOT / "serving" / "api" / "monitoring"
    return [
        metric
        for name in ("prometheus.py", "trainer_metrics.py")
        for metric in _declared(ast.parse((folder / name).read_text("utf-8")))
    ]


def _declared(tree: ast.Module) -> Iterator[Metric]:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    for call in sorted(calls, key=lambda node: node.lineno):
        kind = _KINDS.get(call.func.id)  # type: ignore[attr-defined]
        texts = [one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if kind and len(texts) == 2:
            lists = [one for one in (*call.args, *(key.value for key in call.keywords)) if isinstance(one, ast.List)]
            labels = tuple(element.value for element in lists[0].elts) if lists else ()  # type: ignore[attr-defined]
            yield Metric(texts[0], kind, labels, texts[1])


def api() -> str:
    parts = ["# Python API"]
    for title, names in _API.items():
        parts += [f"## {title}", *(f"::: {name}\n    options:\n      heading_level: 3" for name in names)]
    return "\n\n".join(parts) + "\n"


def decisions() -> str:
    """The decision records, by their titles."""
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    titles = {page.name: page.read_text("utf-8").partition("\n")[0].lstrip("# ") for page in pages}
    return "# Decisions\n" + "".join(f"- [{title}](adr/{name})\n" for name, title in titles.items())


if __name__ == "__main__":
    write(Path(sys.argv[1]))
