# A run of Lloyd's iteration: part of _kmeans.pyx.

cdef extern from "kmeans.h" namespace "harpy::kmeans" nogil:
    cdef cppclass Lloyd_ "harpy::kmeans::Lloyd"[T]:
        Status start(const LaneKernels* lanes, Matrix[T] x, const T* weights, int64_t n_clusters,
                     const int32_t* exponents, int n_thread, int bound_bytes)
        Status step(const T* centers, int32_t* labels, int64_t* n_changed, int64_t* limbs,
                    int64_t* counts)
        Status label(const T* centers, int32_t* labels, int64_t* n_changed)


cdef class Lloyd:
    cdef readonly object labels
    cdef object _X, _weights, _message
    cdef int32_t[::1] _labels
    cdef int64_t[::1] _out
    cdef int64_t _n_clusters, _n_columns, _n_sums
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
        self._n_clusters, self._n_columns = n_clusters, X.shape[1]
        if self._n_clusters < 1 or self._n_columns < 1:
            raise ValueError(
                f"need at least one cluster and one column, got {n_clusters}, {self._n_columns}")
        if weights is not None:
            _equal("number of weights", X.shape[0], len(weights))
        self._n_sums = self._n_columns + (weights is not None)
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
        self.labels = self._labels = np.full(X.shape[0], -1, dtype=np.int32)
        n_limbs = self._n_clusters * self._n_sums * SUM_LIMBS
        self._message = self._out = np.zeros(1 + self._n_clusters + n_limbs, dtype=np.int64)

    def __dealloc__(self):
        del self._single
        del self._dual

    def step(self, centers not None):
        cdef int64_t* out = &self._out[0]
        self._assign(centers, out, out + 1, out + 1 + self._n_clusters)
        return self._message

    def label(self, centers not None):
        cdef int64_t n_changed = 0
        self._assign(centers, &n_changed, NULL, NULL)
        return n_changed

    cdef int _assign(self, object centers, int64_t* n_changed, int64_t* counts,
                     int64_t* limbs) except -1:
        if centers.dtype != self._X.dtype:
            raise ValueError(f"centers must be {self._X.dtype}, got {centers.dtype}")
        if self._single != NULL:
            return self._assign_as[float](self._single, centers, n_changed, counts, limbs)
        return self._assign_as[double](self._dual, centers, n_changed, counts, limbs)

    cdef int _assign_as(self, Lloyd_[floating]* state, const floating[:, ::1] centers,
                        int64_t* n_changed, int64_t* counts, int64_t* limbs) except -1:
        _equal("number of centers", self._n_clusters, centers.shape[0])
        _equal("number of columns of centers", self._n_columns, centers.shape[1])
        cdef int32_t* labels = NULL
        cdef Status status
        if self._labels.shape[0] > 0:
            labels = &self._labels[0]
        with nogil:
            if limbs != NULL:
                status = state.step(&centers[0, 0], labels, n_changed, limbs, counts)
            else:
                status = state.label(&centers[0, 0], labels, n_changed)
        return _check(status, "Lloyd's iteration")
