"""What is installed of others, audited without a network: what a lock lets in, and under which licence."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

LOCKS = Path(__file__).parents[2] / "deploy" / "locks"
_PACKAGE = re.compile(r"^([a-z0-9][a-z0-9._-]*)(?:\[[a-z0-9,._-]+\])?==(\S+)([^\n]*(?:\n[ \t]+[^\n]*)*)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_FREE = re.compile(r"\b(MIT|BSD|0BSD|Apache|PSF|MPL|Mozilla|LGPL|ISC|Zlib|Unlicense|CC0)", re.IGNORECASE)
_BINDING = re.compile(r"(?<![L])GPL|Affero|SSPL|BUSL|Commons Clause|proprietary", re.IGNORECASE)


def packages(lock: str) -> list[tuple[str, str, str]]:
    """Name, version, and what follows: marker and hashes."""
    return _PACKAGE.findall((LOCKS / lock).read_text("utf-8"))


def every_lock() -> list[str]:
    return sorted(path.name for path in LOCKS.glob("*.txt"))


@pytest.mark.parametrize("lock", every_lock())
def test_a_lock_lets_in_one_version_by_its_hashes_and_names_no_address(lock: str) -> None:
    text = (LOCKS / lock).read_text("utf-8")
    found = packages(lock)
    assert found
    assert [name for name, _, rest in found if not _HASH.search(rest)] == []
    left = _PACKAGE.sub("", text)
    assert [line for line in left.splitlines() if line.strip() and not line.startswith("#")] == []
    assert "://" not in text
    assert " @ " not in text


def test_servers_get_what_the_tests_run_with() -> None:
    tested = {(name, version) for name, version, _ in packages("cpu.txt")}
    assert {(name, version) for name, version, _ in packages("serving.txt")} <= tested


def licence(name: str) -> str:
    """As the package declares it; the first line of a text."""
    said = distribution(name).metadata
    kinds = [one.rpartition(" :: ")[2] for one in said.get_all("Classifier", []) if one.startswith("License ::")]
    text = "".join(said.get_all("License", [])).strip().splitlines()
    return "; ".join([*said.get_all("License-Expression", []), *kinds, *text[:1]])


def test_licences_of_what_servers_are_shipped_with() -> None:
    """Known, and none that binds what is built on it; such as are not for this machine are not installed."""
    found = {}
    for name, _, _ in packages("serving.txt"):
        try:
            found[name] = licence(name)
        except PackageNotFoundError:
            continue
    assert len(found) > 40
    assert {name: said for name, said in found.items() if not _FREE.search(said) or _BINDING.search(said)} == {}


@pytest.mark.parametrize(
    ("said", "fine"), [("MIT", 1), ("LGPL-2.1-or-later", 1), ("", 0), ("GPL-3.0", 0), ("AGPL-3.0-only", 0)]
)
def test_what_is_taken_for_a_free_licence(said: str, fine: int) -> None:
    assert bool(_FREE.search(said) and not _BINDING.search(said)) == bool(fine)
