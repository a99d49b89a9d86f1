// The inner loops over compressed sparse rows, once per instruction set: part of RowKernels.
#pragma once

#include <cstdint>

#include "sparse/sparse.h"

namespace harpy::kmeans {

// Panels of one to so many vectors of centers: their scores stay in registers.
constexpr int kSparseWidths = 8;
constexpr int kSparseDistanceWidths = 4;

// Rows that search for their nearest centers, panel by panel.
template <class T>
struct SparseSearch {
    CsrMatrix<T> x;
    const std::int64_t* rows;  // (n_rows) which rows of x
    std::int64_t n_rows;
    T* best;              // INOUT (n_rows) lowest score so far, +inf at first
    std::int32_t* label;  // INOUT (n_rows) the lowest index of such a center, INT32_MAX at first
};

// One panel (n_columns, lanes); half_norms and indices (lanes) are +inf and INT32_MAX beyond the
// last center, indices ascend.
template <class T>
using SearchPanel = void (*)(const SparseSearch<T>&, const T* panel, const T* half_norms,
                             const std::int32_t* indices);

template <class T>
struct SparseKernels {
    int lanes;           // scores of one vector
    int distance_lanes;  // distances of one vector

    SearchPanel<T> search[kSparseWidths];  // by vectors of a panel, less 1

    // out[c] = squared norm of dense row c, one chain per row.
    void (*squared_norms)(const T* centers, std::int64_t n_rows, std::int64_t d, double* out);

    // out[i - begin] = squared distance of row i to centers[labels[i]]; nullptr means 0.
    void (*label_distances)(const CsrMatrix<T>& x, std::int64_t begin, std::int64_t end,
                            const double* centers, const double* squared_norms,
                            const std::int32_t* labels, double* out);

    // out (end - begin, stride) = squared distances to a panel (n_columns, lanes) of each width.
    void (*distances[kSparseDistanceWidths])(const CsrMatrix<T>& x, std::int64_t begin,
                                             std::int64_t end, const double* panel,
                                             const double* squared_norms, double* out,
                                             std::int64_t stride);
};

}  // namespace harpy::kmeans
