# distutils: language = c++
# Checks shapes, picks the instruction set and calls the C++ kernels without the GIL.
# Names, shapes and meanings are documented in _kmeans.pyi and in kmeans.h.

import os

import numpy as np

from cython cimport floating
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport getenv

from harpy.errors import ConfigError

cdef extern from "threads/threads.h" namespace "harpy::kmeans" nogil:
    bint calls_are_close_ "harpy::kmeans::calls_are_close"()


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
    Status accumulate_ "harpy::kmeans::accumulate"[T](
        const LaneKernels* lanes, Matrix[T] x, const T* weights, const int32_t* labels,
        int64_t n_clusters, const int32_t* exponents, int n_thread, int64_t* limbs,
        int64_t* counts)
    Status centers_from_sums_ "harpy::kmeans::centers_from_sums"[T](
        const int64_t* limbs, const double* weights, const int32_t* exponents,
        int64_t n_clusters, int64_t n_columns, int64_t n_sums, int n_thread, T* centers)
    Status next_centers_ "harpy::kmeans::next_centers"[T](
        const int64_t* counts, const int64_t* limbs, const int32_t* exponents, int64_t n_sums,
        Matrix[T] before, int n_thread, T* after, double* shift, int64_t* n_empty)
    Status column_means_ "harpy::kmeans::column_means"(
        const int64_t* limbs, const int64_t* counts, const int32_t* exponents,
        int64_t n_clusters, int64_t n_columns, double* means)
    Status screen_ "harpy::kmeans::screen"[T](
        const LaneKernels* lanes, Matrix[T] x, Matrix[T] centers, const T* offset,
        int32_t* nearest, T* most, T* least)
    Status center_offset_ "harpy::kmeans::center_offset"[T](
        const LaneKernels* lanes, Matrix[T] centers, int n_thread, T* offset)
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


def calls_are_close():
    return calls_are_close_()


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
    cdef int32_t low = labels[0], high = labels[0]
    for i in range(labels.shape[0]):
        low, high = min(low, labels[i]), max(high, labels[i])
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
                                    limbs.shape[1], limbs.shape[1], threads, &centers[0, 0])
    return _check(status, "centers_from_sums")


def next_centers(const int64_t[::1] message not None, centers not None,
                 const int32_t[::1] exponents not None, n_thread=1):
    if centers.dtype == np.float32:  # by hand: a choice of Cython's takes as long as all the rest
        return _next_centers[float](message, centers, exponents, _threads(n_thread))
    return _next_centers[double](message, centers, exponents, _threads(n_thread))


cdef object _next_centers(const int64_t[::1] message, const floating[:, ::1] centers,
                          const int32_t[::1] exponents, int threads):
    cdef Py_ssize_t k = centers.shape[0], d = centers.shape[1], n_sums = exponents.shape[0]
    if n_sums != d + 1:  # else the weights' is the last
        _equal("number of exponents", d, n_sums)
    _equal("length of the message", 1 + k + k * n_sums * SUM_LIMBS, message.shape[0])
    after = np.empty((k, d), np.float32 if floating is float else np.float64)
    cdef floating[:, ::1] after_view = after
    cdef double shift = 0.0
    cdef int64_t n_empty = 0
    cdef Status status
    with nogil:
        status = next_centers_(&message[1], &message[1 + k], &exponents[0], n_sums,
                               _matrix(centers), threads, &after_view[0, 0], &shift, &n_empty)
    _check(status, "next_centers")
    return after, shift, n_empty


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


include "_lloyd.pxi"
include "_potentials.pxi"
include "_sparse.pxi"
