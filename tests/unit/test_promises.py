"""docs/promises.md names tests that there are."""

from __future__ import annotations

import ast
import re

from tests.support import ROOT

NAMED = re.compile(r"`((?:tests|benchmarks/tests)/\w[\w/]*\.py)(?:::(\w+))?`")
SHORT = re.compile(r"`::(\w+)`")  # of the file that was named before


def functions(path: str) -> set[str]:
    """Names of the tests in a file of the repository; none if there is no such file."""
    file = ROOT / path
    tree = ast.parse(file.read_text()) if file.is_file() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_promises_name_exists() -> None:
    named = []
    path = ""
    for line in (ROOT / "docs" / "promises.md").read_text().splitlines():
        for match in re.finditer(f"{NAMED.pattern}|{SHORT.pattern}", line):
            path = match[1] or path
            named.append((path, match[2] or match[3]))
    assert len(named) > 100
    missing = [
        f"{path}::{name or ''}"
        for path, name in named
        if not (name in functions(path) if name else (ROOT / path).is_file())
    ]
    assert not missing
