"""Finding the function a run names: in an installed module, or in a program file loaded under a
private name, so that an `if __name__ == "__main__"` guard holds.
"""

from __future__ import annotations

import importlib
import linecache
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harpy.errors import ConfigError, ProgramFailed

if TYPE_CHECKING:
    from harpy.program.source import ProgramSource

Function = Callable[[Any], Any]
LOADING = "_harpy_loading"  # set on a program's module while its file is being executed


def load_program(source: ProgramSource) -> Function:
    """The function of a program; its module is executed on the way, and what that raises comes as
    it is.

    Raises
    ------
    ProgramFailed
        There is no such module or function.
    ConfigError
        The program's file starts a run of itself when it is loaded.
    """
    if source.text is not None:
        module = _load_text(source.text, source.digest, source.origin)
    else:
        assert source.module is not None
        module = _import(source.module)
    return _function_of(module, source.function, source.origin or source.module or "the program")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name != name and not name.startswith(f"{exc.name}."):
            raise  # the module is there, something it imports is not
        raise ProgramFailed(
            f"no module {exc.name!r} for the worker's Python, {sys.executable}: install it there, "
            "or give the program as a file"
        ) from exc


def _load_text(text: str, digest: str, origin: str) -> ModuleType:
    """Execute a program file: afresh for every run, so that none sees another's globals."""
    name = f"harpy_program_{digest}"
    if getattr(sys.modules.get(name), LOADING, False):
        raise ConfigError(
            f"{origin} runs itself: loading the program executes the file, and that starts a run "
            'of it again; put the driver\'s part under `if __name__ == "__main__":`'
        )
    module = ModuleType(name)
    setattr(module, LOADING, True)
    # Tracebacks show the program's lines under the name its author knows.
    filename = origin or f"<program {digest}>"
    module.__file__ = filename
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    code = compile(text, filename, "exec")
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    delattr(module, LOADING)
    return module


def _function_of(module: ModuleType, name: str, origin: str) -> Function:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise ProgramFailed(f"{origin} defines no {name!r}")
    if not callable(found):
        raise ProgramFailed(f"{name!r} of {origin} is a {type(found).__name__}, not a function")
    return found
