# Greedy k-means++: part of _kmeans.pyx.

from libc.stdint cimport uint8_t

cdef extern from "kmeans.h" namespace "harpy::kmeans" nogil:
    cdef cppclass Potentials_ "harpy::kmeans::Potentials":
        int64_t n_rows
        double* values
        int32_t* closest
        uint8_t* lowered
        double* distances
        const double* weights
        int64_t* block_sums
        int64_t[3] total
        int64_t n_top
        int exponent

    const int64_t kPotentialRows
    const int kMaxCandidates
    Status start_potentials_ "harpy::kmeans::start_potentials"[T](
        const LaneKernels* lanes, Matrix[T] x, Matrix[T] center, int n_thread,
        Potentials_* potentials)
    Status largest_potential_ "harpy::kmeans::largest_potential"(
        const Potentials_& potentials, int n_thread, double* largest)
    Status quantise_potentials_ "harpy::kmeans::quantise_potentials"(
        int exponent, int n_thread, Potentials_* potentials)
    Status candidate_gains_ "harpy::kmeans::candidate_gains"[T](
        const LaneKernels* lanes, Matrix[T] x, Matrix[T] centers, Matrix[T] candidates,
        int n_thread, const Potentials_& potentials, int64_t* limbs)
    Status keep_candidate_ "harpy::kmeans::keep_candidate"[T](
        const LaneKernels* lanes, Matrix[T] x, Matrix[T] candidates, int64_t index,
        int32_t center, int n_thread, Potentials_* potentials)
    Status prefix_search_ "harpy::kmeans::prefix_search"(
        const Potentials_& potentials, const int64_t* target_limbs, int64_t n_targets,
        int64_t* found)


cdef inline Matrix[floating] _rows(const floating[:, ::1] array, Py_ssize_t begin,
                                   Py_ssize_t end) noexcept nogil:
    cdef Matrix[floating] matrix = _matrix(array)
    matrix.data += begin * matrix.n_columns
    matrix.n_rows = end - begin
    return matrix


cdef int _start(const floating[:, ::1] X, const floating[:, ::1] centers, int threads,
                Potentials_* state) except -1:
    cdef const LaneKernels* lanes = _lanes()
    cdef Status status
    with nogil:
        status = start_potentials_(lanes, _matrix(X), _rows(centers, 0, 1), threads, state)
    return _check(status, "Potentials")


cdef object _gains(const floating[:, ::1] X, const floating[:, ::1] centers, Py_ssize_t n_centers,
                   const floating[:, ::1] candidates, int threads, const Potentials_* state):
    cdef const LaneKernels* lanes = _lanes()
    limbs = np.zeros((candidates.shape[0], SUM_LIMBS), dtype=np.int64)
    cdef int64_t[:, ::1] limbs_view = limbs
    cdef Status status
    with nogil:
        status = candidate_gains_(lanes, _matrix(X), _rows(centers, 0, n_centers),
                                  _matrix(candidates), threads, state[0], &limbs_view[0, 0])
    _check(status, "Potentials.gains")
    return limbs


cdef int _keep(const floating[:, ::1] X, const floating[:, ::1] candidates, Py_ssize_t index,
               Py_ssize_t center, int threads, Potentials_* state) except -1:
    cdef const LaneKernels* lanes = _lanes()
    cdef Status status
    with nogil:
        status = keep_candidate_(lanes, _matrix(X), _matrix(candidates), index, <int32_t> center,
                                 threads, state)
    return _check(status, "Potentials.keep")


# Distances are kept for the candidate that is chosen where they take at most so many bytes, and to
# measure it again would mean to read rows of at least so many.
cdef Py_ssize_t _MOST_KEPT = 1 << 25
cdef Py_ssize_t _LEAST_ROW = 128


cdef class Potentials:
    cdef object _X, _centers, _arrays, _distances
    cdef Py_ssize_t _n_centers, _n_measured
    cdef int _threads
    cdef Potentials_ _state

    def __init__(self, X, centers, weights=None, n_thread=1):
        self._X, self._centers, self._n_centers = X, centers, 1
        self._threads = _threads(n_thread)
        cdef Py_ssize_t n_rows = len(X)
        _equal("number of columns of centers", X.shape[1], centers.shape[1])
        if len(centers) == 0:
            raise ValueError("need at least one center, got 0")
        cdef double[::1] values = np.empty(n_rows)
        cdef int32_t[::1] closest = np.empty(n_rows, dtype=np.int32)
        cdef uint8_t[::1] lowered = np.empty(n_rows, dtype=np.uint8)
        cdef int64_t[:, ::1] sums = np.zeros(
            (n_rows // <Py_ssize_t> kPotentialRows + 1, SUM_LIMBS), dtype=np.int64)
        cdef const double[::1] weights_view = weights
        self._n_measured = 0
        self._state.distances = NULL
        self._state.weights = NULL
        if weights is not None:
            _equal("number of weights", n_rows, weights_view.shape[0])
            self._state.weights = &weights_view[0]
        self._arrays = (values, closest, lowered, sums, weights_view)
        self._state.n_rows = n_rows
        self._state.values = &values[0]
        self._state.closest = &closest[0]
        self._state.lowered = &lowered[0]
        self._state.block_sums = &sums[0, 0]
        if X.dtype == np.float32:
            _start[float](X, centers, self._threads, &self._state)
        else:
            _start[double](X, centers, self._threads, &self._state)

    @property
    def summary(self):
        summary = np.empty(SUM_LIMBS + 1, dtype=np.int64)
        cdef int64_t[::1] view = summary
        cdef int i
        for i in range(SUM_LIMBS):
            view[i] = self._state.total[i]
        view[SUM_LIMBS] = self._state.n_top
        return summary

    def largest(self):
        cdef double largest = 0.0
        cdef Status status
        with nogil:
            status = largest_potential_(self._state, self._threads, &largest)
        _check(status, "Potentials.largest")
        return largest

    def quantise(self, int exponent):
        cdef Status status
        with nogil:
            status = quantise_potentials_(exponent, self._threads, &self._state)
        _check(status, "Potentials.quantise")

    def find(self, const int64_t[:, ::1] targets not None):
        _equal("number of limbs", SUM_LIMBS, targets.shape[1])
        found = np.empty(targets.shape[0], dtype=np.int64)
        cdef int64_t[::1] found_view = found
        with nogil:
            prefix_search_(self._state, &targets[0, 0], targets.shape[0], &found_view[0])
        return found

    def gains(self, candidates):
        _equal("number of columns of candidates", self._X.shape[1], candidates.shape[1])
        if len(candidates) > kMaxCandidates:
            raise ValueError(f"at most {kMaxCandidates} candidates, got {len(candidates)}")
        if len(candidates) != self._n_measured:
            self._make_room(len(candidates))
        if self._X.dtype == np.float32:
            return _gains[float](self._X, self._centers, self._n_centers, candidates,
                                 self._threads, &self._state)
        return _gains[double](self._X, self._centers, self._n_centers, candidates,
                              self._threads, &self._state)

    cdef _make_room(self, Py_ssize_t n_candidates):
        cdef Py_ssize_t n_distances = len(self._X) * n_candidates
        cdef double[::1] distances = None
        self._state.distances = NULL
        if (n_distances * <Py_ssize_t> sizeof(double) <= _MOST_KEPT
                and self._X.shape[1] * self._X.itemsize >= _LEAST_ROW):
            distances = np.empty(n_distances)
            self._state.distances = &distances[0]
        self._distances, self._n_measured = distances, n_candidates

    def keep(self, candidates, Py_ssize_t index):
        _equal("number of candidates", self._n_measured, len(candidates))
        self._centers[self._n_centers] = candidates[index]
        if self._X.dtype == np.float32:
            _keep[float](self._X, candidates, index, self._n_centers, self._threads, &self._state)
        else:
            _keep[double](self._X, candidates, index, self._n_centers, self._threads, &self._state)
        self._n_centers += 1
