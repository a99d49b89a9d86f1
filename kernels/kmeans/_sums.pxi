# Exact sums, and means from them: part of _kmeans.pyx.

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
