// Nearest of few centers, lanes over rows: compiled once per instruction set, over the vectors of
// isa/. The scores are the chains of tiles.h, one row and center each, in column order.
#pragma once

#include <cstdint>

#include "isa/lane_kernels.h"
#include "isa/prefetch.h"
#include "isa/transpose.h"

namespace harpy::kmeans {
namespace {

// Raises highest[j], ... to the magnitudes of the rows' values, where kMagnitudes is true.
template <class S, bool kMagnitudes, int N>
inline void raise_columns(const typename S::Vector (&rows)[N], typename S::Scalar* highest,
                          std::int64_t j) {
    if (!kMagnitudes) return;
    auto most = S::load(highest + j);
#pragma GCC unroll 16
    for (int r = 0; r < N; ++r) most = S::raise(most, rows[r]);
    S::store(highest + j, most);
}

// Columns of rows, less an offset, in vectors of one value a row: transpose() in steps, to be taken
// between other work. First each quad of rows is transposed, then the quads are joined.
template <class S, bool kMagnitudes>
class StepwiseTranspose {
    using T = typename S::Scalar;
    static constexpr int L = S::kLanes, Q = S::kQuad;

  public:
    static constexpr int kQuads = L / Q, kJoins = Q;

    // Columns j to j + L of one quad; the rows kFewAhead further on are prefetched into the cache.
    void transpose_quad(int number, const T* const* rows, const T* offset, std::int64_t j,
                        T* highest) {
        const int first = number * Q;
        const auto shift = S::load(offset + j);
        typename S::Vector quad[Q];
        for (int r = 0; r < Q; ++r) {
            quad[r] = S::load(rows[first + r] + j);
            prefetch_line(rows[kFewAhead + first + r] + j);
        }
        raise_columns<S, kMagnitudes>(quad, highest, j);
        for (int r = 0; r < Q; ++r) quad[r] = S::sub(quad[r], shift);
        S::transpose_quad(quad);
        for (int r = 0; r < Q; ++r) S::store(quads_ + (first + r) * L, quad[r]);
    }

    // Every kJoins-th column from `number` on.
    void join(int number, T* columns) {
        typename S::Vector joined[kQuads];
        for (int q = 0; q < kQuads; ++q) joined[q] = S::load(quads_ + (q * Q + number) * L);
        S::join_quads(joined);
        for (int q = 0; q < kQuads; ++q) S::store(columns + (q * Q + number) * L, joined[q]);
    }

  private:
    alignas(64) T quads_[L * L];
};

// The same for n columns, up to L, all at once.
template <class S, bool kMagnitudes>
[[gnu::noinline]] void transpose_columns(const FewSearch<typename S::Scalar>& search,
                                         const typename S::Scalar* const* rows, std::int64_t j,
                                         int n, typename S::Scalar* highest,
                                         typename S::Scalar* columns) {
    constexpr int L = S::kLanes;
    const auto offset = S::load_first(search.offset + j, n);
    typename S::Vector block[L];
#pragma GCC unroll 16
    for (int l = 0; l < L; ++l) {
        block[l] = n == L ? S::load(rows[l] + j) : S::load_first(rows[l] + j, n);
        prefetch_line(rows[kFewAhead + l] + j);
    }
    raise_columns<S, kMagnitudes>(block, highest, j);
#pragma GCC unroll 16
    for (int l = 0; l < L; ++l) block[l] = S::sub(block[l], offset);
    transpose<S>(block);
#pragma GCC unroll 16
    for (int l = 0; l < L; ++l) S::store(columns + l * L, block[l]);
}

// From so many centers on the next columns are transposed between the multiply-adds of these: out
// of order the processor does not reach so far ahead. For fewer the stores in between cost more.
constexpr int kLeastInterleaved = 6;

// What a search finds out besides.
enum class Beside { nothing, norms, magnitudes };

// Scores of one row per lane against K centers, and the rows' squared norms or their columns'
// magnitudes.
template <class S, int K, Beside B>
inline void score_few(const FewSearch<typename S::Scalar>& search,
                      const typename S::Scalar* const* rows, typename S::Vector (&score)[K],
                      typename S::Vector& squared, typename S::Scalar* highest) {
    using T = typename S::Scalar;
    constexpr int L = S::kLanes;
    constexpr bool kNorms = B == Beside::norms, kMagnitudes = B == Beside::magnitudes;
    using Steps = StepwiseTranspose<S, kMagnitudes>;
    for (int k = 0; k < K; ++k) score[k] = S::set1(search.half_norms[k]);
    squared = S::set1(T{0});
    const auto add_column = [&](const T* column, const T* centers) {
        const auto value = S::load(column);
        if (kNorms) squared = S::fma(value, value, squared);
#pragma GCC unroll 24
        for (int k = 0; k < K; ++k) score[k] = S::fnma(value, S::set1(centers[k]), score[k]);
    };
    const T* centers = search.centers;
    std::int64_t j = 0;
    alignas(64) T columns[2][L * L];
    if (K >= kLeastInterleaved && search.d >= 2 * L) {
        Steps transposed;
        constexpr int kQuads = Steps::kQuads, kSteps = kQuads + Steps::kJoins;
        const auto take_step = [&](int step, std::int64_t from, T* to) {
            if (step < kQuads) {
                transposed.transpose_quad(step, rows, search.offset, from, highest);
            } else {
                transposed.join(step - kQuads, to);
            }
        };
#pragma GCC unroll 1
        for (int step = 0; step < kSteps; ++step) take_step(step, 0, columns[0]);
        for (; j + 2 * L <= search.d; j += L, centers += L * K) {
            const T* these = columns[j / L % 2];
            T* next = columns[(j / L + 1) % 2];
#pragma GCC unroll 16
            for (int c = 0; c < L; ++c) {
                add_column(these + c * L, centers + c * K);
                for (int step = c * kSteps / L; step < (c + 1) * kSteps / L; ++step) {
                    take_step(step, j + L, next);
                }
            }
        }
        const T* last = columns[j / L % 2];
#pragma GCC unroll 4
        for (int c = 0; c < L; ++c, centers += K) add_column(last + c * L, centers);
        j += L;
    }
    for (; j < search.d; j += L) {
        const int n = static_cast<int>(search.d - j < L ? search.d - j : L);
        transpose_columns<S, kMagnitudes>(search, rows, j, n, highest, columns[0]);
        for (int c = 0; c < n; ++c, centers += K) add_column(columns[0] + c * L, centers);
    }
}

inline void look_up(const float* table, const std::int32_t* label, int n, float* out) {
    for (int i = 0; i < n; i += SimdFloat::kLanes) {
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

// Searches L rows, which become those from `first` on in `nearest`. Within a loop over rows the
// compiler would leave scores in memory.
template <class S, int K, Beside B>
[[gnu::noinline]] void search_vector(const FewSearch<typename S::Scalar>& search,
                                     const typename S::Scalar* const* rows,
                                     typename S::Scalar* highest, int first, FewNearest& nearest) {
    using T = typename S::Scalar;
    constexpr int L = S::kLanes;
    typename S::Vector score[K], squared_norm, lowest, label, second;
    score_few<S, K, B>(search, rows, score, squared_norm, highest);
    lowest_two<S, K>(score, lowest, label, second);
    alignas(64) T labels[L], squared[L], best_score[L], second_score[L];
    S::store(labels, label);
    for (int l = 0; l < L; ++l) nearest.label[first + l] = static_cast<std::int32_t>(labels[l]);
    if (B != Beside::norms) return;
    S::store(squared, squared_norm);
    S::store(best_score, lowest);
    S::store(second_score, second);
    float *upper = nearest.upper + first, *lower = nearest.lower + first;
#pragma omp simd
    for (int l = 0; l < L; ++l) {
        upper[l] = upper_distance(search.margins, best_score[l], squared[l], search.norm);
        lower[l] =
            lower_distance(search.margins, second_score[l], square_root(squared[l]), search.norm);
    }
}

template <class S, int K>
void search_few(const FewSearch<typename S::Scalar>& search, const typename S::Scalar* const* rows,
                int n_groups, typename S::Scalar* highest, FewNearest& nearest) {
    const int n_rows = n_groups * kFewRows;
    const auto search_rows = search.keeps_bounds  ? search_vector<S, K, Beside::norms>
                             : highest != nullptr ? search_vector<S, K, Beside::magnitudes>
                                                  : search_vector<S, K, Beside::nothing>;
    for (int i = 0; i < n_rows; i += S::kLanes) search_rows(search, rows + i, highest, i, nearest);
    if (!search.keeps_bounds) return;
    float moved[kFewRowsAtOnce], others_moved[kFewRowsAtOnce];
    look_up(search.moved, nearest.label, n_rows, moved);
    look_up(search.others_moved, nearest.label, n_rows, others_moved);
#pragma omp simd
    for (int i = 0; i < n_rows; ++i) {
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
        look_up(test.moved, label, kFewRows, moved);
        look_up(test.others_moved, label, kFewRows, others_moved);
        look_up(test.half_gap, label, kFewRows, half_gap);
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
