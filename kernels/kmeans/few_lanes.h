// Nearest of few centers, lanes over rows: compiled once per instruction set, over the vectors of a
// simd_*.h. The scores are the chains of tiles.h, one row and center each, in column order.
#pragma once

#include <cstdint>

#include "fetch.h"
#include "lane_kernels.h"

namespace harpy::kmeans {
namespace {

// Scores of one row per lane against K centers, and the rows' squared norms in any order. The rows
// kFewRows further on, next to be searched, are fetched into the cache.
template <class S, int K>
inline void score_few(const FewSearch<typename S::Scalar>& search,
                      const typename S::Scalar* const* rows, typename S::Vector (&score)[K],
                      typename S::Vector& squared) {
    using T = typename S::Scalar;
    constexpr int L = S::kLanes;
    for (int k = 0; k < K; ++k) score[k] = S::set1(search.half_norms[k]);
    squared = S::set1(T{0});
    const T* centers = search.centers;
    for (std::int64_t j = 0; j < search.d; j += L) {
        const int n = static_cast<int>(search.d - j < L ? search.d - j : L);
        typename S::Vector block[L];
        if (n == L) {
            const auto offset = S::load(search.offset + j);
#pragma GCC unroll 16
            for (int l = 0; l < L; ++l) {
                block[l] = S::sub(S::load(rows[l] + j), offset);
                fetch_line(rows[kFewRows + l] + j);
            }
        } else {
            const auto offset = S::load_first(search.offset + j, n);
#pragma GCC unroll 16
            for (int l = 0; l < L; ++l) {
                block[l] = S::sub(S::load_first(rows[l] + j, n), offset);
                fetch_line(rows[kFewRows + l] + j);
            }
        }
        S::transpose(block);
        alignas(64) T columns[L * L];
#pragma GCC unroll 16
        for (int l = 0; l < L; ++l) S::store(columns + l * L, block[l]);
        for (int c = 0; c < n; ++c) {
            const auto value = S::load(columns + c * L);
            squared = S::fma(value, value, squared);
#pragma GCC unroll 24
            for (int k = 0; k < K; ++k) {
                score[k] = S::fnma(value, S::set1(centers[k]), score[k]);
            }
            centers += K;
        }
    }
}

inline void look_up(const float* table, const std::int32_t* label, float* out) {
    for (int i = 0; i < kFewRows; i += SimdFloat::kLanes) {
        SimdFloat::store(out + i, SimdFloat::look_up(table, label + i));
    }
}

// Of each lane's scores the lowest, whose it is (the first of equal ones) and the second lowest.
template <class S, int K>
inline void lowest_two(const typename S::Vector (&score)[K], typename S::Vector& lowest,
                       typename S::Vector& index, typename S::Vector& second) {
    using T = typename S::Scalar;
    lowest = score[0];
    index = S::set1(T{0});
    second = S::set1(static_cast<T>(__builtin_inf()));
#pragma GCC unroll 24
    for (int k = 1; k < K; ++k) {
        second = S::min(second, S::max(score[k], lowest));
        S::keep_lower(score[k], S::set1(static_cast<T>(k)), lowest, index);
    }
}

template <class S, int K>
void search_few(const FewSearch<typename S::Scalar>& search, const typename S::Scalar* const* rows,
                FewNearest& nearest) {
    using T = typename S::Scalar;
    constexpr int L = S::kLanes;
    for (int i = 0; i < kFewRows; i += L) {
        typename S::Vector score[K], squared_norm, lowest, label, second;
        score_few<S, K>(search, rows + i, score, squared_norm);
        lowest_two<S, K>(score, lowest, label, second);
        alignas(64) T labels[L], squared[L], best_score[L], second_score[L];
        S::store(labels, label);
        for (int l = 0; l < L; ++l) nearest.label[i + l] = static_cast<std::int32_t>(labels[l]);
        if (!search.keeps_bounds) continue;
        S::store(squared, squared_norm);
        S::store(best_score, lowest);
        S::store(second_score, second);
#pragma omp simd
        for (int l = 0; l < L; ++l) {
            nearest.upper[i + l] =
                upper_distance(search.margins, best_score[l], squared[l], search.norm);
            nearest.lower[i + l] = lower_distance(search.margins, second_score[l],
                                                  square_root(squared[l]), search.norm);
        }
    }
    if (!search.keeps_bounds) return;
    float moved[kFewRows], others_moved[kFewRows];
    look_up(search.moved, nearest.label, moved);
    look_up(search.others_moved, nearest.label, others_moved);
#pragma omp simd
    for (int i = 0; i < kFewRows; ++i) {
        const float upper = nearest.upper[i];
        nearest.upper[i] = upper - moved[i] + (upper + moved[i]) * (kGuard - 1.0f);
        nearest.lower[i] = (nearest.lower[i] + others_moved[i]) * (2.0f - kGuard);
    }
}

// may_move[i] = whether row `begin` + i might have another nearest center. docs/numerics.md proves
// the inequality.
inline void test_few(const FewTest& test, std::int64_t begin, std::int64_t n_rows,
                     std::uint8_t* may_move) {
    for (std::int64_t i = 0; i < n_rows; i += kFewRows) {
        const std::int32_t* label = test.labels + begin + i;
        std::int32_t last[kFewRows] = {};
        if (n_rows - i < kFewRows) {
            for (int r = 0; r < n_rows - i; ++r) last[r] = label[r];
            label = last;
        }
        float moved[kFewRows], others_moved[kFewRows], half_gap[kFewRows];
        look_up(test.moved, label, moved);
        look_up(test.others_moved, label, others_moved);
        look_up(test.half_gap, label, half_gap);
        const float* stored_upper = test.upper + begin + i;
        const float* stored_lower = test.lower + begin + i;
#pragma omp simd
        for (int r = 0; r < kFewRows; ++r) {
            const float upper = stored_upper[r] + moved[r];
            const float low = stored_lower[r] - others_moved[r];
            const float slack = score_slack(test, upper, test.radius, test.radius);
            const float least = (upper * upper + slack) * kGuard;
            may_move[i + r] =
                !((low > 0.0f) & (low * low > least)) & !(upper * kGuard < half_gap[r]);
        }
    }
}

}  // namespace
}  // namespace harpy::kmeans
