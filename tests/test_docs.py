"""What the documentation names is there: files, links, modules and classes."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from recsys.cli import main
from recsys.config.schema import Config
from recsys.config.sections.learning.models import SECTIONS

ROOT = Path(__file__).parents[1]
PACKAGES = ("streaming", "embedding", "serving", "recsys")
FOLDERS = (*PACKAGES, "tests", "benchmarks", "docs", "examples", "deploy")
PAGES = sorted(
    [
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/models/*.md"),
        *ROOT.glob("docs/adr/*.md"),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
    ]
    + [page for package in PACKAGES for page in (ROOT / package).glob("README.md")]
)
CURRENT = [page for page in PAGES if page.parent.name != "adr"]  # a decision names things as they were at its time

EXAMPLES = {"sqlite_log.py", "tests/streaming/log/test_sqlite_log.py", "widedeep.py", "picked.py"}
"""Files that a reader of docs/extending.md writes."""

_PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*|[\w/-]+\.py")
_DOTTED = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
_CLASS = re.compile(r"[A-Z][a-z]\w*[A-Z]\w*")


def code_words(page: Path) -> list[str]:
    """The words in backticks, code blocks left out."""
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\s]+)`", prose)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def names(module: Path) -> frozenset[str]:
    """What a module binds at its top level."""
    bound: set[str] = set()
    for node in ast.parse(module.read_text("utf-8")).body:
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                bound.add(node.name)
            case ast.Assign():
                bound.update(target.id for target in node.targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name(id=name)):
                bound.add(name)
            case _:
                pass
    return frozenset(bound)


@cache
def classes() -> frozenset[str]:
    """Every name that starts like a class and that a module of ours binds."""
    return frozenset(
        name for package in PACKAGES for module in (ROOT / package).rglob("*.py") for name in names(module)
    )


def resolves(dotted: str) -> bool:
    """Whether it is a package, a module, or a name that a module binds."""
    path = ROOT.joinpath(*dotted.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module, name = path.parent, path.name
    files = [module.with_suffix(".py"), module / "__init__.py"]
    return any(file.is_file() and name in names(file) for file in files)


@pytest.mark.parametrize("page", CURRENT, ids=named)
def test_every_path_exists(page: Path) -> None:
    folders = [ROOT, page.parent, *(ROOT / package for package in PACKAGES)]
    if page.name == "torchrec.md":
        folders.append(ROOT / "embedding" / "torchrec")
    paths = [word for word in code_words(page) if _PATH.fullmatch(word)]
    if page.parent.name in PACKAGES:
        paths += [word for word in code_words(page) if re.fullmatch(r"\w+/", word)]
    missing = [path for path in paths if not any((folder / path).exists() for folder in folders)]
    assert set(missing) - EXAMPLES == set()


def test_the_modules_of_the_embedding_store_exist() -> None:
    table = (ROOT / "docs" / "embedding.md").read_text("utf-8").split("| module |")[1].split("\n\n")[0]
    modules = [name for line in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", line.split("|")[1])]
    assert len(modules) > 10
    assert [name for name in modules if not resolves("embedding." + name.strip("/").replace("/", "."))] == []


def test_file_names_that_occur_twice_are_explained() -> None:
    """A new `table.py` beside three others has the name of what it holds, or the page says why not."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py") if file.stem[0] != "_"]
    twice = {name for name, count in Counter(file.stem for file in files).items() if count > 1}
    table = (ROOT / "docs" / "architecture.md").read_text("utf-8").split("| name | why twice |")[1].split("\n\n")[0]
    explained = {name for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert twice == explained


def test_a_class_name_stands_for_one_thing() -> None:
    texts = [file.read_text("utf-8") for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    found = Counter(name for text in texts for name in re.findall(r"^class (\w+)", text, re.MULTILINE))
    assert len(found) > 500
    assert [name for name, count in found.items() if count > 1] == []


@pytest.mark.parametrize("page", CURRENT, ids=named)
def test_every_dotted_name_exists(page: Path) -> None:
    dotted = [word for word in code_words(page) if _DOTTED.fullmatch(word) and not word.endswith(".toml")]
    assert [name for name in dotted if not resolves(name)] == []


@pytest.mark.parametrize("page", CURRENT, ids=named)
def test_every_name_is_in_its_file(page: Path) -> None:
    """Where a page says "`NAME` in `path/file.py`"."""
    found = re.findall(r"`(\w+)` in `([\w/]+\.py)`", page.read_text("utf-8"))
    assert [(name, path) for name, path in found if name not in names(ROOT / path)] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", CURRENT, ids=named)
def test_every_class_exists(page: Path) -> None:
    foreign = {"EmbeddingBagCollection", "EmbeddingCollection", "DistributedModelParallel", "ManagedCollisionModule"}
    foreign |= set(re.findall(r"alert: (\w+)", (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text("utf-8")))
    words = {word for word in code_words(page) if _CLASS.fullmatch(word)}
    assert words - classes() - foreign == set()


@pytest.mark.parametrize("page", CURRENT, ids=named)
def test_every_setting_exists(page: Path) -> None:
    """Where a page says `[section] setting`."""
    config = Config()
    found = re.findall(r"`\[([a-z]\w*)\](?: (\w+))?", page.read_text("utf-8"))
    missing = [
        (section, name)
        for section, name in found
        if not hasattr(config, section) or (name and not hasattr(getattr(config, section), name))
    ]
    assert missing == []


@pytest.mark.parametrize("name", SECTIONS)
def test_every_model_has_a_page_with_its_settings(name: str) -> None:
    """As the configuration has them by default."""
    page = (ROOT / f"docs/models/{name}.md").read_text("utf-8")
    said = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", page, re.MULTILINE))
    options = SECTIONS[name].model_validate({}).model_dump(mode="json", exclude={"name"})
    assert {option: json.loads(value) for option, value in said.items()} == options
    assert re.findall(r"^## (.*)", page, re.MULTILINE)[:3] == ["Settings", "Where paper and code differ", "When"]
    assert re.findall(r"^## .*\n\s*(?=## |\Z)", page, re.MULTILINE) == []  # each says something


@pytest.mark.parametrize("page", CURRENT, ids=named)
def test_every_command_exists(page: Path) -> None:
    """The commands of `recsys`, the targets of make and the benchmarks."""
    code = re.findall(r"`([^`\n]+)`|^((?:recsys|make|python) .*)$", page.read_text("utf-8"), re.MULTILINE)
    lines = [word or line for word, line in code]
    commands = {match[1] for line in lines if (match := re.match(r"recsys ([a-z]+)", line))}
    assert commands <= main.commands.keys()
    targets = {match[1] for line in lines if (match := re.match(r"make ([a-z-]+)", line))}
    assert targets <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    benchmarks = {match[1] for line in lines if (match := re.match(r"python -m benchmarks ([a-z_]+)", line))}
    assert benchmarks <= {file.stem for file in (ROOT / "benchmarks").glob("[a-z]*.py")}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of the headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
