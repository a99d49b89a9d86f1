"""libsvm (svmlight) files, plain or gzip: `label column:value column:value …`, a row a line.

Labels, `qid:` and comments are left out. Columns count from 0 if column 0 is found anywhere, else
from 1, as scikit-learn's load_svmlight_files has it.
"""

from __future__ import annotations

import re
from typing import NoReturn

import numpy as np

from harpy.storage.fs.base import Entry, FileSystem
from harpy.storage.readers.arrow import chunked_numbers
from harpy.storage.readers.base import FoundColumns, LineError, TextFormat
from harpy.storage.readers.lines import first_bytes, text_file
from harpy.storage.rows.csr import MAX_COLUMNS, CsrRows
from harpy.storage.rows.file_rows import DataFile, FileRows

_SEPARATORS = bytes.maketrans(b" \t\r:", b"\n\n\n\n")
_COMMENT = re.compile(rb"#[^\n]*")
_QUERY = re.compile(rb"\bqid:\S*")


class LibsvmFormat(TextFormat):
    """Sparse rows as text, a row a line; labels are left out."""

    name = "libsvm"
    has_columns = False
    sparse = True

    def describe(self, fs: FileSystem, entry: Entry) -> tuple[DataFile, FoundColumns]:
        """As `Format.describe`."""
        file = text_file(entry)
        first_bytes(fs, file, 1)  # that it can be read, and unpacked
        return file, FoundColumns(None, (np.dtype(np.float64),))

    def parse(self, block: memoryview, rows: FileRows) -> CsrRows:
        """The rows of whole lines; columns as they stand there, from 0 or 1."""
        text = bytes(block)
        if b"#" in text:
            text = _COMMENT.sub(b"", text)
        if b"qid:" in text:
            text = _QUERY.sub(b"", text)
        lines = np.frombuffer(text, np.uint8)
        counts = _values_per_line(lines)
        numbers = _numbers(text)
        if numbers is None or len(numbers) != len(counts) + 2 * counts.sum():
            _raise_first_bad_line(text)
        labels = np.arange(len(counts)) + 2 * (np.cumsum(counts) - counts)
        pairs = np.delete(numbers, labels).reshape(-1, 2)
        if not ((pairs[:, 0] >= 0) & (pairs[:, 0] < MAX_COLUMNS)).all():
            _raise_first_bad_line(text)
        indices = pairs[:, 0].astype(np.int32)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        rising = np.ones(len(pairs), bool)
        rising[1:] = indices[1:] > indices[:-1]
        rising[indptr[:-1][counts > 0]] = True  # a row's first
        if not (rising & (indices == pairs[:, 0])).all():
            _raise_first_bad_line(text)
        data = np.ascontiguousarray(pairs[:, 1], dtype=rows.dtype)
        return CsrRows(data, indices, indptr, MAX_COLUMNS)


def _values_per_line(text: np.ndarray) -> np.ndarray:
    """How many `column:value` each line has that is not blank."""
    if not len(text):
        return np.empty(0, np.int64)
    starts = np.flatnonzero(text[:-1] == ord("\n")) + 1
    starts = np.concatenate([np.zeros(1, np.int64), starts])
    colons = np.add.reduceat(text == ord(":"), starts, dtype=np.int64)
    filled = np.logical_or.reduceat(text > ord(" "), starts)
    return colons[filled]


def _numbers(text: bytes) -> np.ndarray | None:
    """All numbers of the text in order; None where something is none."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    column = text.translate(_SEPARATORS)
    if not column.strip():
        return np.empty(0)
    try:
        table = arrow.read_csv(
            pa.BufferReader(column),
            arrow.ReadOptions(
                use_threads=False, column_names=["number"], block_size=len(column) + 1
            ),
            convert_options=arrow.ConvertOptions(
                column_types={"number": pa.float64()}, null_values=[], strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    return chunked_numbers(table.column(0))


def _raise_first_bad_line(text: bytes) -> NoReturn:
    """Raise the error of the first malformed line, by checking one line at a time."""
    lines = [line for line in text.split(b"\n") if line.strip()]
    for number, line in enumerate(lines):
        _check_line(number, line.decode(errors="replace").split())
    raise LineError(0, "expected lines of 'label column:value …'")


def _check_line(number: int, words: list[str]) -> None:
    expected = "expected 'label column:value …'"
    try:
        float(words[0])
    except ValueError:
        raise LineError(number, f"{expected}, got the label {words[0]!r}") from None
    last = -1
    for word in words[1:]:
        column, colon, value = word.partition(":")
        try:
            position, _ = int(column), float(value)
        except ValueError:
            raise LineError(number, f"{expected}, got {word!r}") from None
        if not 0 <= position < MAX_COLUMNS or not colon:
            raise LineError(number, f"expected columns 0 to {MAX_COLUMNS}, got {word!r}")
        if position <= last:
            raise LineError(number, f"columns must ascend, each once, got {position} after {last}")
        last = position
