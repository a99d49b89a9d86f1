# Distances in float64: part of _kmeans.pyx.

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
