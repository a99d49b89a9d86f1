"""Arrows between rooms point down only, and no two modules need each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = {"harpy": "harpy", "harpy.jobs": "jobs", "harpy.kernels": "kernels"}
GROUND = {"errors", "config", "cpus"}  # everybody may use these
MAY_IMPORT = {
    "errors": set(),
    "config": set(),
    "cpus": set(),
    "kernels": set(),
    "jobs": {"kernels", "program"},
    "wire": {"kernels"},
    "storage.fs": set(),
    "storage.rows": {"storage.fs", "storage.readers", "wire"},
    "storage.readers": {"storage.fs", "storage.rows"},
    "storage": {"storage.fs", "storage.rows", "wire"},
    "program": {"kernels", "wire", "storage"},
    "launch": {"wire"},
    "launch.local": {"launch", "wire"},
    "launch.yarn": {"launch", "wire"},
    "gang": {"kernels", "wire", "storage", "program"},
    "session": {"kernels", "wire", "storage", "program", "launch"},
    "estimators": {"storage", "session", "__init__"},
    "estimators.kmeans": {"kernels", "storage", "session", "estimators"},
    "cluster": {"launch", "cli.options"},
    "demo": {"cluster", "__init__"},
    "cli": {"cli.options", "storage", "session", "estimators", "__init__"},
    "cli.options": set(),
    "__init__": set(),  # the public names, imported when asked for
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
