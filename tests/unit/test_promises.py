"""docs/promises.md names tests, and places in the code, that there are."""

from __future__ import annotations

import ast
import re

from tests.support import ROOT

PAGE = (ROOT / "docs" / "promises.md").read_text()
TEST = re.compile(r"`((?:tests|benchmarks/tests)/\w[\w/]*\.py)(?:::(\w+))?`|`::(\w+)`")
PLACE = re.compile(r"\| `((?:harpy|jobs)/\w[\w/]*\.py)` `([\w.]+)` \|")


def names_in(path: str) -> set[str]:
    """Names of the functions and classes in a file of the repository; none if there is no file."""
    file = ROOT / path
    tree = ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_every_test_that_is_named_exists() -> None:
    named: list[tuple[str, str | None]] = []
    for path, name, of_the_same_file in TEST.findall(PAGE):
        named.append((path or named[-1][0], name or of_the_same_file))
    assert len(named) > 150
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (name in names_in(path) if name else (ROOT / path).is_file())
    ]
    assert not missing


def test_every_place_that_was_changed_exists() -> None:
    places = PLACE.findall(PAGE)
    assert len(places) > 40
    missing = [
        f"{path} {name}" for path, name in places if not {*name.split(".")} <= names_in(path)
    ]
    assert not missing
