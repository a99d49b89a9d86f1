"""The job directory: every path in it is spelled here, and its files are written and read here.

docs/architecture.md shows it as a tree. What the files mean is left to driver and workers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from harpy.errors import (
    DataError,
    PathExists,
    PathNotFound,
    ProtocolError,
    StorageError,
    StoragePermissionError,
)
from harpy.storage.fs.base import FileSystem
from harpy.storage.fs.paths import join
from harpy.storage.rows.values import read_array_parts, read_value, write_array_part, write_value
from harpy.wire.job_spec import JobSpec
from harpy.wire.record import Record
from harpy.wire.report import Report
from harpy.wire.run_spec import RunSpec

R = TypeVar("R", bound=Record)

# Attempt, address and port are in the *name* of an empty file: HDFS needs half a second to close a
# file with content, and the whole gang waits for this one. ":" is not allowed in HDFS.
ATTEMPTS_PER_GENERATION = 1_000_000  # (application attempt - 1) * 1000 + i, as MapReduce counts
_ENDED = {True: "ended", False: "failed"}
_RANK0 = re.compile(r"rank0-(\d{10})@([0-9a-fA-F._]+)@(\d{1,5})")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, order=True)
class Rank0Address:
    """Where an attempt of rank 0 listens."""

    attempt: int
    address: str  # numeric
    port: int


class JobDirectory:
    """`<workdir>/<job id>/` on a file system.

    Parameters
    ----------
    fs : FileSystem
    url : str
        Of the directory itself; its last component is the job id.
    """

    def __init__(self, fs: FileSystem, url: str) -> None:
        self.fs = fs
        self.url = fs.qualify(url)
        self.job_id = self.url.rpartition("/")[2]
        self.job_json = join(self.url, "job.json")
        self.gang = join(self.url, "gang")
        self._waiting = join(self.gang, "waiting")

    def program(self, digest: str) -> str:
        """Path of the program file of this content hash."""
        return join(self.url, "programs", f"{digest}.py")

    def data(self, digest: str) -> str:
        """Path of the staged rows of this content hash."""
        return join(self.url, "data", digest)

    def is_staged(self, digest: str) -> bool:
        """Whether all of these rows, or their description, are there."""
        return self.fs.exists(join(self.data(digest), "manifest.json"))

    def rank0_file(self, attempt: int, address: str, port: int) -> str:
        """Path of the file that says where an attempt of rank 0 listens."""
        return join(self.gang, f"rank0-{attempt:010d}@{address.replace(':', '_')}@{port}")

    def run(self, number: int) -> RunDirectory:
        """The directory of the run of this number."""
        return RunDirectory(self.fs, join(self.url, "runs", f"{number:04d}"), number)

    def create(self) -> None:
        """Make the directory (0700) and what lies above it.

        Raises
        ------
        StoragePermissionError
            The work directory is not writable: the message has path, user and advice.
        PathExists
            A job of this id has one already.
        """
        workdir = self.url.rpartition("/")[0]
        try:
            self._make_workdir(workdir)
            if self.fs.exists(self.url):
                raise PathExists(f"job directory {self.url} exists already", path=self.url)
            self.fs.mkdirs(self.url, 0o700)
            for folder in (self.gang, join(self.url, "runs")):
                self.fs.mkdirs(folder, 0o700)
        except StoragePermissionError as exc:
            raise StoragePermissionError(
                f"work directory {workdir} is not writable: {exc}\n  {self._where_instead()}",
                path=workdir,
            ) from exc

    def _make_workdir(self, workdir: str) -> None:
        try:
            self.fs.mkdirs(workdir)
        except PathExists as exc:
            raise PathExists(
                f"work directory {workdir} cannot be made: {exc}\n  it, or a folder above it, is a "
                f"file; choose another, e.g. {join(self.fs.home(), 'harpy-work')}",
                path=workdir,
            ) from exc

    def _where_instead(self) -> str:
        """Advice for a work directory that this user may not write to."""
        home = self.fs.home()
        with suppress(StorageError):
            if not self.fs.url.startswith("file:") and not self.fs.exists(home):
                path = self.fs.path_of(home)
                user = path.rpartition("/")[2]
                return (
                    "you have no home directory there; its administrator makes one: "
                    f"hdfs dfs -mkdir {path} && hdfs dfs -chown {user} {path}"
                )
        return f"choose another, e.g. {join(home, 'harpy-work')}, or ask its owner"

    def remove(self) -> bool:
        """Remove it with all that is in it; False when it was not there."""
        return self.fs.delete(self.url, recursive=True)

    def write_job(self, job: JobSpec) -> None:
        """Write job.json."""
        write_json(self.fs, self.job_json, job.to_wire())

    def read_job(self) -> JobSpec:
        """What write_job wrote; DataError for another version or malformed fields."""
        return _read_record(self.fs, self.job_json, JobSpec)

    def publish_rank0(self, attempt: int, address: str, port: int) -> None:
        """Publish where the hub of this attempt of rank 0 listens; never overwrites."""
        for known in self.rank0_addresses():
            if known.attempt == attempt:
                path = self.rank0_file(attempt, known.address, known.port)
                raise PathExists(f"attempt {attempt} of rank 0 is published: {path}", path=path)
        self.fs.write_bytes(self.rank0_file(attempt, address, port), b"")

    def rank0_addresses(self) -> list[Rank0Address]:
        """All published attempts of rank 0, the highest first; empty before there is one."""
        try:
            entries = self.fs.list(self.gang)
        except PathNotFound:
            return []
        found = [match for entry in entries if (match := _RANK0.fullmatch(entry.name))]
        return sorted(
            (Rank0Address(int(m[1]), m[2].replace("_", ":"), int(m[3])) for m in found),
            reverse=True,
        )

    def publish_waiting(self) -> None:
        """Publish that rank 0 lives and waits for others; repeated while it does."""
        self.fs.write_bytes(self._waiting, b"", overwrite=True)

    def waited_at(self) -> float | None:
        """When rank 0 last published that it waits, by the file system's clock; None if never."""
        try:
            return self.fs.stat(self._waiting).mtime
        except PathNotFound:
            return None

    def begin_generation(self) -> int:
        """Prepare for new workers after a session ended or lost all of its workers. Returns the
        number of their first attempts, above all earlier ones."""
        attempts = [hub.attempt for hub in self.rank0_addresses()]
        for name in _ENDED.values():
            self.fs.delete(join(self.gang, name))
        return (max(attempts, default=0) // ATTEMPTS_PER_GENERATION + 1) * ATTEMPTS_PER_GENERATION

    def publish_end(self, well: bool) -> None:
        """Publish, for workers that start later, that the session is over and how it ended."""
        self.fs.write_bytes(join(self.gang, _ENDED[well]), b"", overwrite=True)

    def session_ended(self) -> bool | None:
        """Whether it ended well; None while it goes on."""
        try:
            names = {entry.name for entry in self.fs.list(self.gang)}
        except PathNotFound:
            return None
        return next((well for well, name in _ENDED.items() if name in names), None)

    def runs(self) -> list[int]:
        """The numbers of the runs that left anything, ascending."""
        try:
            entries = self.fs.list(join(self.url, "runs"))
        except PathNotFound:
            return []
        return [int(entry.name) for entry in entries if entry.name.isdigit()]

    def finished_runs(self) -> list[int]:
        """The numbers of the runs that ended well, ascending."""
        return [number for number in self.runs() if self.run(number).finished()]

    def reports(self) -> list[Report]:
        """The reports of all ranks of all runs."""
        return [report for number in self.runs() for report in self.run(number).read_reports()]


class RunDirectory:
    """`runs/<number>/` of a job directory."""

    def __init__(self, fs: FileSystem, url: str, number: int) -> None:
        self.fs, self.url, self.number = fs, url, number
        self.run_json = join(url, "run.json")
        self.params = join(url, "params.json")
        self.checkpoint = join(url, "checkpoint")
        self.outputs = join(url, "output")
        self.result = join(url, "result.json")
        self.reports = join(url, "reports")
        self.success = join(url, "_SUCCESS")

    def output(self, name: str) -> str:
        """Path of an output; DataError for a name that no file can have."""
        if not _NAME.fullmatch(name):
            raise DataError(f"an output's name is letters, digits, '_', '.', '-'; got {name!r}")
        return join(self.outputs, name)

    def output_part(self, name: str, rank: int) -> str:
        """Path of one rank's part of an output."""
        return join(self.output(name), f"part-{rank:05d}.npy")

    def report(self, rank: int) -> str:
        """Path of one rank's report."""
        return join(self.reports, f"rank-{rank:04d}.json")

    def checkpoints(self) -> list[int]:
        """The numbers of the checkpoints that are there, ascending."""
        try:
            entries = self.fs.list(self.checkpoint)
        except PathNotFound:
            return []
        return sorted(int(entry.name) for entry in entries if entry.name.isdigit())

    def write_checkpoint(self, number: int, data: bytes) -> None:
        """Write the checkpoint of this number."""
        self.fs.write_bytes(self._checkpoint(number), data, overwrite=True)

    def read_checkpoint(self, number: int) -> bytes:
        """The content of the checkpoint of this number."""
        return self.fs.read_bytes(self._checkpoint(number))

    def prune_checkpoints(self, n_kept: int) -> None:
        """Remove all but the newest."""
        for number in self.checkpoints()[:-n_kept]:
            self.fs.delete(self._checkpoint(number))

    def _checkpoint(self, number: int) -> str:
        return join(self.checkpoint, f"{number:010d}")

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints of the run."""
        self.fs.delete(self.checkpoint, recursive=True)

    def write_run(self, run: RunSpec) -> None:
        """Write run.json."""
        write_json(self.fs, self.run_json, run.to_wire())

    def read_run(self) -> RunSpec:
        """The run that run.json describes."""
        return _read_record(self.fs, self.run_json, RunSpec)

    def write_params(self, params: Mapping[str, Any]) -> None:
        """Write the parameters."""
        write_value(self.fs, self.params, params)

    def read_params(self) -> dict[str, Any]:
        """The parameters."""
        params = read_value(self.fs, self.params)
        if not isinstance(params, dict):
            raise DataError(f"{self.params} should hold a dict, got {type(params).__name__}")
        return params

    def save_array(self, name: str, rank: int, array: np.ndarray) -> None:
        """Write this rank's rows of the output `name`."""
        write_array_part(self.fs, self.output_part(name, rank), array)

    def write_result(self, value: Any) -> None:
        """Write what the program returned on rank 0."""
        write_value(self.fs, self.result, value)

    def mark_success(self) -> None:
        """Write _SUCCESS, the last file of a run: all others are complete."""
        self.fs.write_bytes(self.success, b"", overwrite=True)

    def finished(self) -> bool:
        """Whether the run ended well: all of its results are there."""
        return self.fs.exists(self.success)

    def read_results(self) -> tuple[Any, dict[str, np.ndarray]]:
        """What rank 0 returned, and the saved arrays by name.

        Raises
        ------
        DataError
            The run has not ended well.
        """
        if not self.finished():
            raise DataError(f"{self.url} is not complete: {self.success} is not there")
        names: list[str] = []
        with suppress(PathNotFound):  # the program saved nothing
            names = [entry.name for entry in self.fs.list(self.outputs) if entry.is_dir]
        arrays = {name: read_array_parts(self.fs, self.output(name)) for name in names}
        return read_value(self.fs, self.result), arrays

    def write_report(self, report: Report) -> None:
        """Write one rank's report."""
        write_json(self.fs, self.report(report.rank), report.to_wire())

    def read_reports(self) -> list[Report]:
        """The reports that are there, in rank order."""
        try:
            entries = self.fs.list(self.reports)
        except PathNotFound:
            return []
        names = [entry.name for entry in entries if re.fullmatch(r"rank-\d+\.json", entry.name)]
        return [_read_record(self.fs, join(self.reports, name), Report) for name in names]


def write_json(fs: FileSystem, path: str, document: Mapping[str, Any]) -> None:
    """Write a JSON object as a whole file."""
    fs.write_bytes(path, json.dumps(dict(document), indent=1).encode(), overwrite=True)


def read_json(fs: FileSystem, path: str) -> dict[str, Any]:
    """Read a JSON object; DataError for anything else."""
    try:
        document = json.loads(fs.read_bytes(path))
    except ValueError as exc:
        raise DataError(f"{path} is not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise DataError(f"{path} should hold a JSON object, got {type(document).__name__}")
    return document


def _read_record(fs: FileSystem, path: str, record: type[R]) -> R:
    try:
        return record.from_wire(read_json(fs, path))
    except ProtocolError as exc:
        raise DataError(f"{path}: {exc}") from exc
