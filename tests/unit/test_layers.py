"""Imports are those that the map in docs/architecture.md allows, and none go in a circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = {"harpy": "harpy", "harpy.jobs": "jobs", "harpy.kernels": "kernels"}
MAP = ROOT / "docs" / "architecture.md"
LINE = re.compile(r"^\| `(?P<room>[\w/]+)` \| [^|]* \| (?P<others>[^|]*)\|", re.MULTILINE)
GROUND = {"errors", "config", "cpus"}  # everybody may use these


def room_named(folder: str) -> str:
    """As code spells a room: `harpy/storage/fs/` is storage.fs, `jobs/` is jobs."""
    return folder.removeprefix("harpy/").strip("/").replace("/", ".")


# The map's table of rooms: which room may import which others.
MAY_IMPORT = {
    room_named(line["room"]): set(map(room_named, re.findall(r"`([^`]+)`", line["others"])))
    for line in LINE.finditer(MAP.read_text())
}


@cache
def modules() -> dict[str, Path]:
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py*")):
            if path.suffix in (".py", ".pyi"):
                parts = path.relative_to(ROOT / folder).with_suffix("").parts
                found[".".join([package, *parts]).removesuffix(".__init__")] = path
    return found


def module_of(name: str) -> str:
    while name not in modules():
        name = name.rpartition(".")[0]
    return name


def imports(path: Path) -> Iterator[str]:
    """The modules of harpy that a file names, wherever: also in functions and for types only."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            named = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            named = [f"{node.module}.{each.name}" for each in node.names]
        else:
            continue
        yield from (module_of(name) for name in named if name.split(".")[0] == "harpy")


def room_of(module: str) -> str:
    name = module.removeprefix("harpy").strip(".") or "__init__"
    while name not in MAY_IMPORT:
        assert name, f"{module} is in no room of the table"
        name = name.rpartition(".")[0]
    return name


def may(room: str, other: str) -> bool:
    granted = MAY_IMPORT[room] | GROUND
    return other in granted | {room} or other.split(".")[0] in granted


def test_the_map_names_every_room_once_and_none_that_is_not_there() -> None:
    lines = [room_named(line["room"]) for line in LINE.finditer(MAP.read_text())]
    assert len(lines) == len(set(lines))
    assert {room_of(module) for module in modules()} == set(lines)
    assert set().union(*MAY_IMPORT.values()) <= set(lines)


def test_rooms_import_only_what_is_below_them() -> None:
    upwards = [
        f"{module} imports {other}"
        for module, path in modules().items()
        for other in imports(path)
        if not may(room_of(module), room_of(other))
    ]
    assert not upwards, "\n".join(sorted(set(upwards)))


def test_no_modules_import_each_other_in_a_circle() -> None:
    arrows = {
        module: {other for other in imports(path) if other != module}
        for module, path in modules().items()
    }
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as exc:
        raise AssertionError(" -> ".join(reversed(exc.args[1]))) from None
