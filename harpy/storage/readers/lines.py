"""Text files as blocks of whole lines, plain or gzip.

A line belongs to the block, and to the share, in which its first byte lies: so ranges of bytes can
be read without communication between their readers.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterator

from harpy.errors import DataError
from harpy.storage.fs.base import Entry, FileSystem
from harpy.storage.readers.base import FileBytes
from harpy.storage.rows.file_rows import DataFile, Piece

BLOCK_BYTES = 2 << 20
_AHEAD_BYTES = 64 << 10  # read past a block's end, where its last line ends as a rule
_LONGEST_LINE = 64 << 20
_LINE = re.compile(rb"[^\r\n]+")
_BLANK = re.compile(rb"(?:\A|\n)\r?\n")


def is_gzip(name: str) -> bool:
    """Whether a file is compressed with gzip, by the ending of its name."""
    return name.lower().endswith(".gz")


def text_file(entry: Entry, skip: int = 0) -> DataFile:
    """Describe a text file before it is read: its rows begin after `skip` bytes, its shares where
    its blocks begin. A gzip file has neither blocks nor shares."""
    packed = is_gzip(entry.path)
    block_size = None if packed else entry.block_size
    borders = () if block_size is None else range(block_size, entry.length, block_size)
    detail = {"skip": skip, "splittable": not packed}
    return DataFile(entry.path, entry.length, entry.mtime, borders=tuple(borders), detail=detail)


def block_ranges(piece: Piece) -> Iterator[tuple[int, int]]:
    """The borders of a piece's blocks: bytes of the file."""
    for start in range(piece.start, piece.stop, BLOCK_BYTES):
        yield start, min(start + BLOCK_BYTES, piece.stop)


def read_lines(fs: FileSystem, file: DataFile, start: int, stop: int, skip: int) -> memoryview:
    """The lines of a plain file that begin within bytes `start` to `stop`, not before `skip`."""
    first_known = start <= skip  # a line begins at `skip`
    begin = skip if first_known else start - 1
    if begin >= stop:
        return memoryview(b"")
    content = bytearray()
    while True:
        content += _bytes_from(fs, file, begin + len(content), stop + _AHEAD_BYTES)
        at_end = begin + len(content) == file.length
        first = 0 if first_known else content.find(b"\n") + 1
        # The last line begins before `stop`, so the line end that ends it stands at stop - 1 or on.
        end = content.find(b"\n", stop - 1 - begin) + 1
        if end or at_end:
            break
        if len(content) > _LONGEST_LINE:
            raise DataError(
                f"{file.path} has no line end between bytes {stop} and {begin + len(content)}: "
                "expected text, a row a line"
            )
    found_first = first_known or first > 0
    if not found_first or begin + first >= stop:
        return memoryview(b"")  # a line from before the range extends beyond it
    return memoryview(content)[first : end or len(content)]


def _bytes_from(fs: FileSystem, file: DataFile, position: int, wanted: int) -> bytearray:
    """Bytes up to `wanted`, or beyond it where `position` is already there."""
    stop = min(file.length, max(wanted, position + _AHEAD_BYTES))
    content = bytearray(max(0, stop - position))
    if content:
        fs.read_into(file.path, position, memoryview(content))
    return content


def unpacked_blocks(fs: FileSystem, file: DataFile, skip: int) -> Iterator[bytes]:
    """The lines of a gzip file from its unpacked byte `skip` on, in blocks of whole lines."""
    rest = b""
    try:
        with unpacked(fs, file) as stream:
            stream.read(skip)
            while chunk := stream.read(BLOCK_BYTES):
                end = chunk.rfind(b"\n") + 1
                if end:
                    yield rest + chunk[:end]
                    rest = chunk[end:]
                else:
                    rest += chunk
                    if len(rest) > _LONGEST_LINE:
                        raise DataError(
                            f"{file.path} has a line of more than {_LONGEST_LINE} bytes: expected "
                            "text, a row a line"
                        )
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise DataError(
            f"{file.path} cannot be unpacked, it is truncated or damaged: {exc}\n"
            "  Write it again, or leave it out."
        ) from exc
    if rest:
        yield rest


def unpacked(fs: FileSystem, file: DataFile) -> io.BufferedIOBase:
    """The text of a gzip file, as a stream."""
    packed = io.BufferedReader(FileBytes(fs, file.path, file.length, BLOCK_BYTES))
    return gzip.GzipFile(fileobj=packed)


def first_bytes(fs: FileSystem, file: DataFile, count: int) -> bytes:
    """The beginning of a file's text."""
    if not is_gzip(file.path):
        return bytes(_bytes_from(fs, file, 0, min(count, file.length)))[:count]
    try:
        with unpacked(fs, file) as stream:
            return stream.read(count)
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise DataError(
            f"{file.path} cannot be unpacked, it is truncated or damaged: {exc}"
        ) from exc


def rows_before(fs: FileSystem, file: DataFile, stop: int, skip: int) -> int:
    """How many rows, lines that are not empty, begin before byte `stop` of a plain file."""
    before = Piece(file, 0, stop)
    return sum(
        count_rows(bytes(read_lines(fs, file, first, last, skip)))
        for first, last in block_ranges(before)
    )


def count_rows(lines: bytes) -> int:
    """How many lines are not empty."""
    if _BLANK.search(lines):
        return len(_LINE.findall(lines))
    return lines.count(b"\n") + (lines[-1:] not in (b"", b"\n"))
