"""Public names say what they are for: docstrings everywhere, numpydoc sections for authors."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import harpy

ROOT = Path(__file__).parents[2]
FOLDERS = ("harpy", "jobs", "kernels")
# What users and authors of programs, formats, launchers and estimators call or implement, besides
# the names of harpy.__all__: module, then names.
INTERFACES = {
    "harpy.config": (
        "Deadlines",
        "HadoopConf",
        "load_hadoop_conf",
        "max_losses",
        "resolve_launcher",
    ),
    "harpy.cpus": ("available_cpus",),
    "harpy.estimators.labels": ("LabellingEstimator", "count_labels", "labels_directory"),
    "harpy.estimators.model_files": ("ModelFormat", "SavedEstimator"),
    "harpy.estimators.rows": ("is_plain", "known_rows", "row_weights", "validated_rows"),
    "harpy.estimators.session": ("SessionEstimator", "job_of"),
    "harpy.jobs.kmeans": ("inertia", "main", "predict"),
    "harpy.launch.base": (
        "AttemptFailure",
        "Demand",
        "GangSpec",
        "Grant",
        "Launcher",
        "LaunchStatus",
    ),
    "harpy.program.checkpoint": ("Checkpoint",),
    "harpy.program.communicator": ("Communicator",),
    "harpy.program.context": ("Context",),
    "harpy.program.inputs": ("Inputs", "ShardedArray"),
    "harpy.program.source": ("ProgramSource", "resolve_program"),
    "harpy.session.options": ("JobInfo", "SessionOptions"),
    "harpy.storage.fs.base": ("Entry", "FileSystem", "Writer"),
    "harpy.storage.fs.factory": ("FileSystems", "filesystem"),
    "harpy.storage.readers.base": ("DenseFormat", "Format", "SparseFormat", "TextFormat"),
    "harpy.storage.rows.csr": ("CsrRows",),
    "harpy.storage.rows.put_rows": ("PutRows",),
    "harpy.storage.rows.row_source": ("RowSource",),
    "harpy.storage.rows.spill": ("SpilledRows",),
    "harpy.wire.failure": ("Failure",),
    "harpy.wire.record": ("Record",),
}
# A method whose docstring is "As `Base.method`…" takes, gives and raises what that one does.
INHERITED = re.compile(r"As `\w+\.\w+`")
SECTION = re.compile(r"^([A-Z][A-Za-z ]+)\n-{3,}$", re.MULTILINE)


def public_objects() -> Iterator[tuple[str, Any]]:
    for name in harpy.__all__:
        found = getattr(harpy, name)
        if name == "errors":
            for error in vars(found).values():
                if isinstance(error, type) and error.__module__ == "harpy.errors":
                    yield f"harpy.errors.{error.__name__}", error
        elif callable(found):
            yield f"harpy.{name}", found
    for module, names in INTERFACES.items():
        for name in names:
            yield f"{module}.{name}", getattr(importlib.import_module(module), name)


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """Functions and properties with public names that harpy itself defines, inherited ones too."""
    for owner in cls.__mro__:
        if owner.__module__.split(".")[0] != "harpy" or owner.__module__ == "harpy.errors":
            continue
        for name, found in vars(owner).items():
            if not name.startswith("_") and getattr(cls, name, None) is not None:
                if isinstance(found, (classmethod, staticmethod)):
                    yield name, found.__func__
                elif inspect.isfunction(found) or isinstance(found, (property, cached_property)):
                    yield name, found


def sections(text: str) -> dict[str, str]:
    """Content by heading; what stands before the first is under an empty one."""
    parts = SECTION.split(inspect.cleandoc(text))
    return dict(zip(["", *parts[1::2]], parts[0::2], strict=True))


def entries(section: str) -> dict[str, str]:
    """What is said of each name: its type, or the indented lines below it."""
    said: dict[str, str] = {}
    names: list[str] = []
    for line in section.strip("\n").splitlines():
        if line[:1] not in ("", " "):
            head, _, kind = line.partition(" : ")
            names = [name.strip() for name in head.split(",")]
            said.update(dict.fromkeys(names, kind.strip()))
        else:
            said.update({name: said[name] + line.strip() for name in names})
    return said


def parameters(function: Any) -> list[str]:
    marks = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [
        marks.get(each.kind, "") + name
        for name, each in inspect.signature(function).parameters.items()
        if name not in ("self", "cls") and not name.startswith("_")
    ]


def undescribed(wanted: list[str], described: dict[str, str]) -> list[str]:
    return [name for name in wanted if not described.get(name)]


def problems_of_class(cls: type) -> Iterator[str]:
    text = cls.__doc__ or ""
    if not text or text.startswith(f"{cls.__name__}("):  # what a dataclass makes of its fields
        yield "has no docstring"
        return
    found = sections(text)
    if is_dataclass(cls) or not issubclass(cls, BaseException):
        own = vars(cls).get("__init__")
        if own is None or not callable(own) or getattr(cls, "_is_protocol", False):
            return
        described = entries(found.get("Parameters", "")) | entries(found.get("Attributes", ""))
        if is_dataclass(cls):
            described = commented_fields(cls) | described
        for name in undescribed(parameters(own), described):
            yield f"does not describe {name}"


def commented_fields(cls: type) -> dict[str, str]:
    """The comments of a dataclass's fields, in their line or above it."""
    lines = textwrap.dedent(inspect.getsource(cls)).splitlines()
    said = {}
    for above, line in pairwise(lines):
        field = re.match(r"    (\w+): ", line)
        if field:
            comment = line.partition("  # ")[2] or (above if above.startswith("    # ") else "")
            said[field[1]] = comment
    return {name: comment for name, comment in said.items() if comment}


def problems_of_function(function: Any) -> Iterator[str]:
    text = function.__doc__
    if not text:
        yield "has no docstring"
        return
    if INHERITED.match(text):
        return
    found = sections(text)
    for name in undescribed(parameters(function), entries(found.get("Parameters", ""))):
        yield f"does not describe {name}"
    returned = str(inspect.signature(function).return_annotation)
    gives = not {"Returns", "Yields"} & found.keys()
    if gives and returned not in ("None", "NoReturn") and "empty" not in returned:
        yield "does not say what it returns"
    if "Raises" not in found and raises_itself(function):
        yield "does not say what it raises"


def raises_itself(function: Any) -> bool:
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    return any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(tree))


def test_what_users_and_authors_call_says_what_it_takes_gives_and_raises() -> None:
    problems = set()
    for name, found in public_objects():
        if inspect.isfunction(found):
            problems |= {f"{name} {problem}" for problem in problems_of_function(found)}
            continue
        problems |= {f"{name} {problem}" for problem in problems_of_class(found)}
        for method, body in methods(found):
            if isinstance(body, (property, cached_property)):
                if not body.__doc__:
                    problems.add(f"{name}.{method} has no docstring")
            else:
                where = f"{body.__module__}.{body.__qualname__}"
                problems |= {f"{where} {problem}" for problem in problems_of_function(body)}
    assert not problems, "\n".join(sorted(problems))


def definitions(tree: ast.AST, above: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            yield f"{above}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node, f"{above}{node.name}.")


def is_another(node: ast.AST) -> bool:
    """Whether it is a second definition of what has a docstring: an overload, or a setter."""
    decorators = map(ast.unparse, getattr(node, "decorator_list", []))
    return any(each == "overload" or each.endswith(".setter") for each in decorators)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_and_public_name_has_a_docstring(folder: str) -> None:
    bare = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            bare.append(str(path.relative_to(ROOT)))
        for name, node in definitions(tree):
            if not is_another(node) and not ast.get_docstring(node):  # type: ignore[arg-type]
                bare.append(f"{path.relative_to(ROOT)}: {name}")
    assert not bare, "\n".join(bare)
