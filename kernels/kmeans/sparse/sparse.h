// K-means of rows in compressed sparse row form with dense centers: the face of sparse_*.cpp.
// Pointers to const are IN, others OUT unless INOUT is said.
// Columns a row does not store are zeros, and cost nothing: the offset of all scores is 0.
#pragma once

#include <cstdint>

#include "kmeans.h"

namespace harpy::kmeans {

// Compressed sparse rows that somebody else owns.
template <class T>
struct CsrMatrix {
    const T* values;              // (starts[n_rows])
    const std::int32_t* columns;  // of the values, ascending within a row, each once
    const std::int64_t* starts;   // (n_rows + 1) where each row begins
    std::int64_t n_rows, n_columns;
};

enum class CsrFault : int { none = 0, starts = 1, column = 2, order = 3 };

// What keeps columns and starts from being a CsrMatrix, and in which row.
CsrFault find_csr_fault(const std::int32_t* columns, std::int64_t n_values,
                        const std::int64_t* starts, std::int64_t n_rows, std::int64_t n_columns,
                        std::int64_t* row) noexcept;

// As column_ranges; first_bad is a position among the values.
template <class T>
Status sparse_column_ranges(CsrMatrix<T> x, int n_thread, double* absmax,
                            std::int64_t* first_bad) noexcept;

// Nearest centers. labels and scores (may be nullptr), INOUT, hold those of the last call and are
// overwritten. `moved` (n_clusters) says which centers differ from those of the last call; nullptr
// means that there was none.
template <class T>
Status sparse_assign(const LaneKernels* lanes, CsrMatrix<T> x, Matrix<T> centers,
                     const std::uint8_t* moved, int n_thread, std::int32_t* labels, T* scores,
                     std::int64_t* n_changed) noexcept;

// Takes each row out of the exact sums and counts of cluster from[row], where that is not -1, and
// adds it to to[row]. INOUT: counts, limbs (n_clusters, n_columns, kSumLimbs).
template <class T>
Status sparse_move(CsrMatrix<T> x, const std::int32_t* from, const std::int32_t* to,
                   const std::int32_t* exponents, std::int64_t n_clusters, int n_thread,
                   std::int64_t* limbs, std::int64_t* counts) noexcept;

// As squared_distances, closest_distances and transform.
template <class T>
Status sparse_squared_distances(const LaneKernels* lanes, CsrMatrix<T> x, Matrix<double> centers,
                                const std::int32_t* labels, int n_thread, double* out) noexcept;
template <class T>
Status sparse_closest_distances(const LaneKernels* lanes, CsrMatrix<T> x, Matrix<double> candidates,
                                const double* closest, int n_thread, double* out) noexcept;
template <class T>
Status sparse_transform(const LaneKernels* lanes, CsrMatrix<T> x, Matrix<double> centers,
                        int n_thread, T* out) noexcept;

}  // namespace harpy::kmeans
