"""What programs call: collectives on NumPy arrays. Owns shapes and dtypes; bytes move in
harpy.kernels.collective, connections are made by harpy.gang.mesh.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from harpy.kernels.collective import Mesh

REDUCIBLE = {np.dtype(name): name for name in ("int32", "int64", "float32", "float64")}
OPS = ("sum", "max", "min")
# dtype (16 bytes of text), number of dimensions, up to 8 lengths: what an array is, in 88 bytes
_DESCRIPTION = np.dtype([("dtype", "S16"), ("ndim", "<i8"), ("shape", "<i8", 8)])


class Communicator(ABC):
    """The ranks of one run.

    Every rank makes the same calls in the same order; results are new arrays.
    """

    rank: int
    size: int

    @abstractmethod
    def allreduce(self, array: Any, op: str = "sum") -> np.ndarray:
        """Combine arrays of the same shape and dtype element by element.

        Parameters
        ----------
        array : array_like of int32, int64, float32 or float64
            This rank's part.
        op : {"sum", "max", "min"}, default "sum"
            How elements are combined.

        Returns
        -------
        ndarray
            The same bits on every rank. Floating sums are combined in an order that depends on the
            number of ranks alone; integer sums wrap.

        Raises
        ------
        ProtocolError
            Ranks made different calls; names both.
        PeerLost
            Another worker is gone or gave up; never the first cause.
        RunTimeout
            A rank did not come within Deadlines.collective_s.
        """

    @abstractmethod
    def broadcast(self, array: Any | None, root: int = 0) -> np.ndarray:
        """Give the root's array to every rank.

        Parameters
        ----------
        array : array_like of numbers or fixed-length strings, or None
            Of the root; what other ranks pass is ignored and may be None.
        root : int, default 0
            The rank that gives.

        Returns
        -------
        ndarray
            The same bits on every rank.

        Raises
        ------
        ProtocolError, PeerLost, RunTimeout
            As of `allreduce`.
        """

    @abstractmethod
    def allgather(self, array: Any) -> list[np.ndarray]:
        """Give the arrays of all ranks to every rank.

        Parameters
        ----------
        array : array_like of numbers or fixed-length strings
            This rank's; shapes and dtypes may differ between ranks.

        Returns
        -------
        list of ndarray
            In rank order.

        Raises
        ------
        ProtocolError, PeerLost, RunTimeout
            As of `allreduce`.
        """

    @abstractmethod
    def barrier(self) -> None:
        """Return when every rank has called it.

        Raises
        ------
        ProtocolError, PeerLost, RunTimeout
            As of `allreduce`.
        """

    @abstractmethod
    def abort(self, reason: str) -> None:
        """End a call that any thread is in, at once, with PeerLost.

        Parameters
        ----------
        reason : str
            For the message of that error.
        """

    @abstractmethod
    def close(self) -> None:
        """Leave the communicator: later calls fail, and peers that still call learn why."""


Call = TypeVar("Call", bound=Callable[..., Any])


def _timed(call: Call) -> Call:
    """Add what a call takes to its communicator's `inside_s`."""

    @wraps(call)
    def timed(self: MeshCommunicator, *arguments: Any, **named: Any) -> Any:
        begun = time.monotonic()
        try:
            return call(self, *arguments, **named)
        finally:
            self.inside_s += time.monotonic() - begun

    return cast(Call, timed)


class LocalCommunicator(Communicator):
    """One rank alone: no sockets, same checks, same fresh arrays."""

    rank = 0
    size = 1

    def allreduce(self, array: Any, op: str = "sum") -> np.ndarray:
        """As `Communicator.allreduce`."""
        return np.array(_reducible(array, op), order="C")

    def broadcast(self, array: Any | None, root: int = 0) -> np.ndarray:
        """As `Communicator.broadcast`."""
        _check_root(root, 1)
        return np.array(_movable(array), order="C")

    def allgather(self, array: Any) -> list[np.ndarray]:
        """As `Communicator.allgather`."""
        return [np.array(_movable(array), order="C")]

    def barrier(self) -> None:
        """As `Communicator.barrier`."""
        return

    def abort(self, reason: str) -> None:
        """As `Communicator.abort`."""
        return

    def close(self) -> None:
        """As `Communicator.close`."""
        return


class MeshCommunicator(Communicator):
    """Ranks connected by a native mesh.

    Attributes
    ----------
    inside_s : float
        Seconds spent in calls so far, most of them waiting for other ranks.
    """

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self.inside_s = 0.0
        self.rank, self.size = mesh.rank, mesh.size

    @_timed
    def allreduce(self, array: Any, op: str = "sum") -> np.ndarray:
        """As `Communicator.allreduce`."""
        result = np.array(_reducible(array, op), order="C")
        self._mesh.allreduce(_bytes(result), REDUCIBLE[result.dtype], op)
        return result

    @_timed
    def broadcast(self, array: Any | None, root: int = 0) -> np.ndarray:
        """As `Communicator.broadcast`."""
        _check_root(root, self.size)
        mine = self.rank == root
        given = np.ascontiguousarray(_movable(array)) if mine else None
        description = np.zeros(1, _DESCRIPTION) if given is None else _describe(given)
        self._mesh.broadcast(_bytes(description), root)
        result = _empty_like(description) if given is None else given.copy()
        self._mesh.broadcast(_bytes(result), root)
        return result

    @_timed
    def allgather(self, array: Any) -> list[np.ndarray]:
        """As `Communicator.allgather`."""
        given = np.ascontiguousarray(_movable(array))
        descriptions = np.zeros(self.size, _DESCRIPTION)
        descriptions[self.rank] = _describe(given)[0]
        self._mesh.allgather([_bytes(descriptions[r : r + 1]) for r in range(self.size)])
        blocks = [
            given.copy() if r == self.rank else _empty_like(descriptions[r : r + 1])
            for r in range(self.size)
        ]
        self._mesh.allgather([_bytes(block) for block in blocks])
        return blocks

    @_timed
    def barrier(self) -> None:
        """As `Communicator.barrier`."""
        self._mesh.barrier()

    def abort(self, reason: str) -> None:
        """As `Communicator.abort`."""
        self._mesh.abort(reason)

    def close(self) -> None:
        """As `Communicator.close`."""
        self._mesh.close()


def _reducible(array: Any, op: str) -> np.ndarray:
    if op not in OPS:
        raise ValueError(f"op must be one of {', '.join(OPS)}, got {op!r}")
    given = np.asarray(array)
    if given.dtype not in REDUCIBLE:
        raise TypeError(f"allreduce takes {', '.join(REDUCIBLE.values())}, got {given.dtype}")
    return given


def _movable(array: Any) -> np.ndarray:
    given = np.asarray(array)
    # A descriptor of 16 characters covers numbers, booleans and short fixed-length strings.
    if given.dtype.kind not in "biufcSU" or given.ndim > 8:
        raise TypeError(
            f"arrays of numbers or fixed-length strings with at most 8 dimensions can be sent, "
            f"got {given.dtype} with {given.ndim}"
        )
    return given


def _check_root(root: int, size: int) -> None:
    if not 0 <= root < size:
        raise ValueError(f"root must be a rank from 0 to {size - 1}, got {root}")


def _describe(array: np.ndarray) -> np.ndarray:
    description = np.zeros(1, _DESCRIPTION)
    description["dtype"] = array.dtype.str.encode()
    description["ndim"] = array.ndim
    description["shape"][0, : array.ndim] = array.shape
    return description


def _empty_like(description: np.ndarray) -> np.ndarray:
    ndim = int(description["ndim"][0])
    shape = tuple(int(n) for n in description["shape"][0, :ndim])
    return np.empty(shape, np.dtype(description["dtype"][0].decode()))


def _bytes(array: np.ndarray) -> np.ndarray:
    """The array's memory as writable bytes."""
    return array.reshape(-1).view(np.uint8)
