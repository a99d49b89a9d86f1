# distutils: language = c++
"""The Cython face of the native collectives: buffers and dtypes in, harpy.errors out.

Connections are made and authenticated by harpy.gang; arrays are shaped by its Communicator.
"""

from cpython.exc cimport PyErr_Occurred
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libcpp.string cimport string
from libcpp.vector cimport vector

from harpy.errors import GangError, PeerLost, ProtocolError, RunTimeout


cdef extern from "errors.h" namespace "harpy::collective" nogil:
    cdef enum class Failure:
        kTimeout
        kPeerLost
        kProtocol
        kAborted
        kInterrupted
        kMisuse

cdef extern from * nogil:
    """
    #include <exception>
    #include "errors.h"
    // What is being thrown right now, taken apart for Python.
    static void harpy_current_failure(harpy::collective::Failure* failure, int* rank,
                                      std::string* message) {
        try {
            throw;
        } catch (const harpy::collective::CollectiveError& error) {
            *failure = error.failure;
            *rank = error.rank;
            *message = error.what();
        } catch (const std::exception& error) {
            *failure = harpy::collective::Failure::kMisuse;
            *message = error.what();
        } catch (...) {
            *failure = harpy::collective::Failure::kMisuse;
            *message = "unknown C++ exception";
        }
    }
    // A call waits without the GIL. What a signal handler raises stays in this thread's Python state
    // until `translate` finds it there.
    static int harpy_check_signals() {
        const PyGILState_STATE state = PyGILState_Ensure();
        const int raised = PyErr_CheckSignals();
        PyGILState_Release(state);
        return raised;
    }
    """
    void harpy_current_failure(Failure*, int*, string*)
    int harpy_check_signals()

cdef int translate() except -1:
    cdef Failure failure = Failure.kMisuse
    cdef int rank = -1
    cdef string message
    harpy_current_failure(&failure, &rank, &message)
    if PyErr_Occurred():  # a signal handler raised while the call waited
        return -1
    text = message.decode("utf-8", "replace")
    if failure == Failure.kTimeout:
        raise RunTimeout(f"{text} (HARPY_COLLECTIVE_S)", rank=rank)
    if failure == Failure.kPeerLost or failure == Failure.kAborted:
        raise PeerLost(text, rank=None if rank < 0 else rank)
    if failure == Failure.kProtocol:
        raise ProtocolError(text)
    raise GangError(text)


cdef extern from "frame.h" namespace "harpy::collective" nogil:
    cdef enum class DType(uint8_t):
        pass
    cdef enum class Reduction(uint8_t):
        pass

cdef extern from "mesh.h" namespace "harpy::collective" nogil:
    ctypedef int (*InterruptCheck)()
    cdef struct Incoming:
        int peer
        void* data
        size_t bytes
    cdef cppclass CppMesh "harpy::collective::Mesh":
        CppMesh(int, int, const vector[int]&, uint32_t, double, size_t, InterruptCheck) except +translate
        void barrier() except +translate
        void broadcast(void*, size_t, int) except +translate
        void allgather(const vector[Incoming]&) except +translate
        void allreduce(void*, size_t, DType, Reduction) except +translate
        void abort(const string&) except +translate
        void close() except +translate
        int rank()
        int size()


# Codes of frame.h, by the names that NumPy and Communicator use.
cdef dict DTYPES = {"int32": 1, "int64": 2, "float32": 3, "float64": 4}
cdef dict REDUCTIONS = {"sum": 1, "max": 2, "min": 3}


cdef class Mesh:
    """Connected sockets to all other ranks and the collectives over them.

    Parameters
    ----------
    rank, size : int
        This rank and the number of ranks.
    fds : sequence of int
        The socket to each rank, -1 at `rank`. The mesh owns and closes them.
    epoch : int
        Number of this formation of the communicator; frames of another are refused.
    timeout_s : float
        Deadline of each call.
    tree_limit : int
        Largest payload in bytes that takes the path of least latency.

    Raises
    ------
    ProtocolError
        The ranks called different operations, or with different sizes or dtypes.
    PeerLost
        A peer is gone, or `abort` was called.
    RunTimeout
        A peer did not come within `timeout_s`.
    """

    cdef CppMesh* mesh

    def __cinit__(self, int rank, int size, fds, uint32_t epoch, double timeout_s,
                  size_t tree_limit=65536):
        cdef vector[int] sockets = fds
        self.mesh = new CppMesh(rank, size, sockets, epoch, timeout_s, tree_limit,
                                <InterruptCheck>harpy_check_signals)

    def __dealloc__(self):
        cdef CppMesh* mesh = self.mesh
        self.mesh = NULL
        if mesh != NULL:
            with nogil:
                del mesh

    @property
    def rank(self):
        return self.mesh.rank()

    @property
    def size(self):
        return self.mesh.size()

    def barrier(self):
        """Return when every rank has called it."""
        with nogil:
            self.mesh.barrier()

    def broadcast(self, uint8_t[::1] data not None, int root):
        """Overwrite `data` with the root's; the length is the same on all ranks."""
        cdef size_t n = data.shape[0]
        cdef void* start = &data[0] if n else NULL
        with nogil:
            self.mesh.broadcast(start, n, root)

    def allgather(self, blocks):
        """Fill blocks[r] (writable, contiguous bytes) with rank r's own; lengths are known to all."""
        cdef vector[Incoming] incoming
        cdef Incoming one
        cdef uint8_t[::1] view
        for peer, block in enumerate(blocks):
            view = block
            one.peer = peer
            one.bytes = view.shape[0]
            one.data = &view[0] if view.shape[0] else NULL
            incoming.push_back(one)
        with nogil:
            self.mesh.allgather(incoming)

    def allreduce(self, uint8_t[::1] data not None, str dtype not None, str op not None):
        """Reduce in place: `data` holds elements of `dtype`; `op` is sum, max or min."""
        if dtype not in DTYPES:
            raise TypeError(f"allreduce takes {', '.join(DTYPES)}, got {dtype}")
        if op not in REDUCTIONS:
            raise ValueError(f"op must be {', '.join(REDUCTIONS)}, got {op!r}")
        cdef size_t width = 4 if dtype.endswith("32") else 8
        cdef size_t n = data.shape[0]
        cdef void* start = &data[0] if n else NULL
        cdef DType code = <DType><int>DTYPES[dtype]
        cdef Reduction reduction = <Reduction><int>REDUCTIONS[op]
        with nogil:
            self.mesh.allreduce(start, n // width, code, reduction)

    def abort(self, str reason not None):
        """End a running call in any thread at once, and all later ones, with PeerLost(reason)."""
        cdef string text = reason.encode()
        with nogil:
            self.mesh.abort(text)

    def close(self):
        """Tell the peers that no more calls will come; close the sockets. May be repeated."""
        with nogil:
            self.mesh.close()
