"""What a run executes: an importable function, a Python file or a function, shipped as source.

Nothing is pickled. A function of an installed module travels as its name; any other travels as the
text of its file, which workers load under a private name (so an `if __name__ == "__main__"` guard
holds), or, where there is no file, as the text of the function alone.
"""

from __future__ import annotations

import hashlib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harpy.errors import ConfigError

Program = str | Path | Callable[..., Any]


@dataclass(frozen=True)
class ProgramSource:
    """A program ready to travel. Exactly one of `module` and `text` is set."""

    function: str  # to call; dots reach into classes
    module: str | None = None  # importable, that holds it
    text: str | None = None  # of a file that holds it
    origin: str = ""  # for messages: the path or module it came from

    @property
    def digest(self) -> str:
        """Content hash of the text: the name of the file in the job directory."""
        return hashlib.sha256((self.text or "").encode()).hexdigest()[:20]


def resolve_program(program: Program) -> ProgramSource:
    """Find what a run executes.

    Parameters
    ----------
    program : str, Path or function
        "package.module:function", a path to a Python file (its `main`, or "file.py:function"), or a
        plain function.

    Returns
    -------
    ProgramSource

    Raises
    ------
    ConfigError
        Not found, not Python, a lambda, or a function with a closure.
    """
    if callable(program):
        return _from_function(program)
    text = str(program)
    path, _, function = text.rpartition(":") if ":" in text else (text, "", "main")
    if path.endswith(".py"):
        return _from_file(Path(path), function or "main")
    if isinstance(program, Path) or "/" in text:
        raise ConfigError(f"a program file must end in .py, got {text!r}")
    if ":" not in text:
        raise ConfigError(
            f"program must be 'file.py', 'package.module:function' or a function, got {text!r}"
        )
    return ProgramSource(function=function, module=path, origin=path)


def _from_file(path: Path, function: str) -> ProgramSource:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ConfigError(f"no program at {path} (looked in {Path.cwd()})") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read program {path}: {exc}") from exc
    return _checked(ProgramSource(function=function, text=text, origin=str(path)))


def _from_function(function: Callable[..., Any]) -> ProgramSource:
    name = getattr(function, "__name__", None)
    if not inspect.isfunction(function) or name is None:
        raise ConfigError(f"program must be a plain function, got {type(function).__name__}")
    if name == "<lambda>":
        raise ConfigError("program must be a named function: a lambda's source cannot be shipped")
    if function.__closure__:
        names = ", ".join(function.__code__.co_freevars)
        raise ConfigError(
            f"program {name!r} uses variables of the function around it ({names}), which do not "
            "travel to the workers; pass them in params"
        )
    module = function.__module__ or ""
    if module.split(".")[0] == "harpy":
        return ProgramSource(function=function.__qualname__, module=module, origin=module)
    file = inspect.getsourcefile(function)
    if "<locals>" not in function.__qualname__ and file and Path(file).is_file():
        return _from_file(Path(file), function.__qualname__)
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except OSError as exc:
        raise ConfigError(f"the source of program {name!r} is not available: {exc}") from exc
    return _checked(ProgramSource(function=name, text=text, origin=file or "interactive input"))


def _checked(source: ProgramSource) -> ProgramSource:
    """Refuse what could not even be compiled, or lacks its function, before any worker starts."""
    assert source.text is not None
    try:
        code = compile(source.text, source.origin, "exec")
    except SyntaxError as exc:
        raise ConfigError(f"{source.origin}, line {exc.lineno}: {exc.msg}") from exc
    head = source.function.split(".")[0]
    if head not in code.co_names:
        raise ConfigError(f"{source.origin} defines no {source.function!r}")
    return source
