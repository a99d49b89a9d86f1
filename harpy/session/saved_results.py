"""What a run brought back, as files of this machine: result.json and one .npy for each array.

They are all there or none is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from harpy.errors import PathExists, StorageError, StoragePermissionError


def check_output(output: Path) -> None:
    """Refuse a directory that results cannot be written to, before any work is done for them."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise PathExists(f"{output} exists and is not an empty directory", path=str(output))
    parent = next(p for p in output.absolute().parents if p.exists())
    if not os.access(parent, os.W_OK):
        raise StoragePermissionError(f"{parent} is not writable: no place for {output}")


def save_results(output: Path, value: Any, arrays: dict[str, np.ndarray]) -> list[Path]:
    """Write result.json and <name>.npy files into a new or empty directory, all or nothing."""
    check_output(output)
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        loose: dict[str, np.ndarray] = dict(arrays)
        plain = _without_arrays(value, "", loose)
        for name, array in loose.items():
            np.save(partial / f"{name}.npy", array, allow_pickle=False)
        (partial / "result.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
        written = [output / path.name for path in sorted(partial.iterdir())]
        if output.exists():
            output.rmdir()
        partial.rename(output)
    except OSError as exc:
        raise StorageError(f"cannot write results to {output}: {exc}", path=str(output)) from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return written


def _without_arrays(value: Any, name: str, found: dict[str, np.ndarray]) -> Any:
    """The value with every ndarray replaced by the name of the file that will hold it."""
    if isinstance(value, np.ndarray):
        # Keys may hold any characters, file names may not.
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".") or "value"
        while safe in found:
            safe = f"value.{safe}"
        found[safe] = value
        return {"npy": f"{safe}.npy", "shape": value.shape, "dtype": str(value.dtype)}
    if isinstance(value, dict):
        dot = f"{name}." if name else ""
        return {k: _without_arrays(v, f"{dot}{k}", found) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(v, f"{name}.{i}", found) for i, v in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value
