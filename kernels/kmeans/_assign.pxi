# Ranges of rows, the offset and nearest centers: part of _kmeans.pyx.

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
        status = prefilter_(lanes, _matrix(X), _matrix(centers), &offset[0], &nearest_view[0],
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
