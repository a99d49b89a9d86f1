"""Values of rows that lie in files, left on a file system: `.npy` parts that follow the files.

A part holds the values of consecutive rows of one input file, so that file and part can be read
side by side. `manifest.json` names for each part, in global row order, the file, its first row
there and how many; `_SUCCESS` comes last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from harpy.errors import DataError, JobStateUnknown, PathExists
from harpy.storage.fs.base import FileSystem, removed_on_error
from harpy.storage.fs.factory import FileSystems
from harpy.storage.fs.paths import join
from harpy.storage.rows.arrays import NpyFile, write_npy
from harpy.storage.rows.file_rows import FileRows
from harpy.wire.versions import ROW_PARTS

MANIFEST, SUCCESS = "manifest.json", "_SUCCESS"
Part = dict[str, Any]  # of the manifest: name, file, first_row, n_rows


def write_parts(
    fs: FileSystem, url: str, rows: FileRows, start: int, values: np.ndarray
) -> list[Part]:
    """Write the values (n, …) of rows `start` to `start + n`; return what the manifest says."""
    parts: list[Part] = []
    done = 0
    for piece in rows.pieces(start, start + len(values)):
        n_rows = piece.stop - piece.start
        # In order of name as in order of row.
        name = f"part-{piece.number:06d}-{piece.start:015d}.npy"
        write_npy(fs, join(url, name), values[done : done + n_rows])
        done += n_rows
        file = piece.file.path
        parts.append({"name": name, "file": file, "first_row": piece.start, "n_rows": n_rows})
    return parts


def finish_parts(fs: FileSystem, url: str, parts: list[Part]) -> None:
    """Write manifest.json and then _SUCCESS: all parts are there."""
    manifest = {
        "format": ROW_PARTS,
        "n_rows": sum(part["n_rows"] for part in parts),
        "parts": parts,
    }
    fs.write_bytes(join(url, MANIFEST), json.dumps(manifest, indent=1).encode())
    fs.write_bytes(join(url, SUCCESS), b"")


def read_manifest(fs: FileSystem, url: str) -> dict[str, Any]:
    """What manifest.json says: n_rows, and the parts in global row order.

    Raises
    ------
    DataError
        The directory is not complete, or the manifest is none of this version.
    PathNotFound
    """
    fs.stat(url)
    if not fs.exists(join(url, SUCCESS)):
        raise DataError(
            f"{url} is not complete: there is no {SUCCESS}.\n"
            "  The job that writes it has not ended, or has failed; run it again."
        )
    try:
        manifest: dict[str, Any] = json.loads(fs.read_bytes(join(url, MANIFEST)))
        if manifest["format"] != ROW_PARTS:
            raise ValueError(f"format {manifest['format']}, this harpy reads {ROW_PARTS}")
        manifest["n_rows"] = int(manifest["n_rows"])
        for part in manifest["parts"]:
            part["name"], part["n_rows"] = str(part["name"]), int(part["n_rows"])
    except (KeyError, TypeError, ValueError) as exc:
        raise DataError(f"{join(url, MANIFEST)} is no manifest of this harpy: {exc!r}") from exc
    return manifest


def read_parts(fs: FileSystem, url: str) -> np.ndarray:
    """The values of all rows, in global row order, in one array.

    Raises
    ------
    DataError
        It is not complete, or parts are not what the manifest says.
    PathNotFound
    """
    parts = read_manifest(fs, url)["parts"]
    files = [NpyFile(fs, join(url, part["name"])) for part in parts]
    counts = [part["n_rows"] for part in parts]
    if [file.shape[0] for file in files] != counts or not files:
        raise DataError(f"parts in {url} have other rows than its {MANIFEST} says; run it again")
    out = np.empty((sum(counts), *files[0].shape[1:]), files[0].dtype)
    done = 0
    for file, count in zip(files, counts, strict=True):
        file.read_into(out[done : done + count])
        done += count
    return out


@contextmanager
def fresh_directory(fs: FileSystem, url: str) -> Iterator[str]:
    """Make a directory for parts and yield its URL; it is gone if the block raises.

    Raises
    ------
    PathExists
        There is something already.
    """
    if fs.exists(url):
        raise PathExists(f"{url} exists already: name one that does not", path=url)
    fs.mkdirs(url)
    # A job whose state is unknown may still be writing its parts.
    with removed_on_error(fs, url, unless=(JobStateUnknown,)):
        yield url


class FileParts:
    """The part of a RowSource that rows in files share, once their numbers are known."""

    _described: FileRows
    _systems: FileSystems

    def describe_row(self, row: int) -> str:
        """As `RowSource.describe_row`."""
        return self._described.describe_row(row)

    def write_parts(self, url: str, start: int, values: np.ndarray) -> list[dict[str, Any]]:
        """As `RowSource.write_parts`."""
        return write_parts(self._systems.holding(url), url, self._described, start, values)

    def finish_parts(self, url: str, parts: list[dict[str, Any]]) -> None:
        """As `RowSource.finish_parts`."""
        finish_parts(self._systems.holding(url), url, parts)
