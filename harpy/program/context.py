"""Context: all that a program sees. Has no Hadoop, no sockets and no files; those are behind the
few functions that it is made with.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harpy.errors import DataError
from harpy.program.checkpoint import Checkpoint, NoCheckpoint
from harpy.program.inputs import Inputs, ShardedArray
from harpy.storage.rows.row_source import RowSource
from harpy.storage.rows.shares import EvenShares

if TYPE_CHECKING:
    import numpy as np

    from harpy.program.communicator import Communicator
    from harpy.storage import FileRows, Rows


class Context:
    """What a program is called with.

    Parameters
    ----------
    rank, size : int
        This worker's number and the number of workers.
    n_thread : int, default 1
        Threads this worker may use.
    memory : int, optional
        Bytes this worker's process may use in all; None where memory is not limited.
    scratch : str, default "/tmp"
        A folder on a local disk.
    params : mapping, optional
        The run's parameters.
    data : mapping of str to callable, optional
        What opens the rows of each input.
    form_communicator : callable
        Connects the ranks; called at the first touch of `comm`.
    on_progress, on_save, on_log : callable
        Where the calls of `progress`, `save` and `log` go.

    Attributes
    ----------
    rank, size : int
        This worker's number and the number of workers.
    n_thread : int
        Threads this worker may use.
    memory : int or None
        Bytes this worker's process may use in all; None where memory is not limited.
    params : dict
        The run's parameters, the same on all workers.
    data : mapping of str to ShardedArray
        The run's inputs; `ShardedArray.load` gives this rank's rows.
    comm : Communicator
        Formed at the first touch, which all ranks must make.
    checkpoint : Checkpoint
        Where to note how far the run is, and to learn it after a worker was replaced.
    watched : bool
        Whether somebody may see what `progress` is told, the same on all ranks: a program that
        would work for it alone can leave that.
    """

    watched = True

    def __init__(
        self,
        rank: int,
        size: int,
        *,
        n_thread: int = 1,
        memory: int | None = None,
        scratch: str = "/tmp",
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Callable[[], RowSource]] | None = None,
        form_communicator: Callable[[], Communicator],
        on_progress: Callable[[float | None, dict[str, Any]], None],
        on_save: Callable[[str, np.ndarray], None],
        on_log: Callable[[str], None],
    ) -> None:
        self.rank = rank
        self.size = size
        self.n_thread = n_thread
        self.memory = memory
        self.params = dict(params or {})
        self.data = Inputs(
            {
                name: ShardedArray(
                    name, make, rank, size, lambda mine: self.comm.allgather(mine), scratch
                )
                for name, make in (data or {}).items()
            }
        )
        self._form_communicator = form_communicator
        self._on_progress, self._on_save, self._on_log = on_progress, on_save, on_log
        self._saved_names: set[str] = set()
        self.checkpoint: Checkpoint = NoCheckpoint()

    @cached_property
    def comm(self) -> Communicator:
        """The ranks of the run; formed at the first touch, which all ranks must make."""
        return self._form_communicator()

    def progress(self, fraction: float | None = None, **values: Any) -> None:
        """Report how far the run is. What rank 0 reports is shown; calls of other ranks cost
        nothing.

        Parameters
        ----------
        fraction : float, optional
            Part of the work done, 0 to 1.
        **values : numbers or short strings
            What a person wants to see, e.g. `iteration=3, inertia=1.2e6`.
        """
        self._on_progress(None if fraction is None else min(1.0, max(0.0, fraction)), values)

    def save(self, name: str, array: Any) -> None:
        """Give this rank's rows of an output to the driver.

        The driver gets the rows of all ranks, one below the other in rank order. Ranks without
        rows save an array of length 0.

        Parameters
        ----------
        name : str
            Of the output: letters, digits, "_", "." and "-".
        array : array_like of numbers, booleans or strings
            At least one-dimensional; it may be changed afterwards.

        Raises
        ------
        DataError
            The name was used before in this run, or the array is of another kind.
        """
        import numpy as np

        if name in self._saved_names:
            raise DataError(f"output {name!r} was saved before in this run")
        given = np.asarray(array)
        if given.ndim == 0:
            raise DataError(f"output {name!r} is a single number; return it from the program")
        if given.dtype.kind not in "biufcSU":
            raise DataError(
                f"output {name!r} is an array of dtype {given.dtype}; expected numbers, booleans "
                "or strings"
            )
        self._saved_names.add(name)
        self._on_save(name, given)

    def log(self, text: str) -> None:
        """Write one line to this worker's log, with its rank.

        Parameters
        ----------
        text : str
            The line.
        """
        self._on_log(str(text))

    @classmethod
    def in_process(
        cls,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Rows | FileRows] | None = None,
        n_thread: int = 1,
        on_progress: Callable[[float | None, dict[str, Any]], None] | None = None,
        memory: int | None = None,
        hadoop_conf: Mapping[str, str] | None = None,
    ) -> InProcessContext:
        """The context of an only worker inside the calling process: no file, no socket, no thread.

        Parameters
        ----------
        params : mapping, optional
            The run's parameters.
        data : mapping of str to ndarray, CsrRows or FileRows, optional
            The run's inputs.
        n_thread : int, default 1
            Threads the program may use.
        on_progress : callable, optional
            Called with fraction and values; None: nobody watches.
        memory : int, optional
            Bytes the program may use; None: memory is not limited.
        hadoop_conf : mapping of str to str, optional
            Hadoop settings, on top of the configuration files, for rows in files.

        Returns
        -------
        InProcessContext
        """
        return InProcessContext(params, data or {}, n_thread, on_progress, memory, hadoop_conf)


class InProcessContext(Context):
    """A Context whose outputs are in `saved`, name -> ndarray."""

    def __init__(
        self,
        params: Mapping[str, Any] | None,
        data: Mapping[str, Rows | FileRows],
        n_thread: int,
        on_progress: Callable[[float | None, dict[str, Any]], None] | None,
        memory: int | None,
        hadoop_conf: Mapping[str, str] | None,
    ) -> None:
        self.saved: dict[str, np.ndarray] = {}
        self.watched = on_progress is not None
        super().__init__(
            0,
            1,
            n_thread=n_thread,
            memory=memory,
            scratch=tempfile.gettempdir(),
            params=params,
            data={name: _opener(rows, n_thread, hadoop_conf) for name, rows in data.items()},
            form_communicator=_alone,
            on_progress=on_progress or (lambda fraction, values: None),
            on_save=lambda name, array: self.saved.__setitem__(name, array.copy()),
            on_log=_log_to_stderr,
        )


class ArrayRows(EvenShares):
    """RowSource over an array in memory; hands out views."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def read_rows(self, start: int, stop: int) -> np.ndarray:
        """As `RowSource.read_rows`, as a view."""
        return self._array[start:stop]


def _opener(
    rows: Rows | FileRows, n_thread: int, hadoop_conf: Mapping[str, str] | None
) -> Callable[[], RowSource]:
    def open_source() -> RowSource:
        from harpy.storage import CsrRows, FileRows, FileSystems

        if isinstance(rows, FileRows):
            from harpy.storage.rows.cached_rows import CachedRows
            from harpy.storage.rows.loading import open_files

            return CachedRows(open_files(rows, FileSystems(hadoop_conf), n_thread))
        # Sparse rows are a RowSource themselves.
        return rows if isinstance(rows, CsrRows) else ArrayRows(rows)

    return open_source


def _alone() -> Communicator:
    from harpy.program.communicator import LocalCommunicator

    return LocalCommunicator()


def _log_to_stderr(text: str) -> None:
    import sys

    print(f"rank=0 {text}", file=sys.stderr, flush=True)
