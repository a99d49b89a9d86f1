"""Driver side: sessions, the runs on them, the job that carries them, jobs of other shells.

Light: what is named here is imported at first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harpy.session.options import JobInfo
    from harpy.session.session import RunResult, Session, put

# Public name -> the module that defines it, as in harpy/__init__.py.
_PUBLIC = {
    "JobInfo": "harpy.session.options",
    "RunResult": "harpy.session.session",
    "Session": "harpy.session.session",
    "put": "harpy.session.session",
}

__all__ = ["JobInfo", "RunResult", "Session", "put"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'harpy.session' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
