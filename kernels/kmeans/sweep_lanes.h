// Searches of all centers, lanes over rows: compiled once per instruction set, over the vectors of
// a simd_*.h. The scores are the chains of tiles.h, one row and center each, in column order.
#pragma once

#include <cstdint>

#include "lane_kernels.h"

namespace harpy::kmeans {
namespace {

// A block of rows and a panel of centers whose scores fill the registers.
template <class S>
struct SweepShape {
    static constexpr int kVectors = S::kChains % 3 == 0 ? 3 : 2;  // of rows
    static constexpr int kRows = kVectors * S::kLanes;
    static constexpr int kCenters = S::kChains / kVectors;
};

// Where panels are few, fetching rows beside their search would be a few bursts.
template <class T>
inline bool fetches_early(const Sweep<T>& sweep) {
    return sweep.n_panels < 4;
}

// columns (d, kRows) = the block's rows less the offset, a row a lane; lanes beyond the last row
// repeat it.
template <class S>
inline void turn_rows(const Sweep<typename S::Scalar>& sweep) {
    using T = typename S::Scalar;
    constexpr int L = S::kLanes, kRows = SweepShape<S>::kRows;
    const std::int64_t d = sweep.d, last = sweep.n_rows - 1;
    const std::int64_t n_fetched = fetches_early(sweep) ? sweep.n_ahead : 0;
    for (std::int64_t j = 0; j < d; j += L) {
        const int n = static_cast<int>(d - j < L ? d - j : L);
        const auto offset = n == L ? S::load(sweep.offset + j) : S::load_first(sweep.offset + j, n);
        for (int first = 0; first < kRows; first += L) {
            typename S::Vector block[L];
#pragma GCC unroll 16
            for (int l = 0; l < L; ++l) {
                const std::int64_t i = first + l < last ? first + l : last;
                const T* values = sweep.x + i * d + j;
                block[l] = S::sub(n == L ? S::load(values) : S::load_first(values, n), offset);
                if (first + l < n_fetched) __builtin_prefetch(values + sweep.n_rows * d, 0, 2);
            }
            S::transpose(block);
            T* column = sweep.columns + j * kRows + first;
#pragma GCC unroll 16
            for (int l = 0; l < L; ++l) {
                if (l < n) S::store(column + l * kRows, block[l]);
            }
        }
    }
}

// One panel against the block: each lane keeps its lowest score and whose it is. Centers ascend, so
// that the first of equal ones stays.
template <class S>
inline void sweep_panel(const Sweep<typename S::Scalar>& sweep, std::int64_t panel,
                        typename S::Scalar* low, typename S::Scalar* index) {
    using T = typename S::Scalar;
    using Vector = typename S::Vector;
    constexpr int V = SweepShape<S>::kVectors, C = SweepShape<S>::kCenters;
    const T* centers = sweep.centers + panel * C * sweep.d;
    const T* half_norms = sweep.half_norms + panel * C;
    const T* column = sweep.columns;
    Vector score[C][V];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) score[c][v] = S::set1(half_norms[c]);
    }
    for (std::int64_t j = 0; j < sweep.d; ++j) {
        Vector value[V];
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) value[v] = S::load(column + v * S::kLanes);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
            const Vector center = S::set1(centers[c]);
#pragma GCC unroll 3
            for (int v = 0; v < V; ++v) score[c][v] = S::fnma(value[v], center, score[c][v]);
        }
        column += V * S::kLanes;
        centers += C;
    }
    Vector lowest[V], found[V], here = S::set1(static_cast<T>(panel * C));
    const Vector step = S::set1(T{-1});
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
        lowest[v] = S::load(low + v * S::kLanes);
        found[v] = S::load(index + v * S::kLanes);
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
#pragma GCC unroll 3
        for (int v = 0; v < V; ++v) S::keep_lower(score[c][v], here, lowest[v], found[v]);
        here = S::sub(here, step);
    }
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) {
        S::store(low + v * S::kLanes, lowest[v]);
        S::store(index + v * S::kLanes, found[v]);
    }
}

// Fetches some of the rows that follow with each panel.
template <class S>
void sweep(const Sweep<typename S::Scalar>& sweep, std::int32_t* nearest,
           typename S::Scalar* best) {
    using T = typename S::Scalar;
    constexpr int kRows = SweepShape<S>::kRows;
    constexpr std::int64_t kCacheLine = 64 / sizeof(T);
    turn_rows<S>(sweep);
    alignas(64) T low[kRows], index[kRows];
    for (int r = 0; r < kRows; ++r) {
        low[r] = static_cast<T>(__builtin_inf());
        index[r] = 0;
    }
    const T* next = sweep.x + sweep.n_rows * sweep.d;
    const std::int64_t n_ahead = fetches_early(sweep) ? 0 : sweep.n_ahead;
    const std::int64_t n_lines = (n_ahead * sweep.d + kCacheLine - 1) / kCacheLine;
    const std::int64_t n_some = (n_lines + sweep.n_panels - 1) / sweep.n_panels;
    std::int64_t line = 0;
    for (std::int64_t panel = 0; panel < sweep.n_panels; ++panel) {
        const std::int64_t end = line + n_some < n_lines ? line + n_some : n_lines;
        for (; line < end; ++line) __builtin_prefetch(next + line * kCacheLine, 0, 2);
        sweep_panel<S>(sweep, panel, low, index);
    }
    for (int r = 0; r < sweep.n_rows; ++r) {
        nearest[r] = static_cast<std::int32_t>(index[r]);
        best[r] = low[r];
    }
}

}  // namespace
}  // namespace harpy::kmeans
