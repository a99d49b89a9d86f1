"""Where the results of one run on one rank go: files in the run's directory, written beside the
program, or the driver's channel where the run asks for it and they are small.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from harpy.errors import DataError
from harpy.storage import RunDirectory, check_value
from harpy.wire.frames import array_bytes
from harpy.wire.message import Message
from harpy.wire.report import Report
from harpy.wire.run_spec import RunSpec
from harpy.wire.to_hub import Delivered, Output

DELIVER_BYTES = 16 << 20  # larger arrays go through files even if the driver is connected
COPY_BYTES = 256 << 20  # larger arrays are written before `save` returns, without a copy
WRITERS = 4  # HDFS takes half a second to close a file, whatever its size


class Outputs:
    """Collects what a rank writes during a run; `finish` returns when all of it is safe.

    Parameters
    ----------
    directory : RunDirectory
    rank : int
    send : callable or None
        Sends a message towards the driver; None: everything goes to files.
    """

    def __init__(
        self,
        directory: RunDirectory,
        rank: int,
        send: Callable[[Message], None] | None,
    ) -> None:
        self._directory = directory
        self._rank = rank
        self._send = send
        self._pool: ThreadPoolExecutor | None = None
        self._pending: list[Future[None]] = []
        self.delivered: Delivered | None = None  # the result, on its way to the driver

    def describe(self, run: RunSpec) -> None:
        """Write run.json, for readers of the directory."""
        if self._send is None:
            self._write(self._directory.write_run, run)

    def save(self, name: str, array: np.ndarray) -> None:
        """Take one output; the caller may change the array afterwards."""
        self._directory.output(name)  # refuses a name that no file can have
        small = array.nbytes <= DELIVER_BYTES
        if self._send is not None:
            self._send(Output(self._directory.number, name, array.copy() if small else None))
            if small:
                return
        if array.nbytes > COPY_BYTES:
            self._directory.save_array(name, self._rank, array)
        else:
            self._write(self._directory.save_array, name, self._rank, array.copy())

    def result(self, value: Any) -> None:
        """Take what the program returned; only rank 0's value counts."""
        if self._rank != 0:
            return
        try:
            check_value(value)
        except DataError as exc:
            raise DataError(
                f"what the program returned cannot travel to the driver: {exc}"
            ) from exc
        if self._send is not None:
            if array_bytes({"value": value}) <= DELIVER_BYTES:
                self.delivered = Delivered(in_file=False, value=value)
                return
            self.delivered = Delivered(in_file=True)
        self._write(self._directory.write_result, value)

    def report(self, report: Report) -> None:
        """Write a rank's report, unless the run succeeded and its results go to the driver."""
        if self._send is None or report.error is not None:
            self._write(self._directory.write_report, report)

    def finish(self) -> None:
        """Wait for the writers; raise the first failure among them."""
        try:
            for future in self._pending:
                future.result()
        finally:
            self.close()

    def close(self) -> None:
        """Cancel writes that have not begun; wait for those that have."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
        self._pending.clear()

    def mark_success(self) -> None:
        """Write _SUCCESS, unless the results went to the driver."""
        if self._send is None:
            self._directory.mark_success()

    def _write(self, function: Callable[..., None], *arguments: Any) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="harpy-output")
        self._pending.append(self._pool.submit(function, *arguments))
