# The kernels of sparse.h: part of _kmeans.pyx. A pattern (where the values are) is checked once;
# sparse.py puts values and pattern together.

from libc.stdint cimport uint8_t
from libc.string cimport memcmp

cdef extern from "sparse/sparse.h" namespace "harpy::kmeans" nogil:
    cdef cppclass CsrMatrix[T]:
        const T* values
        const int32_t* columns
        const int64_t* starts
        int64_t n_rows
        int64_t n_columns

    cdef enum class CsrFault(int):
        none
        starts
        column
        order

    CsrFault find_csr_fault(
        const int32_t* columns, int64_t n_values, const int64_t* starts, int64_t n_rows,
        int64_t n_columns, int64_t* row)
    Status sparse_column_ranges_ "harpy::kmeans::sparse_column_ranges"[T](
        CsrMatrix[T] x, int n_thread, double* absmax, int64_t* first_bad)
    Status sparse_assign_ "harpy::kmeans::sparse_assign"[T](
        const LaneKernels* lanes, CsrMatrix[T] x, Matrix[T] centers, const uint8_t* moved,
        int n_thread, int32_t* labels, T* scores, int64_t* n_changed)
    Status sparse_move_ "harpy::kmeans::sparse_move"[T](
        CsrMatrix[T] x, const int32_t* before, const int32_t* after, const int32_t* exponents,
        int64_t n_clusters, int n_thread, int64_t* limbs, int64_t* counts)
    Status sparse_squared_distances_ "harpy::kmeans::sparse_squared_distances"[T](
        const LaneKernels* lanes, CsrMatrix[T] x, Matrix[double] centers, const int32_t* labels,
        int n_thread, double* out)
    Status sparse_closest_distances_ "harpy::kmeans::sparse_closest_distances"[T](
        const LaneKernels* lanes, CsrMatrix[T] x, Matrix[double] candidates,
        const double* closest, int n_thread, double* out)
    Status sparse_transform_ "harpy::kmeans::sparse_transform"[T](
        const LaneKernels* lanes, CsrMatrix[T] x, Matrix[double] centers, int n_thread, T* out)


cdef class CsrPattern:
    cdef readonly tuple shape
    cdef readonly Py_ssize_t n_values
    cdef const int32_t[::1] _columns
    cdef const int64_t[::1] _starts

    def __init__(self, const int32_t[::1] indices not None, const int64_t[::1] indptr not None,
                 int64_t n_columns):
        if indptr.shape[0] == 0 or n_columns < 1:
            raise ValueError(
                f"need indptr of at least one value and at least one column, got "
                f"{indptr.shape[0]}, {n_columns}"
            )
        cdef int64_t row = 0
        cdef CsrFault fault
        with nogil:
            fault = find_csr_fault(&indices[0], indices.shape[0], &indptr[0], indptr.shape[0] - 1,
                                   n_columns, &row)
        if fault == CsrFault.starts:
            raise ValueError(
                f"indptr must rise from 0 to the number of values, {indices.shape[0]}; it does "
                f"not at row {row}"
            )
        if fault == CsrFault.column:
            raise ValueError(f"row {row} has a column outside [0, {n_columns})")
        if fault == CsrFault.order:
            raise ValueError(f"the columns of row {row} are not strictly ascending")
        self._columns, self._starts = indices, indptr
        self.shape = (indptr.shape[0] - 1, n_columns)
        self.n_values = indices.shape[0]


cdef CsrMatrix[floating] _csr(const floating[::1] values, CsrPattern pattern) except *:
    cdef CsrMatrix[floating] matrix
    _equal("number of values", pattern.n_values, values.shape[0])
    matrix.values = &values[0]
    matrix.columns = &pattern._columns[0]
    matrix.starts = &pattern._starts[0]
    matrix.n_rows, matrix.n_columns = pattern.shape
    return matrix


def sparse_column_ranges(const floating[::1] values not None, CsrPattern pattern not None,
                         n_thread=1):
    cdef int threads = _threads(n_thread)
    cdef CsrMatrix[floating] X = _csr(values, pattern)
    absmax = np.zeros(X.n_columns)
    cdef double[::1] absmax_view = absmax
    cdef int64_t first_bad = -1
    cdef Status status
    with nogil:
        status = sparse_column_ranges_(X, threads, &absmax_view[0], &first_bad)
    _check(status, "column_ranges")
    if first_bad < 0:
        return absmax, None
    row = int(np.searchsorted(pattern._starts, first_bad, side="right")) - 1
    return absmax, (row, pattern._columns[first_bad])


def sparse_assign(const floating[::1] values not None, CsrPattern pattern not None,
                  const floating[:, ::1] centers not None, int32_t[::1] labels not None,
                  floating[::1] scores, const uint8_t[::1] moved, n_thread=1):
    cdef int threads = _threads(n_thread)
    cdef CsrMatrix[floating] X = _csr(values, pattern)
    _check_assign_shapes(X.n_rows, X.n_columns, centers.shape[0], centers.shape[1], X.n_columns,
                         labels.shape[0])
    cdef floating* scores_pointer = NULL
    cdef const uint8_t* moved_pointer = NULL
    if scores is not None:
        _equal("number of scores", X.n_rows, scores.shape[0])
        scores_pointer = &scores[0]
    if moved is not None:
        if scores is None:
            raise ValueError("moved says nothing without the scores of the last call")
        _equal("length of moved", centers.shape[0], moved.shape[0])
        _labels_in_range(labels, centers.shape[0])
        moved_pointer = &moved[0]
    cdef const LaneKernels* lanes = _lanes()
    cdef int64_t n_changed = 0
    cdef Status status
    with nogil:
        status = sparse_assign_(lanes, X, _matrix(centers), moved_pointer, threads, &labels[0],
                                scores_pointer, &n_changed)
    _check(status, "assign")
    return n_changed


def moved_rows(const floating[:, ::1] before not None, const floating[:, ::1] after not None):
    _equal("number of rows", before.shape[0], after.shape[0])
    _equal("number of columns", before.shape[1], after.shape[1])
    cdef uint8_t[::1] moved = np.zeros(before.shape[0], dtype=np.uint8)
    cdef Py_ssize_t c
    for c in range(before.shape[0]):
        moved[c] = memcmp(&before[c, 0], &after[c, 0], before.shape[1] * sizeof(floating)) != 0
    return np.asarray(moved)


def sparse_move(const floating[::1] values not None, CsrPattern pattern not None,
                const int32_t[::1] before not None, const int32_t[::1] after not None,
                const int32_t[::1] exponents not None, int64_t[:, :, ::1] limbs not None,
                int64_t[::1] counts not None, n_thread=1):
    cdef int threads = _threads(n_thread)
    cdef CsrMatrix[floating] X = _csr(values, pattern)
    _equal("number of labels", X.n_rows, before.shape[0])
    _equal("number of labels", X.n_rows, after.shape[0])
    _equal("number of columns of limbs", X.n_columns, limbs.shape[1])
    _equal("number of limbs", SUM_LIMBS, limbs.shape[2])
    _equal("number of counts", limbs.shape[0], counts.shape[0])
    _equal("number of exponents", X.n_columns, exponents.shape[0])
    _labels_in_range(after, limbs.shape[0])
    if X.n_rows > 0 and not (-1 <= np.min(before) and np.max(before) < limbs.shape[0]):
        raise ValueError(f"labels before must lie in [-1, {limbs.shape[0]})")
    cdef Status status
    with nogil:
        status = sparse_move_(X, &before[0], &after[0], &exponents[0], limbs.shape[0],
                              threads, &limbs[0, 0, 0], &counts[0])
    _check(status, "move")


def sparse_squared_distances(const floating[::1] values not None, CsrPattern pattern not None,
                             centers, const int32_t[::1] labels, n_thread=1):
    cdef int threads = _threads(n_thread)
    cdef CsrMatrix[floating] X = _csr(values, pattern)
    cdef const double[:, ::1] centers_view = _as_float64(centers)
    cdef const int32_t* labels_pointer = NULL
    _equal("number of columns of centers", X.n_columns, centers_view.shape[1])
    if labels is not None:
        _equal("number of labels", X.n_rows, labels.shape[0])
        _labels_in_range(labels, centers_view.shape[0])
        labels_pointer = &labels[0]
    else:
        _equal("number of centers without labels", 1, centers_view.shape[0])
    cdef const LaneKernels* lanes = _lanes()
    out = np.empty(X.n_rows)
    cdef double[::1] out_view = out
    cdef Status status
    with nogil:
        status = sparse_squared_distances_(lanes, X, _matrix(centers_view), labels_pointer,
                                           threads, &out_view[0])
    _check(status, "squared_distances")
    return out


def sparse_closest_distances(const floating[::1] values not None, CsrPattern pattern not None,
                             candidates, const double[::1] closest, n_thread=1):
    cdef int threads = _threads(n_thread)
    cdef CsrMatrix[floating] X = _csr(values, pattern)
    cdef const double[:, ::1] candidates_view = _as_float64(candidates)
    cdef const double* closest_pointer = NULL
    _check_candidates(X.n_columns, candidates_view)
    if closest is not None:
        _equal("number of closest distances", X.n_rows, closest.shape[0])
        closest_pointer = &closest[0]
    cdef const LaneKernels* lanes = _lanes()
    out = np.empty((candidates_view.shape[0], X.n_rows))
    cdef double[:, ::1] out_view = out
    cdef Status status
    with nogil:
        status = sparse_closest_distances_(lanes, X, _matrix(candidates_view), closest_pointer,
                                           threads, &out_view[0, 0])
    _check(status, "closest_distances")
    return out


def sparse_transform(const floating[::1] values not None, CsrPattern pattern not None, centers,
                     n_thread=1):
    cdef int threads = _threads(n_thread)
    cdef CsrMatrix[floating] X = _csr(values, pattern)
    cdef const double[:, ::1] centers_view = _as_float64(centers)
    _check_candidates(X.n_columns, centers_view)
    cdef const LaneKernels* lanes = _lanes()
    cdef floating[:, ::1] out = np.empty((X.n_rows, centers_view.shape[0]),
                                         dtype=np.asarray(values).dtype)
    cdef Status status
    with nogil:
        status = sparse_transform_(lanes, X, _matrix(centers_view), threads, &out[0, 0])
    _check(status, "transform")
    return np.asarray(out)


cdef int _check_candidates(Py_ssize_t n_columns, const double[:, ::1] centers) except -1:
    if centers.shape[0] == 0:
        raise ValueError("need at least one center, got 0")
    return _equal("number of columns of centers", n_columns, centers.shape[1])
