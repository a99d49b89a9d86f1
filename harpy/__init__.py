"""Map-collective Python on the Hadoop cluster you already have.

`import harpy` is light: scikit-learn, hdfs-native and the kernels are imported when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> the module that defines it, imported at first use (PEP 562).
_PUBLIC = {
    "Context": "harpy.program.context",
    "DAALKMeans": "harpy.estimators.kmeans.estimator",
    "Dataset": "harpy.storage.rows.dataset",
    "HarpyError": "harpy.errors",
    "RunResult": "harpy.session.session",
    "Session": "harpy.session.session",
    "dataset": "harpy.storage.rows.dataset",
    "errors": "harpy.errors",
    "kmeans_path": "harpy.estimators.kmeans.several_k",
    "put": "harpy.session.session",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'harpy' has no attribute {name!r}")
    module = import_module(_PUBLIC[name])
    value = module if name == "errors" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
