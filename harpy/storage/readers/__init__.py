"""Formats of files that hold rows, one module each, imported when used.

A reader describes a file without reading its rows, and later reads the rows it is asked for. Which
rows these are, threads and memory are left to file_rows and loading in harpy.storage.rows.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from harpy.errors import ConfigError
from harpy.storage.fs.base import Entry
from harpy.storage.readers.base import Format, FoundColumns, Task

# Name -> the class that reads it, and the endings of its files' names.
_CLASSES = {
    "npy": "NpyFormat",
    "parquet": "ParquetFormat",
    "csv": "CsvFormat",
    "libsvm": "LibsvmFormat",
    "npz": "NpzFormat",
}
_ENDINGS = {
    ".npy": "npy",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".csv.gz": "csv",
    ".svm": "libsvm",
    ".svm.gz": "libsvm",
    ".libsvm": "libsvm",
    ".libsvm.gz": "libsvm",
    ".npz": "npz",
}
FORMATS = tuple(_CLASSES)


@cache
def format_named(name: str) -> Format:
    """The reader of this name; ConfigError says which there are."""
    if name not in _CLASSES:
        raise ConfigError(f"format must be one of {', '.join(_CLASSES)}, got {name!r}")
    module = import_module(f"{__name__}.{name}")
    form: Format = getattr(module, _CLASSES[name])()
    return form


def format_of(entry: Entry) -> Format:
    """The reader of a file, by the ending of its name."""
    name = entry.name.lower()
    for ending, form in _ENDINGS.items():
        if name.endswith(ending):
            return format_named(form)
    raise ConfigError(
        f"{entry.path}: its name does not tell the format; expected one of "
        f"{', '.join(_ENDINGS)}, or say format= ({', '.join(_CLASSES)})"
    )


__all__ = ["FORMATS", "Format", "FoundColumns", "Task", "format_named", "format_of"]
