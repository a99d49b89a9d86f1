"""CSV files, plain or gzip, through pyarrow: comma-separated numbers, with or without a header."""

from __future__ import annotations

import csv
import re
from typing import Any

import numpy as np

from harpy.errors import DataError
from harpy.storage.fs.base import Entry, FileSystem
from harpy.storage.readers.arrow import chunked_numbers
from harpy.storage.readers.base import FoundColumns, LineError, TextFormat, check_distinct
from harpy.storage.readers.lines import first_bytes, text_file
from harpy.storage.rows.file_rows import DataFile, FileRows

_FIRST_LINE_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_STORED = np.dtype(np.float64)  # text has no dtype: what Python's float would say
_AT_ROW = re.compile(
    r"(?:In CSV column #(?P<column>\d+): )?.*?Row #(?P<row>\d+): (?P<what>.*)", re.DOTALL
)
_INVALID = re.compile(r"CSV conversion error to \w+: invalid value '(?P<value>.*)'", re.DOTALL)


class CsvFormat(TextFormat):
    """Comma-separated numbers, with or without a header."""

    name = "csv"

    def describe(self, fs: FileSystem, entry: Entry) -> tuple[DataFile, FoundColumns]:
        """As `Format.describe`."""
        start = first_bytes(fs, text_file(entry), _FIRST_LINE_BYTES)
        mark = len(_BOM) if start.startswith(_BOM) else 0
        line, end, _ = start[mark:].partition(b"\n")
        if not line.strip():
            raise DataError(f"{entry.path} begins with an empty line, expected a header or numbers")
        if not end and len(start) == _FIRST_LINE_BYTES:
            raise DataError(f"{entry.path} has no line end in its first {len(start)} bytes")
        fields = _fields(entry.path, line)
        headless = all(map(_is_number, fields))
        skip = mark if headless else mark + len(line) + len(end)
        names = None if headless else tuple(fields)
        check_distinct(entry.path, names or ())
        return text_file(entry, skip), FoundColumns(len(fields), (_STORED,), names)

    def parse(self, block: memoryview, rows: FileRows) -> np.ndarray:
        """As `TextFormat.parse`."""
        import pyarrow as pa
        from pyarrow import csv as arrow

        names = [str(number) for number in range(rows.width or 0)]
        wanted = names if rows.positions is None else [names[p] for p in rows.positions]
        if not block.nbytes:
            return np.empty((0, len(wanted)), rows.dtype)
        kind = pa.from_numpy_dtype(rows.dtype)
        try:
            table = arrow.read_csv(
                pa.BufferReader(pa.py_buffer(block)),
                arrow.ReadOptions(
                    use_threads=False, column_names=names, block_size=block.nbytes + 1
                ),
                convert_options=arrow.ConvertOptions(
                    column_types=dict.fromkeys(names, kind),
                    include_columns=wanted,
                    null_values=[],  # an empty field is an error with its row
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid as exc:
            raise _line_error(str(exc), rows) from exc
        out = np.empty((table.num_rows, len(wanted)), rows.dtype)
        for number, column in enumerate(table.columns):
            out[:, number] = chunked_numbers(column)
        return out


def _fields(path: str, line: bytes) -> list[str]:
    try:
        text = line.decode()
    except UnicodeDecodeError as exc:
        raise DataError(f"{path} is not UTF-8 text: {exc}") from exc
    return [field.strip() for field in next(csv.reader([text.rstrip("\r")]))]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _line_error(message: str, rows: FileRows) -> LineError:
    """pyarrow's message about a row of a block, as a LineError."""
    found = _AT_ROW.fullmatch(message)
    if found is None:
        return LineError(0, message)
    what = found["what"]
    if invalid := _INVALID.fullmatch(what):
        value = invalid["value"]
        got = f"got {value!r}" if value.strip() else "there is no value"
        what = f"expected a number in {_column(int(found['column']), rows)}, {got}"
    return LineError(int(found["row"]) - 1, what)


def _column(number: int, rows: FileRows) -> str:
    """A column of the file, for people."""
    if rows.names is not None:
        positions: Any = range(len(rows.names)) if rows.positions is None else rows.positions
        return f"column {rows.names[list(positions).index(number)]!r}"
    return f"column {number} (counted from 0)"
