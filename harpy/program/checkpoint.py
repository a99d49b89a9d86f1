"""Checkpoints: the state from which a run goes on, in the memory of every worker and, at times, in
the run's directory.

A state is the same on all ranks, so every worker that was not lost has it; files are for the case
that all are lost. One file is one control frame, which is checked as a whole when it is read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from harpy.errors import DataError, HarpyError, ProtocolError
from harpy.wire.frames import FrameReader, FrameWriter

if TYPE_CHECKING:
    from harpy.program.communicator import Communicator
    from harpy.storage import JobDirectory

logger = logging.getLogger(__name__)

_KEY = b"harpy checkpoint 1"  # makes a frame's HMAC its checksum: these files need no secret
KEPT = 2  # files of a run: the newest, and one more should that be damaged

State = dict[str, Any]


class Checkpoint(Protocol):
    """`ctx.checkpoint` of a program.

    Attributes
    ----------
    kept : bool
        Whether states outlive a loss; where not, a program need not make one.
    """

    kept: bool

    def load(self) -> State | None:
        """The state that was saved last. All ranks must call it.

        What led to that state need not be done again.

        Returns
        -------
        dict or None
            The same on all ranks; None at a run's first beginning.
        """

    def save(self, state: Mapping[str, Any]) -> None:
        """Note how far the run is.

        It costs a copy: rank 0 writes the state to the run's directory in the background, at most
        once every `HARPY_CHECKPOINT_S` seconds.

        Parameters
        ----------
        state : mapping of str to JSON values and arrays
            The same on all ranks, saved after the same collective call. Keep it small: what
            follows from the rows is better computed again.
        """


class NoCheckpoint:
    """`ctx.checkpoint` of a run inside the calling process, which outlives no loss."""

    kept = False

    def load(self) -> None:
        """As `Checkpoint.load`: there is no state."""
        return

    def save(self, state: Mapping[str, Any]) -> None:
        """As `Checkpoint.save`: the state is not kept."""
        return


class CheckpointKeeper:
    """The newest state of the run that goes on, in one worker, kept from epoch to epoch.

    Parameters
    ----------
    directory : JobDirectory
    writes : bool
        Whether this worker writes files; all keep states.
    every_s : float
        Minimum seconds between two files.
    """

    def __init__(self, directory: JobDirectory, writes: bool, every_s: float) -> None:
        self._directory = directory
        self._writes = writes
        self._every_s = every_s
        self._changed = threading.Condition()
        self._run = 0
        self._number = 0
        self._state: State = {}
        self._written = 0  # number of the newest file
        self._write_at = 0.0
        self._thread: threading.Thread | None = None

    def begin(self, run: int) -> None:
        """Forget the states of other runs."""
        with self._changed:
            if run != self._run:
                self._run, self._number, self._state, self._written = run, 0, {}, 0
                self._write_at = time.monotonic() + self._every_s

    def keep(self, number: int, state: State) -> None:
        """Make this the newest state, and have it written when it is time."""
        with self._changed:
            self._number, self._state = number, state
            if self._writes and self._thread is None:
                self._thread = threading.Thread(
                    target=self._write_all, name="harpy-checkpoint", daemon=True
                )
                self._thread.start()
            self._changed.notify()

    def newest(self) -> tuple[int, State]:
        """Number and state; 0 where there is none."""
        with self._changed:
            return self._number, self._state

    def end(self, run: int) -> None:
        """Drop the states and files of a run that is over."""
        with self._changed:
            written = self._run == run and self._written > 0
        self.begin(0)
        if self._writes and written:
            self._directory.run(run).remove_checkpoints()

    def read(self) -> tuple[int, State]:
        """Number and state of the newest readable file; 0 where there is none."""
        files = self._directory.run(self._run)
        for number in sorted(files.checkpoints(), reverse=True):
            try:
                return number, decode(files.read_checkpoint(number))
            except DataError as exc:
                logger.warning("checkpoint %d of run %d is damaged: %s", number, self._run, exc)
        return 0, {}

    # -- the writer's thread -----------------------------------------------------------------------

    def _write_all(self) -> None:
        while True:
            with self._changed:
                while self._number <= self._written or time.monotonic() < self._write_at:
                    left = self._write_at - time.monotonic()
                    self._changed.wait(left if self._number > self._written else None)
                run, number, state = self._run, self._number, self._state
                self._written = number
                self._write_at = time.monotonic() + self._every_s
            try:
                files = self._directory.run(run)
                files.write_checkpoint(number, encode(state))
                files.prune_checkpoints(KEPT)
            except (HarpyError, OSError) as exc:
                # The run goes on without it: after a loss it would begin from an older one.
                logger.warning("checkpoint %d of run %d was not written: %s", number, run, exc)


class GangCheckpoint:
    """`ctx.checkpoint` of one epoch on one rank."""

    kept = True

    def __init__(
        self, keeper: CheckpointKeeper, communicator: Callable[[], Communicator], on_file: bool
    ) -> None:
        self._keeper = keeper
        self._communicator = communicator
        self._on_file = on_file  # whether there may be a file though no rank has a state

    def load(self) -> State | None:
        """As `Checkpoint.load`: the newest state that any rank has, else that of the file."""
        import numpy as np

        comm = self._communicator()
        number, state = self._keeper.newest()
        numbers = [int(n[0]) for n in comm.allgather(np.array([number], np.int64))]
        root = int(np.argmax(numbers))
        if numbers[root] == 0:
            root = 0
            if comm.rank == 0 and self._on_file:
                number, state = self._keeper.read()
        mine = None
        if comm.rank == root:
            mine = np.frombuffer(encode({"number": number, "state": state}), np.uint8)
        found = decode(comm.broadcast(mine, root).tobytes())
        number = int(found["number"])
        if number == 0:
            return None
        loaded: State = found["state"]
        self._keeper.keep(number, copied(loaded))  # the caller's may change
        return loaded

    def save(self, state: Mapping[str, Any]) -> None:
        """As `Checkpoint.save`."""
        from harpy.storage import check_value

        check_value(state, "the checkpoint")
        number, _ = self._keeper.newest()
        self._keeper.keep(number + 1, copied(state))


def copied(value: Any) -> Any:
    """`value`, whose arrays the caller may change afterwards."""
    if hasattr(value, "dtype"):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    return value


def encode(state: Mapping[str, Any]) -> bytes:
    """A state as the content of a checkpoint file: one control frame."""
    return FrameWriter(_KEY).encode(state)


def decode(data: bytes) -> State:
    """The state that `encode` wrote; DataError for anything else, or a part of it."""
    try:
        messages = FrameReader(_KEY).feed(data)
    except ProtocolError as exc:
        raise DataError(f"not a checkpoint: {exc}") from exc
    if len(messages) != 1:
        raise DataError(f"not a checkpoint: {len(data)} bytes are not one frame")
    whole: State = copied(messages[0])  # copied, since arrays of a frame are unaligned views of it
    return whole
