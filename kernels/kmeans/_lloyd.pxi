# A run of Lloyd's iteration: part of _kmeans.pyx.

cdef extern from "kmeans.h" namespace "harpy::kmeans" nogil:
    cdef cppclass Lloyd_ "harpy::kmeans::Lloyd"[T]:
        Status start(const LaneKernels* lanes, Matrix[T] x, const T* weights, int64_t n_clusters,
                     const int32_t* exponents, int n_thread, int bound_bytes)
        Status step(const T* centers, const T* offset, int32_t* labels, int64_t* n_changed,
                    int64_t* limbs, int64_t* counts)
        Status label(const T* centers, const T* offset, int32_t* labels, int64_t* n_changed)


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
