"""Files and functions that the glossary, the map and "where" name are there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ANSWER = re.compile(r"`([\w./]+\.\w+)::([\w.]+)`")  # `file::name`, in where.md
TERM = re.compile(r"`([\w./]+\.py)` `([\w.]+)`")  # `file` `name`, in glossary.md
PLACE = re.compile(r"`((?:harpy|jobs|kernels|docs)/[\w./]+)`")


@cache
def names_in(path: Path) -> set[str]:
    """What a file defines: of Python functions, classes, their attributes and module variables."""
    text = path.read_text()
    if path.suffix != ".py":
        return set(re.findall(r"\w+", text))
    found: set[str] = set()

    def walk(node: ast.AST, above: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                found.add(above + child.name)
                if isinstance(child, ast.ClassDef):
                    walk(child, f"{above}{child.name}.")
            elif isinstance(child, ast.Assign):
                found.update(above + ast.unparse(target) for target in child.targets)
            elif isinstance(child, ast.AnnAssign):
                found.add(above + ast.unparse(child.target))

    walk(ast.parse(text), "")
    return found


def named(document: str, pattern: re.Pattern[str]) -> list[tuple[str, str]]:
    return pattern.findall((DOCS / document).read_text())


@pytest.mark.parametrize(
    ("document", "pattern"),
    [("where.md", ANSWER), ("glossary.md", TERM)],
    ids=["where", "glossary"],
)
def test_functions_are_where_the_page_says(document: str, pattern: re.Pattern[str]) -> None:
    pairs = named(document, pattern)
    missing = [
        f"{file}: {name}"
        for file, name in pairs
        if not (ROOT / file).is_file() or name not in names_in(ROOT / file)
    ]
    assert len(pairs) > 20
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("document", ["where.md", "glossary.md", "architecture.md"])
def test_files_and_folders_are_there(document: str) -> None:
    places = PLACE.findall((DOCS / document).read_text())
    paths = [place for place in places if "::" not in place]
    missing = [path for path in paths if not any(map(Path.exists, _spellings(ROOT / path)))]
    assert not missing, "\n".join(missing)


def _spellings(path: Path) -> list[Path]:
    """A module may be named without its ending."""
    return [path, path.with_name(f"{path.name}.py")]


def test_every_question_has_an_answer_by_file_and_function() -> None:
    rows = [line for line in (DOCS / "where.md").read_text().splitlines() if line.startswith("| ")]
    questions = [row for row in rows if not row.startswith("| question")]
    assert len(questions) >= 20
    unanswered = [row for row in questions if not ANSWER.search(row)]
    assert not unanswered, "\n".join(unanswered)
