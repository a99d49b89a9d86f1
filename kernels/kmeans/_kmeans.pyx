# distutils: language = c++
# Checks shapes, picks the instruction set and calls the C++ kernels without the GIL.
# Names, shapes and meanings are documented in _kmeans.pyi and in kmeans.h.

import os

import numpy as np

from cython cimport floating
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport getenv

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
    Status prefilter_ "harpy::kmeans::prefilter"[T](
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


include "_assign.pxi"
include "_sums.pxi"
include "_distances.pxi"
include "_lloyd.pxi"
include "_potentials.pxi"
include "_sparse.pxi"
