// The inner loops over compressed sparse rows, compiled once per instruction set over the vectors
// of isa/. Everything is in an unnamed namespace and uses no library template, so that no
// code of one instruction set can be linked into another.
//
// Lanes run over centers: per value one broadcast, and one fused multiply-add for each vector of
// the panel. A column that is not stored would add 0 times something to a chain, which changes no
// bit.
#pragma once

#include <cstdint>

#include "isa/prefetch.h"
#include "sparse/sparse_kernels.h"

namespace harpy::kmeans {
namespace {

template <class S, int W>
void search_sparse(const SparseSearch<typename S::Scalar>& search, const typename S::Scalar* panel,
                   const typename S::Scalar* half_norms, const std::int32_t* indices) {
    using T = typename S::Scalar;
    constexpr int kPanel = W * S::kLanes;
    constexpr std::int64_t kAhead = 64;  // values: about a row of a text
    const T* const values = search.x.values;
    const std::int32_t* const columns = search.x.columns;
    const std::int64_t n_values = search.x.starts[search.x.n_rows];
    for (std::int64_t i = 0; i < search.n_rows; ++i) {
        const std::int64_t row = search.rows[i];
        typename S::Vector score[W];
        for (int w = 0; w < W; ++w) score[w] = S::load(half_norms + w * S::kLanes);
        const std::int64_t end = search.x.starts[row + 1];
        const std::int64_t ahead = end + kAhead <= n_values ? kAhead : 0;
        for (std::int64_t at = search.x.starts[row]; at < end; ++at) {
            const T* later = panel + static_cast<std::int64_t>(columns[at + ahead]) * kPanel;
            for (int w = 0; w < W; ++w) prefetch_line(later + w * S::kLanes);
            const auto value = S::set1(values[at]);
            const T* centers = panel + static_cast<std::int64_t>(columns[at]) * kPanel;
#pragma GCC unroll 8
            for (int w = 0; w < W; ++w) {
                score[w] = S::fnma(value, S::load(centers + w * S::kLanes), score[w]);
            }
        }
        auto low = score[0];
        for (int w = 1; w < W; ++w) low = S::min(low, score[w]);
        const T lowest = S::lowest(low);
        if (lowest > search.best[i]) continue;
        // Lanes ascend by index: the first of equal ones wins.
        const auto equal_to = S::set1(lowest);
        int lane = kPanel - 1;
        for (int w = 0; w < W; ++w) {
            const unsigned equal = S::equal(score[w], equal_to);
            if (equal != 0) {
                lane = w * S::kLanes + __builtin_ctz(equal);
                break;
            }
        }
        const std::int32_t index = indices[lane];
        if (lowest < search.best[i] || index < search.label[i]) {
            search.best[i] = lowest;
            search.label[i] = index;
        }
    }
}

// Squared norms of G rows: G chains side by side.
template <class T, int G>
inline void norm_group(const T* rows, std::int64_t d, double* out) {
    double norm[G];
    for (int g = 0; g < G; ++g) norm[g] = 0.0;
    for (std::int64_t j = 0; j < d; ++j) {
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g) {
            const double value = static_cast<double>(rows[g * d + j]);
            norm[g] = __builtin_fma(value, value, norm[g]);
        }
    }
    for (int g = 0; g < G; ++g) out[g] = norm[g];
}

template <class T>
void squared_norms(const T* rows, std::int64_t n_rows, std::int64_t d, double* out) {
    constexpr int kGroup = 8;
    std::int64_t i = 0;
    for (; i + kGroup <= n_rows; i += kGroup) norm_group<T, kGroup>(rows + i * d, d, out + i);
    for (; i < n_rows; ++i) norm_group<T, 1>(rows + i * d, d, out + i);
}

// The row's own columns by differences, the others by what they hold of the center's norm. A center
// that is zero outside the row's columns has nothing left, to the last bit.
inline double with_rest(double stored, double squared_norm, double seen) {
    const double rest = squared_norm - seen;
    return stored + (rest > 0.0 ? rest : 0.0);
}

template <class T>
void sparse_label_distances(const CsrMatrix<T>& x, std::int64_t begin, std::int64_t end,
                            const double* centers, const double* norms, const std::int32_t* labels,
                            double* out) {
    for (std::int64_t i = begin; i < end; ++i) {
        const std::int64_t label = labels == nullptr ? 0 : labels[i];
        const double* center = centers + label * x.n_columns;
        double stored = 0.0, seen = 0.0;
        for (std::int64_t at = x.starts[i]; at < x.starts[i + 1]; ++at) {
            const double value = center[x.columns[at]];
            const double difference = static_cast<double>(x.values[at]) - value;
            stored = __builtin_fma(difference, difference, stored);
            seen = __builtin_fma(value, value, seen);
        }
        out[i - begin] = with_rest(stored, norms[label], seen);
    }
}

// S: vectors of float64.
template <class T, class S, int W>
void sparse_distances(const CsrMatrix<T>& x, std::int64_t begin, std::int64_t end,
                      const double* panel, const double* norms, double* out, std::int64_t stride) {
    constexpr int kPanel = W * S::kLanes;
    for (std::int64_t i = begin; i < end; ++i) {
        typename S::Vector stored[W], seen[W];
        for (int w = 0; w < W; ++w) stored[w] = seen[w] = S::set1(0.0);
        for (std::int64_t at = x.starts[i]; at < x.starts[i + 1]; ++at) {
            const auto value = S::set1(static_cast<double>(x.values[at]));
            const double* centers = panel + static_cast<std::int64_t>(x.columns[at]) * kPanel;
#pragma GCC unroll 4
            for (int w = 0; w < W; ++w) {
                const auto center = S::load(centers + w * S::kLanes);
                const auto difference = S::sub(value, center);
                stored[w] = S::fma(difference, difference, stored[w]);
                seen[w] = S::fma(center, center, seen[w]);
            }
        }
        double by_stored[kPanel], by_seen[kPanel];
        for (int w = 0; w < W; ++w) {
            S::store(by_stored + w * S::kLanes, stored[w]);
            S::store(by_seen + w * S::kLanes, seen[w]);
        }
        double* row = out + (i - begin) * stride;
        for (int l = 0; l < kPanel; ++l) row[l] = with_rest(by_stored[l], norms[l], by_seen[l]);
    }
}

// S: vectors of the rows' type; D: of float64.
template <class S, class D>
constexpr SparseKernels<typename S::Scalar> make_sparse_kernels() {
    using T = typename S::Scalar;
    return SparseKernels<T>{
        S::kLanes,
        D::kLanes,
        {search_sparse<S, 1>, search_sparse<S, 2>, search_sparse<S, 3>, search_sparse<S, 4>,
         search_sparse<S, 5>, search_sparse<S, 6>, search_sparse<S, 7>, search_sparse<S, 8>},
        squared_norms<T>,
        sparse_label_distances<T>,
        {sparse_distances<T, D, 1>, sparse_distances<T, D, 2>, sparse_distances<T, D, 3>,
         sparse_distances<T, D, 4>},
    };
}

}  // namespace
}  // namespace harpy::kmeans
