"""Rows in files: what a user names, and how it becomes a description of the files.

Only names, sizes, headers and footers are read here, never rows. What is described is FileRows
(file_rows.py); the rows are read where they are needed (loading.py).
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harpy.errors import ConfigError, DataError, PathNotFound
from harpy.storage.fs.base import Entry, FileSystem
from harpy.storage.fs.factory import FileSystems
from harpy.storage.fs.paths import join
from harpy.storage.readers import Format, FoundColumns, format_named, format_of
from harpy.storage.rows.file_rows import DataFile, FileRows

_DESCRIBERS = 16  # reading a header mostly waits for the NameNode
_WILDCARD = re.compile(r"[*?\[]")
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Dataset:
    """Rows in files: given to `DAALKMeans.fit` or `Session.run` in place of an array.

    Attributes
    ----------
    urls : tuple of str
        Files, directories, or patterns with `*`, `?` and `[…]`: `hdfs://…`, `file://…`, a local
        path, or what fsspec opens. Of a directory all files count, also those further below, but
        for names that begin with `_` or `.`; those of a directory or a pattern in order of path.
    columns : tuple of str or int, optional
        Which columns are read, in this order: names (Parquet, CSV with a header; a number is the
        name that it spells) or positions from 0 (npy, CSV without). None: all.
    format : {"npy", "parquet", "csv", "libsvm", "npz"}, optional
        None: by the ending of the files' names.
    dtype : {"float32", "float64"}, optional
        None: float32 where all chosen columns are stored so, else float64.
    n_columns : int, optional
        Of libsvm files, where trailing columns may have no value; None: up to the last that has.
    """

    urls: tuple[str, ...]
    columns: tuple[str | int, ...] | None = None
    format: str | None = None
    dtype: np.dtype[Any] | None = None
    n_columns: int | None = None

    def describe(
        self, hadoop_conf: Mapping[str, str] | None = None, usual: tuple[str, ...] | None = None
    ) -> FileRows:
        """Find the files and read their headers, footers and sizes.

        Parameters
        ----------
        hadoop_conf : mapping, optional
            Hadoop settings on top of the configuration files.
        usual : tuple of str, optional
            Columns to read where none were chosen and the files name theirs.

        Returns
        -------
        FileRows

        Raises
        ------
        PathNotFound
            A path does not exist, or a pattern or directory has no file.
        DataError
            A file is no file of its format, is truncated, or has other columns than the first.
        ConfigError
            The format is unknown, or the columns asked for are not there.
        """
        systems = FileSystems(hadoop_conf)
        entries = [found for url in self.urls for found in _files_of(*systems.locate(url))]
        form = format_named(self.format) if self.format else _common_format(entries)

        def describe(entry: Entry) -> tuple[DataFile, FoundColumns]:
            return form.describe(systems.holding(entry.path), entry)

        with ThreadPoolExecutor(_DESCRIBERS, "harpy-describe") as pool:
            described = list(pool.map(describe, entries))
        files, columns = zip(*described, strict=True)
        return self._agree(form, files, columns, usual)

    def _agree(
        self,
        form: Format,
        files: tuple[DataFile, ...],
        found: tuple[FoundColumns, ...],
        usual: tuple[str, ...] | None,
    ) -> FileRows:
        """One description of all files, which must have the first one's columns."""
        first = found[0]
        columns = usual if self.columns is None and first.names is not None else self.columns
        positions = _positions(columns, first, form, files[0].path)
        names = first.names
        if names is not None and positions is not None:
            names = tuple(names[p] for p in positions)
        dtypes = set()
        for file, its in zip(files, found, strict=True):
            _check_columns(file.path, its, files[0].path, first, names)
            dtypes |= _numeric_dtypes(file.path, its, names)
        chosen = first.n_columns if positions is None else len(positions)
        return FileRows(
            format=form.name,
            files=files,
            dtype=self.dtype or (_DTYPES[0] if dtypes == {_DTYPES[0]} else _DTYPES[1]),
            n_columns=self.n_columns if chosen is None else chosen,
            names=names,
            positions=positions,
            width=first.n_columns,
        )


def dataset(
    urls: Any,
    columns: Sequence[str | int] | None = None,
    format: str | None = None,
    dtype: Any = None,
    n_columns: int | None = None,
) -> Dataset:
    """Name rows that lie in files; nothing is read yet.

    Parameters
    ----------
    urls : str, path or list of them, or Dataset
        Files, directories or patterns, as of `Dataset`, which is handed back as it is.
    columns : list of str or int, optional
        Which columns are read, in this order; None: all.
    format : {"npy", "parquet", "csv", "libsvm", "npz"}, optional
        None: by the ending of the files' names.
    dtype : {"float32", "float64"}, optional
        None: float32 where all chosen columns are stored so, else float64.
    n_columns : int, optional
        Of libsvm files; None: up to the last column that has a value.

    Returns
    -------
    Dataset

    Raises
    ------
    ConfigError
        An argument makes no sense, or was given together with a Dataset.

    Examples
    --------
    >>> points = harpy.dataset("hdfs:///data/*.parquet", columns=["x", "y"])  # doctest: +SKIP
    >>> session.run(program, data={"X": points})  # doctest: +SKIP
    """
    if isinstance(urls, Dataset):
        given = {"columns": columns, "format": format, "dtype": dtype, "n_columns": n_columns}
        clash = [name for name, value in given.items() if value is not None]
        if clash:
            raise ConfigError(f"{', '.join(clash)}: say it to harpy.dataset, where the files are")
        return urls
    if not names_files(urls):
        raise ConfigError(
            f"expected a path, a URL, or a list of them, got {type(urls).__name__}: {urls!r:.200}"
        )
    listed = [urls] if isinstance(urls, str | os.PathLike) else urls
    if isinstance(columns, str) or not all(isinstance(c, str | int) for c in columns or ()):
        raise ConfigError(f"columns must be a list of names or positions, got {columns!r}")
    if columns is not None and (not len(columns) or len(set(columns)) != len(columns)):
        raise ConfigError(f"columns must be one or more, each once, got {list(columns)}")
    wanted = None if dtype is None else np.dtype(dtype)
    if wanted is not None and wanted not in _DTYPES:
        raise ConfigError(f"dtype must be float32 or float64, got {wanted}")
    if format is not None:
        format_named(format)
    return Dataset(
        tuple(absolute(os.fspath(url)) for url in listed),
        None if columns is None else tuple(columns),
        format,
        wanted,
        n_columns,
    )


def names_files(given: Any) -> bool:
    """Whether this stands for rows in files: a Dataset, a path, or a list of paths."""
    if isinstance(given, np.ndarray):  # the common case first: every predict calls this
        return False
    if isinstance(given, list | tuple) and given:
        return all(isinstance(item, str | os.PathLike) for item in given)
    return isinstance(given, Dataset | str | os.PathLike)


def absolute(url: str) -> str:
    """URLs as they are; relative paths below the working directory of this process."""
    if not url:
        raise ConfigError("expected a path or URL, got an empty string")
    if "://" in url or url.startswith("file:/"):
        return url
    return str(Path(url).expanduser().absolute())


# Which files


def _files_of(fs: FileSystem, url: str) -> list[Entry]:
    """The files that `url` stands for, in order of path."""
    literal = _WILDCARD.search(fs.path_of(url)) is None or fs.exists(url)
    matches = [fs.stat(url)] if literal else sorted(_matching(fs, url), key=lambda e: e.path)
    files = [file for match in matches for file in _files_below(fs, match)]
    if not files:
        what = "is an empty directory" if literal else "matches no file"
        raise PathNotFound(
            f"{url} {what} (names that begin with '_' or '.' do not count).\n"
            f"  Look at what is there: {_listing_command(fs, url)}",
            path=url,
        )
    return files


def _matching(fs: FileSystem, url: str) -> Iterator[Entry]:
    """Files and directories whose path fits the pattern, component by component."""
    components = fs.path_of(url).strip("/").split("/")
    found = [Entry("", fs.qualify("/"), 0, True, "", 0.0, 0o755)]
    for component in components:
        if _WILDCARD.search(component):
            found = [
                entry
                for parent in found
                if parent.is_dir
                for entry in fs.list(parent.path)
                if fnmatch.fnmatchcase(entry.name, component)
                and (component[0] in "._" or not _is_hidden(entry))
            ]
        else:
            parents = [fs.path_of(entry.path) for entry in found if entry.is_dir]
            paths = [fs.url + join(parent, component) for parent in parents]
            found = [fs.stat(path) for path in paths if fs.exists(path)]
    yield from found


def _files_below(fs: FileSystem, entry: Entry) -> Iterator[Entry]:
    if not entry.is_dir:
        yield entry
        return
    for child in sorted(fs.list(entry.path), key=lambda e: e.path):
        if not _is_hidden(child):
            yield from _files_below(fs, child)


def _is_hidden(entry: Entry) -> bool:
    return entry.name.startswith(("_", "."))


def _listing_command(fs: FileSystem, url: str) -> str:
    parent = re.split(r"/[^/]*[*?\[]", url, maxsplit=1)[0] or "/"
    return f"ls {fs.path_of(parent)}" if fs.url == "file://" else f"hdfs dfs -ls {parent}"


def _common_format(entries: list[Entry]) -> Format:
    first = format_of(entries[0])
    for entry in entries:
        if format_of(entry) is not first:
            raise ConfigError(
                f"files of one dataset must be of one format: {entries[0].path} is {first.name}, "
                f"{entry.path} is {format_of(entry).name}"
            )
    return first


# Which columns


def _positions(
    columns: tuple[str | int, ...] | None, found: FoundColumns, form: Format, path: str
) -> tuple[int, ...] | None:
    """Where the chosen columns stand in the first file; None: all of them, as they stand."""
    if columns is None:
        return None
    if found.n_columns is None or not form.has_columns:
        raise ConfigError(f"columns cannot be chosen from {form.name} files")
    positions = []
    for column in columns:
        if found.names is not None and str(column) in found.names:
            positions.append(found.names.index(str(column)))
        elif found.names is None and isinstance(column, int) and 0 <= column < found.n_columns:
            positions.append(column)
        else:
            there = (
                f"its columns are {_shortened(found.names)}"
                if found.names is not None
                else f"its columns have no names, only positions 0 to {found.n_columns - 1}"
            )
            raise ConfigError(f"{path} has no column {column!r}: {there}")
    return tuple(positions)


def _check_columns(
    path: str,
    found: FoundColumns,
    first_path: str,
    first: FoundColumns,
    chosen: tuple[str, ...] | None,
) -> None:
    """Refuse a file whose columns are not those of the first."""
    if found is first:
        return
    if found.names is not None and first.names is not None and found.by_name:
        missing = sorted(set(chosen or ()) - set(found.names))
        if not missing:
            return
        raise DataError(
            f"{path} has no column {', '.join(map(repr, missing))}, which the first file, "
            f"{first_path}, has: its columns are {_shortened(found.names)}"
        )
    if found.names != first.names or found.n_columns != first.n_columns:
        raise DataError(
            f"{path} has other columns than the first file, {first_path}: expected "
            f"{_described(first)}, got {_described(found)}"
        )


def _numeric_dtypes(
    path: str,
    found: FoundColumns,
    names: tuple[str, ...] | None,
) -> set[np.dtype[Any]]:
    """The dtypes the chosen columns are stored in; DataError where one holds no numbers."""
    stored: dict[str | int, np.dtype[Any] | str] = dict(enumerate(found.dtypes))
    if found.by_name and found.names is not None and names is not None:
        stored = {name: found.dtypes[found.names.index(name)] for name in names}
    for column, dtype in stored.items():
        if isinstance(dtype, str):
            pairs = zip(found.names or (), found.dtypes, strict=False)
            numeric = tuple(name for name, kind in pairs if not isinstance(kind, str))
            raise DataError(
                f"column {column!r} of {path} holds {dtype}, expected numbers.\n"
                f"  Choose columns=[…] among {_shortened(numeric)}"
            )
    return {dtype for dtype in stored.values() if not isinstance(dtype, str)}


def _described(found: FoundColumns) -> str:
    if found.names is not None:
        return f"{found.n_columns} columns {_shortened(found.names)}"
    return f"{found.n_columns} columns without names"


def _shortened(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, names[:20]))
    return shown if len(names) <= 20 else f"{shown}, … ({len(names)} in all)"
