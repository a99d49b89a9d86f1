# distutils: language = c++
# Checks shapes, picks the instruction set and calls the C++ kernels without the GIL.
# Names, shapes and meanings are documented in _kmeans.pyi and in kmeans.h.

import os

import numpy as np

from cython cimport floating
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport getenv
from libc.string cimport memset

from harpy.errors import ConfigError

cdef extern from "kmeans.h" namespace "harpy::kmeans" nogil:
    cdef enum class Status(int):
        ok
        out_of_memory
        too_large

    cdef cppclass Matrix[T]:
        const T* data
        int64_t n_rows
        int64_t n_columns

    cdef cppclass LaneKernels:
        pass

    const LaneKernels* find_lane_kernels(const char* name)
    const char* lane_kernels_name(const LaneKernels* lanes)
    const LaneKernels* best_lane_kernels()

    Status column_ranges_ "harpy::kmeans::column_ranges"[T](
        const LaneKernels* lanes, Matrix[T] x, int n_thread, double* absmax, int64_t* first_bad)
    Status weighted_ranges_ "harpy::kmeans::weighted_ranges"[T](
        Matrix[T] x, const T* weights, int n_thread, double* absmax)
    void column_exponents_ "harpy::kmeans::column_exponents"(
        const double* absmax, int64_t n_columns, int32_t* exponents)
    void widen_ "harpy::kmeans::widen"(const float* values, int64_t n_values, double* out)
    Status assign_ "harpy::kmeans::assign"[T](
        const LaneKernels* lanes, Matrix[T] x, Matrix[T] centers, const T* offset,
        int n_thread, int bound_bytes, int32_t* labels, int64_t* n_changed, double* absmax,
        int64_t* first_bad)
    cdef cppclass Lloyd_ "harpy::kmeans::Lloyd"[T]:
        Status start(const LaneKernels* lanes, Matrix[T] x, const T* weights, int64_t n_clusters,
                     const int32_t* exponents, int n_thread, int bound_bytes)
        Status step(const T* centers, const T* offset, int32_t* labels, int64_t* n_changed,
                    int64_t* limbs, int64_t* counts)
        Status label(const T* centers, const T* offset, int32_t* labels, int64_t* n_changed)
    Status accumulate_ "harpy::kmeans::accumulate"[T](
        const LaneKernels* lanes, Matrix[T] x, const T* weights, const int32_t* labels,
        int64_t n_clusters, const int32_t* exponents, int n_thread, int64_t* limbs,
        int64_t* counts)
    Status centers_from_sums_ "harpy::kmeans::centers_from_sums"[T](
        const int64_t* limbs, const double* weights, const int32_t* exponents,
        int64_t n_clusters, int64_t n_columns, int n_thread, T* centers)
    Status column_means_ "harpy::kmeans::column_means"(
        const int64_t* limbs, const int64_t* counts, const int32_t* exponents,
        int64_t n_clusters, int64_t n_columns, double* means)
    Status screen_ "harpy::kmeans::screen"[T](
        const LaneKernels* lanes, Matrix[T] x, Matrix[T] centers, const T* offset,
        int32_t* nearest, T* most, T* least)
    Status center_offset_ "harpy::kmeans::center_offset"[T](
        const LaneKernels* lanes, Matrix[T] centers, int n_thread, T* offset)
    double center_shift_ "harpy::kmeans::center_shift"[T](Matrix[T] before, Matrix[T] after)
    Status squared_distances_ "harpy::kmeans::squared_distances"[T](
        const LaneKernels* lanes, Matrix[T] x, Matrix[double] centers, const int32_t* labels,
        int n_thread, double* out)
    Status squared_distance_sum_ "harpy::kmeans::squared_distance_sum"[T, W](
        const LaneKernels* lanes, Matrix[T] x, Matrix[double] centers, const int32_t* labels,
        const W* weights, int n_thread, int64_t* limbs)
    Status transform_ "harpy::kmeans::transform"[T](
        const LaneKernels* lanes, Matrix[T] x, Matrix[double] centers, int n_thread, T* out)
    Status exact_sum_ "harpy::kmeans::exact_sum"(
        const LaneKernels* lanes, const double* values, int64_t n_values, int n_thread,
        int64_t* limbs)

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

SUM_LIMBS = 3
SCALAR_LIMBS = 68
_ISA_NAMES = ("avx512", "avx2", "neon", "scalar")


cdef const LaneKernels* _lanes() except NULL:
    cdef const char* chosen = getenv("HARPY_ISA")  # os.environ takes 1 us of each call
    if chosen is NULL or chosen[0] == 0:
        return best_lane_kernels()
    cdef const LaneKernels* lanes = find_lane_kernels(chosen)
    if lanes is NULL:
        raise ConfigError(
            f"HARPY_ISA={os.fsdecode(chosen)}: this processor has {', '.join(instruction_sets())}; "
            "unset HARPY_ISA to use the best of them"
        )
    return lanes


def instruction_sets():
    return tuple(name for name in _ISA_NAMES if find_lane_kernels(name.encode()) is not NULL)


def instruction_set():
    return lane_kernels_name(_lanes()).decode()


cdef int _check(Status status, str what) except -1:
    if status == Status.out_of_memory:
        raise MemoryError(f"not enough memory for {what}")
    if status == Status.too_large:
        raise OverflowError(f"too many clusters times columns for {what}")
    return 0


cdef int _threads(object n_thread) except -1:
    cdef int n = n_thread
    if n < 1:
        raise ValueError(f"n_thread must be at least 1, got {n_thread}")
    return n


cdef int _equal(str what, Py_ssize_t expected, Py_ssize_t got) except -1:
    if expected != got:
        raise ValueError(f"{what} must be {expected}, got {got}")
    return 0


cdef int _labels_in_range(const int32_t[::1] labels, Py_ssize_t n_clusters) except -1:
    if labels.shape[0] == 0:
        return 0
    values = np.asarray(labels)
    low, high = values.min(), values.max()
    if low < 0 or high >= n_clusters:
        raise ValueError(f"labels must lie in [0, {n_clusters}), got [{low}, {high}]")
    return 0


cdef inline Matrix[floating] _matrix(const floating[:, ::1] array) noexcept nogil:
    cdef Matrix[floating] matrix
    matrix.data = &array[0, 0]
    matrix.n_rows = array.shape[0]
    matrix.n_columns = array.shape[1]
    return matrix


cdef const double[:, ::1] _as_float64(object centers):
    # Not NumPy's cast: it would flush subnormals where the caller's environment does.
    centers = np.ascontiguousarray(centers)
    cdef const float[:, ::1] narrow
    cdef double[:, ::1] wide
    if centers.dtype != np.float32:
        return centers
    narrow = centers
    wide = np.empty(centers.shape)
    widen_(&narrow[0, 0], narrow.shape[0] * narrow.shape[1], &wide[0, 0])
    return wide


def column_exponents(const double[::1] absmax not None):
    exponents = np.zeros(absmax.shape[0], dtype=np.int32)
    cdef int32_t[::1] exponents_view = exponents
    column_exponents_(&absmax[0], absmax.shape[0], &exponents_view[0])
    return exponents


def column_ranges(const floating[:, ::1] X not None, n_thread=1):
    cdef int threads = _threads(n_thread)
    absmax = np.zeros(X.shape[1])
    cdef double[::1] absmax_view = absmax
    cdef int64_t first_bad = -1
    cdef const LaneKernels* lanes = _lanes()
    cdef Status status
    if X.shape[1] == 0:
        return absmax, None
    with nogil:
        status = column_ranges_(lanes, _matrix(X), threads, &absmax_view[0], &first_bad)
    _check(status, "column_ranges")
    return absmax, None if first_bad < 0 else divmod(first_bad, X.shape[1])


def weighted_ranges(const floating[:, ::1] X not None, const floating[::1] weights not None,
                    n_thread=1):
    cdef int threads = _threads(n_thread)
    _equal("number of weights", X.shape[0], weights.shape[0])
    absmax = np.zeros(X.shape[1] + 1)
    cdef double[::1] absmax_view = absmax
    cdef Status status
    with nogil:
        status = weighted_ranges_(_matrix(X), &weights[0], threads, &absmax_view[0])
    _check(status, "weighted_ranges")
    return absmax


def assign(const floating[:, ::1] X not None, const floating[:, ::1] centers not None,
           const floating[::1] offset not None, int32_t[::1] labels not None, n_thread=1):
    return _assign(X, centers, offset, labels, n_thread, NULL, NULL)


def assign_unseen(const floating[:, ::1] X not None, const floating[:, ::1] centers not None,
                  const floating[::1] offset not None, int32_t[::1] labels not None, n_thread=1):
    absmax = np.zeros(X.shape[1])
    cdef double[::1] absmax_view = absmax
    cdef int64_t first_bad = -1
    _assign(X, centers, offset, labels, n_thread, &absmax_view[0], &first_bad)
    return absmax, None if first_bad < 0 else divmod(first_bad, X.shape[1])


cdef int64_t _assign(const floating[:, ::1] X, const floating[:, ::1] centers,
                     const floating[::1] offset, int32_t[::1] labels, object n_thread,
                     double* absmax, int64_t* first_bad) except -1:
    cdef int threads = _threads(n_thread), bound_bytes = _bound_bytes()
    _check_assign_shapes(X.shape[0], X.shape[1], centers.shape[0], centers.shape[1],
                         offset.shape[0], labels.shape[0])
    cdef const LaneKernels* lanes = _lanes()
    cdef int64_t n_changed = 0
    cdef Status status
    with nogil:
        status = assign_(lanes, _matrix(X), _matrix(centers), &offset[0], threads,
                         bound_bytes, &labels[0], &n_changed, absmax, first_bad)
    _check(status, "assign")
    return n_changed


def screen(const floating[:, ::1] X not None, const floating[:, ::1] centers not None,
           const floating[::1] offset not None):
    dtype = np.asarray(X).dtype
    nearest = np.empty(X.shape[0], dtype=np.int32)
    most, least = np.empty(X.shape[0], dtype=dtype), np.empty(X.shape[0], dtype=dtype)
    cdef int32_t[::1] nearest_view = nearest
    cdef floating[::1] most_view = most, least_view = least
    _check_assign_shapes(X.shape[0], X.shape[1], centers.shape[0], centers.shape[1],
                         offset.shape[0], nearest_view.shape[0])
    cdef const LaneKernels* lanes = _lanes()
    cdef Status status
    with nogil:
        status = screen_(lanes, _matrix(X), _matrix(centers), &offset[0], &nearest_view[0],
                         &most_view[0], &least_view[0])
    _check(status, "screen")
    return nearest, most, least


cdef int _bound_bytes() except -1:
    cdef const char* given = getenv("HARPY_BOUNDS")
    chosen = "20" if given is NULL else os.fsdecode(given)
    if chosen == "off":
        return 0
    if not chosen.isdecimal():
        raise ConfigError(
            f"HARPY_BOUNDS={chosen}: expected off, or the bytes a row that k-means may use for "
            "bounds (default 20)"
        )
    return min(int(chosen), 1 << 20)


cdef class Lloyd:
    cdef readonly object labels
    cdef object _X, _weights
    cdef int64_t _n_clusters, _n_sums
    cdef int _n_thread
    cdef Lloyd_[float]* _single
    cdef Lloyd_[double]* _dual

    def __cinit__(self, X not None, n_clusters, const int32_t[::1] exponents not None,
                  n_thread=1, weights=None):
        cdef const float[:, ::1] single
        cdef const double[:, ::1] dual
        cdef const float[::1] single_weights = None
        cdef const double[::1] dual_weights = None
        cdef const float* single_pointer = NULL
        cdef const double* dual_pointer = NULL
        cdef int threads = _threads(n_thread), bound_bytes = _bound_bytes()
        cdef const LaneKernels* lanes = _lanes()
        self._X, self._weights = X, weights
        self._n_clusters, self._n_thread = n_clusters, threads
        if self._n_clusters < 1 or X.shape[1] < 1:
            raise ValueError(
                f"need at least one cluster and one column, got {n_clusters}, {X.shape[1]}")
        if weights is not None:
            _equal("number of weights", X.shape[0], len(weights))
        self._n_sums = X.shape[1] + (weights is not None)
        _equal("number of exponents", self._n_sums, exponents.shape[0])
        if X.dtype == np.float32:
            single, single_weights = X, weights
            if weights is not None:
                single_pointer = &single_weights[0]
            self._single = new Lloyd_[float]()
            status = self._single.start(lanes, _matrix(single), single_pointer, self._n_clusters,
                                        &exponents[0], threads, bound_bytes)
        else:
            dual, dual_weights = X, weights
            if weights is not None:
                dual_pointer = &dual_weights[0]
            self._dual = new Lloyd_[double]()
            status = self._dual.start(lanes, _matrix(dual), dual_pointer, self._n_clusters,
                                      &exponents[0], threads, bound_bytes)
        _check(status, "the state of Lloyd's iteration")
        self.labels = np.full(X.shape[0], -1, dtype=np.int32)

    def __dealloc__(self):
        del self._single
        del self._dual

    def step(self, centers not None):
        self._check_centers(centers)
        cdef Py_ssize_t k = self._n_clusters, n_limbs = k * self._n_sums * SUM_LIMBS
        message = np.empty(1 + k + n_limbs, dtype=np.int64)
        cdef int64_t[::1] out = message
        self._assign(centers, &out[0], &out[1], &out[1 + k])
        return message

    def label(self, centers not None):
        self._check_centers(centers)
        cdef int64_t n_changed = 0
        self._assign(centers, &n_changed, NULL, NULL)
        return n_changed

    cdef int _check_centers(self, centers) except -1:
        _equal("number of centers", self._n_clusters, centers.shape[0])
        _equal("number of columns of centers", self._X.shape[1], centers.shape[1])
        if centers.dtype != self._X.dtype:
            raise ValueError(f"centers must be {self._X.dtype}, got {centers.dtype}")
        return 0

    cdef int _assign(self, object centers, int64_t* n_changed, int64_t* counts,
                     int64_t* limbs) except -1:
        if self._X.shape[0] == 0:
            n_changed[0] = 0
            if counts != NULL:
                memset(counts, 0, self._n_clusters * sizeof(int64_t))
                memset(limbs, 0, self._n_clusters * self._n_sums * SUM_LIMBS * sizeof(int64_t))
            return 0
        cdef int32_t[::1] labels = self.labels
        cdef const float[:, ::1] single
        cdef const double[:, ::1] dual
        cdef const float[::1] single_offset
        cdef const double[::1] dual_offset
        cdef Status status
        offset = center_offset(centers, self._n_thread)
        if self._single != NULL:
            single, single_offset = centers, offset
            with nogil:
                if limbs != NULL:
                    status = self._single.step(&single[0, 0], &single_offset[0], &labels[0],
                                               n_changed, limbs, counts)
                else:
                    status = self._single.label(&single[0, 0], &single_offset[0], &labels[0],
                                                n_changed)
        else:
            dual, dual_offset = centers, offset
            with nogil:
                if limbs != NULL:
                    status = self._dual.step(&dual[0, 0], &dual_offset[0], &labels[0], n_changed,
                                             limbs, counts)
                else:
                    status = self._dual.label(&dual[0, 0], &dual_offset[0], &labels[0], n_changed)
        return _check(status, "Lloyd's iteration")


cdef int _check_assign_shapes(Py_ssize_t n_rows, Py_ssize_t n_columns, Py_ssize_t n_clusters,
                              Py_ssize_t center_columns, Py_ssize_t n_offset,
                              Py_ssize_t n_labels) except -1:
    if n_clusters < 1 or n_columns < 1:
        raise ValueError(f"need at least one center and one column, got {n_clusters}, {n_columns}")
    _equal("number of columns of centers", n_columns, center_columns)
    _equal("length of offset", n_columns, n_offset)
    return _equal("number of labels", n_rows, n_labels)


def accumulate(const floating[:, ::1] X not None, const int32_t[::1] labels, n_clusters,
               const int32_t[::1] exponents not None, n_thread=1,
               const floating[::1] weights=None):
    cdef int threads = _threads(n_thread)
    cdef int64_t k = n_clusters
    cdef Py_ssize_t n_sums = X.shape[1]
    cdef const int32_t* labels_pointer = NULL
    cdef const floating* weights_pointer = NULL
    if k < 1:
        raise ValueError(f"n_clusters must be at least 1, got {k}")
    if labels is not None:
        _equal("number of labels", X.shape[0], labels.shape[0])
        _labels_in_range(labels, k)
        labels_pointer = &labels[0]
    if weights is not None:
        _equal("number of weights", X.shape[0], weights.shape[0])
        weights_pointer = &weights[0]
        n_sums += 1
    _equal("number of exponents", n_sums, exponents.shape[0])
    cdef const LaneKernels* lanes = _lanes()
    limbs = np.zeros((k, n_sums, SUM_LIMBS), dtype=np.int64)
    counts = np.zeros(k, dtype=np.int64)
    cdef int64_t[:, :, ::1] limbs_view = limbs
    cdef int64_t[::1] counts_view = counts
    cdef Status status
    with nogil:
        status = accumulate_(lanes, _matrix(X), weights_pointer, labels_pointer, k, &exponents[0],
                             threads, &limbs_view[0, 0, 0], &counts_view[0])
    _check(status, "accumulate")
    return limbs, counts


cdef int _check_sums(const int64_t[:, :, ::1] limbs, Py_ssize_t n_weights,
                     const int32_t[::1] exponents) except -1:
    _equal("number of weights", limbs.shape[0], n_weights)
    _equal("number of exponents", limbs.shape[1], exponents.shape[0])
    _equal("number of limbs", SUM_LIMBS, limbs.shape[2])
    if limbs.shape[0] == 0:
        raise ValueError("need at least one cluster, got 0")
    return 0


def centers_from_sums(const int64_t[:, :, ::1] limbs not None, weights not None,
                      const int32_t[::1] exponents not None, dtype, n_thread=1):
    cdef int threads = _threads(n_thread)
    cdef const double[::1] divisors = np.ascontiguousarray(weights, dtype=np.float64)
    _check_sums(limbs, divisors.shape[0], exponents)
    centers = np.empty((limbs.shape[0], limbs.shape[1]), dtype=dtype)
    if centers.dtype == np.float32:
        _fill_centers[float](limbs, divisors, exponents, threads, centers)
    else:
        _fill_centers[double](limbs, divisors, exponents, threads, centers)
    return centers


cdef int _fill_centers(const int64_t[:, :, ::1] limbs, const double[::1] weights,
                       const int32_t[::1] exponents, int threads,
                       floating[:, ::1] centers) except -1:
    cdef Status status
    with nogil:
        status = centers_from_sums_(&limbs[0, 0, 0], &weights[0], &exponents[0], limbs.shape[0],
                                    limbs.shape[1], threads, &centers[0, 0])
    return _check(status, "centers_from_sums")


def column_means(const int64_t[:, :, ::1] limbs not None, const int64_t[::1] counts not None,
                 const int32_t[::1] exponents not None):
    _check_sums(limbs, counts.shape[0], exponents)
    means = np.empty(limbs.shape[1])
    cdef double[::1] means_view = means
    cdef Status status
    with nogil:
        status = column_means_(&limbs[0, 0, 0], &counts[0], &exponents[0], limbs.shape[0],
                               limbs.shape[1], &means_view[0])
    _check(status, "column_means")
    return means


def center_offset(const floating[:, ::1] centers not None, n_thread=1):
    cdef int threads = _threads(n_thread)
    if centers.shape[0] == 0:
        raise ValueError("need at least one center, got 0")
    cdef floating[::1] offset = np.zeros(centers.shape[1], dtype=np.asarray(centers).dtype)
    cdef const LaneKernels* lanes = _lanes()
    cdef Status status
    with nogil:
        status = center_offset_(lanes, _matrix(centers), threads, &offset[0])
    _check(status, "center_offset")
    return np.asarray(offset)


def center_shift(const floating[:, ::1] before not None, const floating[:, ::1] after not None):
    _equal("number of centers", before.shape[0], after.shape[0])
    _equal("number of columns", before.shape[1], after.shape[1])
    return center_shift_(_matrix(before), _matrix(after))


cdef int _check_labels(const int32_t[::1] labels, Py_ssize_t n_rows,
                       Py_ssize_t n_centers) except -1:
    if labels is None:
        return _equal("number of centers without labels", 1, n_centers)
    _equal("number of labels", n_rows, labels.shape[0])
    return _labels_in_range(labels, n_centers)


def squared_distances(const floating[:, ::1] X not None, centers, const int32_t[::1] labels,
                      n_thread=1):
    cdef int threads = _threads(n_thread)
    cdef const double[:, ::1] centers_view = _as_float64(centers)
    _equal("number of columns of centers", X.shape[1], centers_view.shape[1])
    _check_labels(labels, X.shape[0], centers_view.shape[0])
    cdef const int32_t* labels_pointer = NULL
    if labels is not None:
        labels_pointer = &labels[0]
    cdef const LaneKernels* lanes = _lanes()
    out = np.empty(X.shape[0])
    cdef double[::1] out_view = out
    cdef Status status
    with nogil:
        status = squared_distances_(lanes, _matrix(X), _matrix(centers_view), labels_pointer,
                                    threads, &out_view[0])
    _check(status, "squared_distances")
    return out


ctypedef fused real:  # of weights, whatever X is
    float
    double


cdef object _squared_distance_sum(const floating[:, ::1] X, const double[:, ::1] centers,
                                  const int32_t[::1] labels, const real[::1] weights,
                                  int threads):
    cdef const int32_t* labels_pointer = NULL
    if labels is not None:
        labels_pointer = &labels[0]
    cdef const real* weights_pointer = NULL
    if weights is not None:
        weights_pointer = &weights[0]
    cdef const LaneKernels* lanes = _lanes()
    limbs = np.zeros(SCALAR_LIMBS, dtype=np.int64)
    cdef int64_t[::1] limbs_view = limbs
    cdef Status status
    with nogil:
        status = squared_distance_sum_(lanes, _matrix(X), _matrix(centers), labels_pointer,
                                       weights_pointer, threads, &limbs_view[0])
    _check(status, "squared_distance_sum")
    return limbs


def squared_distance_sum(const floating[:, ::1] X not None, centers, const int32_t[::1] labels,
                         weights=None, n_thread=1):
    cdef int threads = _threads(n_thread)
    cdef const double[:, ::1] centers_view = _as_float64(centers)
    _equal("number of columns of centers", X.shape[1], centers_view.shape[1])
    _check_labels(labels, X.shape[0], centers_view.shape[0])
    if weights is not None:
        _equal("number of weights", X.shape[0], len(weights))
        if weights.dtype == np.float32:
            return _squared_distance_sum[floating, float](X, centers_view, labels, weights,
                                                          threads)
    return _squared_distance_sum[floating, double](X, centers_view, labels, weights, threads)


def transform(const floating[:, ::1] X not None, centers, n_thread=1):
    cdef int threads = _threads(n_thread)
    cdef const double[:, ::1] centers_view = _as_float64(centers)
    _equal("number of columns of centers", X.shape[1], centers_view.shape[1])
    cdef const LaneKernels* lanes = _lanes()
    cdef floating[:, ::1] out = np.empty((X.shape[0], centers_view.shape[0]),
                                         dtype=np.asarray(X).dtype)
    cdef Status status
    with nogil:
        status = transform_(lanes, _matrix(X), _matrix(centers_view), threads, &out[0, 0])
    _check(status, "transform")
    return np.asarray(out)


def exact_sum(const double[::1] values not None, n_thread=1):
    cdef int threads = _threads(n_thread)
    cdef const LaneKernels* lanes = _lanes()
    limbs = np.zeros(SCALAR_LIMBS, dtype=np.int64)
    cdef int64_t[::1] limbs_view = limbs
    cdef Status status
    with nogil:
        status = exact_sum_(lanes, &values[0], values.shape[0], threads, &limbs_view[0])
    _check(status, "exact_sum")
    return limbs


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


include "_sparse.pxi"
