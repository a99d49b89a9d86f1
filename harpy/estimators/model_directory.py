"""A saved model's directory: model.json and `.npy` files, which appear whole or not at all and are
checked when they are read. Which estimator they make is left to model_files.py.

Nothing in them is executed or unpickled (docs/model-format.md).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from harpy.errors import ConfigError, DataError, PathExists, PathNotFound, StorageError
from harpy.storage import FileSystem, FileSystems, join
from harpy.storage.fs.paths import temporary_path
from harpy.storage.rows.arrays import NpyFile, row_blocks, write_npy

MODEL = "model.json"


def locate_model(
    path: str | os.PathLike[str], hadoop_conf: Mapping[str, str] | None
) -> tuple[FileSystem, str]:
    """The file system of `path`, and its full URL there.

    Raises
    ------
    ConfigError
        It is no path, or of a file system that harpy does not know.
    """
    given = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(given, str) or not given:
        raise ConfigError(f"path must be that of a directory, or its URL, got {path!r}")
    if "://" not in given and not given.startswith("file:/"):
        given = str(Path(given).expanduser().absolute())
    return FileSystems(hadoop_conf).locate(given)


def check_new_model(
    path: str | os.PathLike[str], hadoop_conf: Mapping[str, str] | None = None
) -> None:
    """Refuse a path that exists already, before any work is done for a model.

    Raises
    ------
    PathExists
    """
    fs, url = locate_model(path, hadoop_conf)
    try:
        refuse_other(fs, url, overwrite=False)
    finally:
        fs.close()


def refuse_other(fs: FileSystem, url: str, overwrite: bool) -> None:
    """Refuse to write over what is there, unless it is a model and is to be replaced.

    Raises
    ------
    PathExists
    """
    try:
        there = fs.stat(url)
    except PathNotFound:
        return
    if not (there.is_dir and fs.exists(join(url, MODEL))):
        raise PathExists(f"{url} exists and is no saved model; choose another path", path=url)
    if not overwrite:
        raise PathExists(
            f"{url} holds a model already; choose another path, or overwrite=True", path=url
        )


def describe_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """What model.json says of each array."""
    return {
        name: {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": _digest(array)}
        for name, array in arrays.items()
    }


def write_model(
    fs: FileSystem,
    url: str,
    described: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    overwrite: bool,
) -> None:
    """Write model.json and each array as a file of its name: all of it or nothing.

    Raises
    ------
    StorageError
        The file system refused; nothing half-written is left.
    """
    temporary = temporary_path(url)
    text = json.dumps(described, indent=1, allow_nan=False)
    try:
        fs.mkdirs(temporary)
        # At once: HDFS takes half a second to close a file, whatever its size.
        with ThreadPoolExecutor(1 + len(arrays), "harpy-save") as pool:
            writing = [
                pool.submit(fs.write_bytes, join(temporary, MODEL), f"{text}\n".encode()),
                *(
                    pool.submit(write_npy, fs, join(temporary, f"{name}.npy"), array)
                    for name, array in arrays.items()
                ),
            ]
        for future in writing:
            future.result()
        _publish(fs, temporary, url, overwrite)
    except BaseException:
        with suppress(StorageError):  # ignored, as another error is under way
            fs.delete(temporary, recursive=True)
        raise


def _publish(fs: FileSystem, temporary: str, url: str, overwrite: bool) -> None:
    """Give the complete directory its name; a model that had it is removed afterwards."""
    if not (overwrite and fs.exists(url)):
        fs.rename(temporary, url)
        return
    old = temporary_path(url)
    fs.rename(url, old)
    try:
        fs.rename(temporary, url)
    except BaseException:
        fs.rename(old, url)
        raise
    fs.delete(old, recursive=True)


def _digest(array: np.ndarray) -> str:
    """SHA-256 of the values as they lie in the file behind its header."""
    digest = hashlib.sha256()
    for block in row_blocks(array):
        digest.update(block.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def read_description(fs: FileSystem, url: str, advice: str = "") -> dict[str, Any]:
    """model.json as it is.

    Raises
    ------
    PathNotFound
        There is nothing.
    DataError
        There is something else; `advice` says what a user may have meant.
    """
    path = join(url, MODEL)
    try:
        text = fs.read_bytes(path)
    except PathNotFound as exc:
        if not fs.exists(url):
            raise PathNotFound(f"no model at {url}: there is nothing", path=url) from exc
        raise DataError(
            f"{url} is no model saved by harpy: it holds no {MODEL}{advice and f'. {advice}'}"
        ) from exc
    try:
        described = json.loads(text)
    except ValueError as exc:
        raise DataError(f"{path} is damaged: not JSON: {exc}") from exc
    if not isinstance(described, dict):
        raise DataError(f"{path} should hold a JSON object, got {type(described).__name__}")
    return described


def read_array(fs: FileSystem, path: str, facts: Mapping[str, Any]) -> np.ndarray:
    """An array that is what model.json says of it.

    Raises
    ------
    DataError
        It is missing, damaged, or another.
    """
    try:
        file = NpyFile(fs, path)
    except PathNotFound as exc:
        raise DataError(f"{path} is missing, which {MODEL} beside it names") from exc
    expected = f"{facts['dtype']} {tuple(facts['shape'])}"
    got = f"{file.dtype.name} {file.shape}"
    if expected != got:
        raise DataError(f"{path} should hold {expected}, as {MODEL} says, got {got}")
    array = file.read()
    if _digest(array) != facts["sha256"]:
        raise DataError(
            f"{path} is damaged or was changed: its values do not have the sha256 that {MODEL} "
            "says; save the model again"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)
