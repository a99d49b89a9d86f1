"""File systems, the job directory, staging of row shards and saved values.

Modules are imported at first use: workers import this room, and must start quickly.
"""

from harpy.storage.fs.base import Entry, FileSystem, Writer
from harpy.storage.fs.factory import FileSystems, filesystem
from harpy.storage.fs.paths import join
from harpy.storage.job_directory import JobDirectory, Rank0Address, RunDirectory
from harpy.storage.rows.content import check_rows, content_hash
from harpy.storage.rows.csr import CsrRows, Rows, arrays_of, as_rows
from harpy.storage.rows.file_rows import FileRows
from harpy.storage.rows.put_rows import PutRows
from harpy.storage.rows.row_source import RowSource
from harpy.storage.rows.spill import SpilledRows
from harpy.storage.rows.staging import StagedArray, StagedCsr, open_staged, stage_array
from harpy.storage.rows.values import (
    check_value,
    read_array_parts,
    read_value,
    write_array_part,
    write_value,
)

__all__ = [
    "CsrRows",
    "Entry",
    "FileRows",
    "FileSystem",
    "FileSystems",
    "JobDirectory",
    "PutRows",
    "Rank0Address",
    "RowSource",
    "Rows",
    "RunDirectory",
    "SpilledRows",
    "StagedArray",
    "StagedCsr",
    "Writer",
    "arrays_of",
    "as_rows",
    "check_rows",
    "check_value",
    "content_hash",
    "filesystem",
    "join",
    "open_staged",
    "read_array_parts",
    "read_value",
    "stage_array",
    "write_array_part",
    "write_value",
]
