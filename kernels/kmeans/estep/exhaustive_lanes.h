// Searches of all centers, lanes over rows: compiled once per instruction set, over the vectors of
// a simd_*.h. The scores are the chains of tiles.h, one row and center each, in column order.
#pragma once

#include <cstdint>

#include "isa/lane_kernels.h"
#include "isa/prefetch.h"
#include "isa/transpose.h"

namespace harpy::kmeans {
namespace {

// A block of rows and a panel of centers whose scores fill the registers.
template <class S>
struct ScanShape {
    static constexpr int kVectors = S::kChains % 3 == 0 ? 3 : 2;  // of rows
    static constexpr int kRows = kVectors * S::kLanes;
    static constexpr int kCenters = S::kChains / kVectors;
};

// Rows that follow a block, prefetched into the cache a few lines at a time.
class RowsAhead {
  public:
    RowsAhead(const void* rows, std::int64_t n_bytes, std::int64_t n_times)
        : next_(static_cast<const char*>(rows)),
          end_(next_ + n_bytes),
          step_((n_bytes / n_times / kCacheLine + 1) * kCacheLine) {}

    void prefetch_some() {
        const char* const stop = end_ - next_ < step_ ? end_ : next_ + step_;
        for (; next_ < stop; next_ += kCacheLine) prefetch_line(next_);
    }

  private:
    static constexpr std::int64_t kCacheLine = 64;
    const char* next_;
    const char* end_;
    std::int64_t step_;
};

// A block of rows and all centers. P has vectors of Scalar, and what a column adds to scores.
template <class P>
struct Meeting {
    using Scalar = typename P::Scalar;
    const Scalar* rows;     // (n_columns, kRows)
    const Scalar* centers;  // (n_panels, n_columns, kCenters)
    const Scalar* starts;   // (n_panels, kCenters) of the scores
    std::int64_t n_columns, n_panels;
};

template <class P>
using Scores = typename P::Vector[ScanShape<P>::kCenters][ScanShape<P>::kVectors];

// Calls finish(panel, scores) for all panels, ascending.
template <class P, class Finish>
inline void meet(const Meeting<P>& meeting, RowsAhead ahead, const Finish& finish) {
    using Vector = typename P::Vector;
    constexpr int V = ScanShape<P>::kVectors, C = ScanShape<P>::kCenters;
    const auto* centers = meeting.centers;
    const auto* starts = meeting.starts;
    for (std::int64_t panel = 0; panel < meeting.n_panels; ++panel) {
        ahead.prefetch_some();
        Scores<P> score;
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
#pragma GCC unroll 3
            for (int v = 0; v < V; ++v) score[c][v] = P::set1(starts[c]);
        }
        const auto* column = meeting.rows;
        for (std::int64_t j = 0; j < meeting.n_columns; ++j) {
            Vector value[V];
#pragma GCC unroll 3
            for (int v = 0; v < V; ++v) value[v] = P::load(column + v * P::kLanes);
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) {
                const Vector center = P::set1(centers[c]);
#pragma GCC unroll 3
                for (int v = 0; v < V; ++v) {
                    score[c][v] = P::add_product(score[c][v], value[v], center);
                }
            }
            column += V * P::kLanes;
            centers += C;
        }
        starts += C;
        finish(panel, score);
    }
}

// Where panels are few, prefetching rows beside their search would be a few bursts.
template <class T>
inline bool prefetches_early(const ExhaustiveScan<T>& scan) {
    return scan.n_panels < 4;
}

// columns (d, kRows) = the block's rows less the offset, a row a lane; lanes beyond the last row
// repeat it.
template <class S>
inline void transpose_rows(const ExhaustiveScan<typename S::Scalar>& scan) {
    using T = typename S::Scalar;
    constexpr int L = S::kLanes, kRows = ScanShape<S>::kRows;
    const std::int64_t d = scan.d, last = scan.n_rows - 1;
    const std::int64_t n_prefetched = prefetches_early(scan) ? scan.n_ahead : 0;
    for (std::int64_t j = 0; j < d; j += L) {
        const int n = static_cast<int>(d - j < L ? d - j : L);
        const auto offset = n == L ? S::load(scan.offset + j) : S::load_first(scan.offset + j, n);
        for (int first = 0; first < kRows; first += L) {
            typename S::Vector block[L];
#pragma GCC unroll 16
            for (int l = 0; l < L; ++l) {
                const std::int64_t i = first + l < last ? first + l : last;
                const T* values = scan.x + i * d + j;
                block[l] = S::sub(n == L ? S::load(values) : S::load_first(values, n), offset);
                if (first + l < n_prefetched) prefetch_line(values + scan.n_rows * d);
            }
            transpose<S>(block);
            T* column = scan.columns + j * kRows + first;
#pragma GCC unroll 16
            for (int l = 0; l < L; ++l) {
                if (l < n) S::store(column + l * kRows, block[l]);
            }
        }
    }
}

// Rows and centers in pairs, a pair a lane.
template <class S>
void score_pairs(const typename S::Scalar* const* x, const typename S::Scalar* const* centers,
                 const typename S::Scalar* offset, const typename S::Scalar* half_norms,
                 std::int64_t d, typename S::Scalar* scores) {
    constexpr int L = S::kLanes;
    auto score = S::load(half_norms);
    for (std::int64_t j = 0; j < d; j += L) {
        const int n = static_cast<int>(d - j < L ? d - j : L);
        const auto shift = S::load_first(offset + j, n);
        typename S::Vector row[L], center[L];
#pragma GCC unroll 16
        for (int l = 0; l < L; ++l) {
            row[l] = S::sub(S::load_first(x[l] + j, n), shift);
            center[l] = S::sub(S::load_first(centers[l] + j, n), shift);
        }
        transpose<S>(row);
        transpose<S>(center);
#pragma GCC unroll 16
        for (int l = 0; l < L; ++l) {
            if (l < n) score = S::fnma(row[l], center[l], score);
        }
    }
    S::store(scores, score);
}

// The scores of a scan.
template <class S>
struct ScanSteps : S {
    using Vector = typename S::Vector;
    static Vector add_product(Vector score, Vector value, Vector center) {
        return S::fnma(value, center, score);
    }
};

// Each lane keeps its lowest score and whose it is. Centers ascend, so that the first of equal ones
// stays.
template <class S>
void exhaustive_scan(const ExhaustiveScan<typename S::Scalar>& scan, std::int32_t* nearest,
                     typename S::Scalar* best) {
    using T = typename S::Scalar;
    using Vector = typename S::Vector;
    using P = ScanSteps<S>;
    constexpr int V = ScanShape<S>::kVectors, C = ScanShape<S>::kCenters, L = S::kLanes;
    transpose_rows<S>(scan);
    alignas(64) T low[V * L], index[V * L];
    for (int r = 0; r < V * L; ++r) {
        low[r] = static_cast<T>(__builtin_inf());
        index[r] = 0;
    }
    const std::int64_t n_ahead = prefetches_early(scan) ? 0 : scan.n_ahead;
    const auto row_bytes = scan.d * static_cast<std::int64_t>(sizeof(T));
    const RowsAhead ahead(scan.x + scan.n_rows * scan.d, n_ahead * row_bytes, scan.n_panels);
    meet<P>({scan.columns, scan.centers, scan.half_norms, scan.d, scan.n_panels}, ahead,
            [&](std::int64_t panel, Scores<P>& score) {
#pragma GCC unroll 3
                for (int v = 0; v < V; ++v) {
                    Vector lowest = S::load(low + v * L), found = S::load(index + v * L);
                    Vector here = S::set1(static_cast<T>(panel * C));
                    const Vector step = S::set1(T{-1});
#pragma GCC unroll 8
                    for (int c = 0; c < C; ++c) {
                        S::keep_lower(score[c][v], here, lowest, found);
                        here = S::sub(here, step);
                    }
                    S::store(low + v * L, lowest);
                    S::store(index + v * L, found);
                }
            });
    for (int r = 0; r < scan.n_rows; ++r) {
        nearest[r] = static_cast<std::int32_t>(index[r]);
        best[r] = low[r];
    }
}

}  // namespace
}  // namespace harpy::kmeans
