// Scores of tiles of rows against panels of centers, and what a search keeps of them: compiled once
// per instruction set, over the vectors of a simd_*.h. Everything is in an unnamed namespace and
// uses no library template, so that no code of one instruction set can be linked into another.
//
// Lanes run over centers, never over columns: every score is one fused-multiply-add chain in column
// order, so that vector width and tiling cannot change a bit.
#pragma once

#include <cstdint>

#include "estep/few_columns.h"
#include "estep/few_lanes.h"
#include "estep/sweep_lanes.h"
#include "isa/lane_kernels.h"

namespace harpy::kmeans {
namespace {

// score[r][v] = half_norms - x[r]·c' for the centers of one panel.
template <class S, int R, int V>
inline void score_rows(const typename S::Scalar* const (&x)[R], std::int64_t d,
                       const typename S::Scalar* panel, const typename S::Scalar* half_norms,
                       typename S::Vector (&score)[R][V]) {
    using Vector = typename S::Vector;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
        const Vector half_norm = S::load(half_norms + v * S::kLanes);
#pragma GCC unroll 32
        for (int r = 0; r < R; ++r) score[r][v] = half_norm;
    }
    for (std::int64_t j = 0; j < d; ++j) {
        Vector center[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) center[v] = S::load(panel + (j * V + v) * S::kLanes);
#pragma GCC unroll 32
        for (int r = 0; r < R; ++r) {
            const Vector value = S::set1(x[r][j]);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) score[r][v] = S::fnma(value, center[v], score[r][v]);
        }
    }
}

// Lowest center index among the lanes of a panel whose score is `lowest`.
template <class T>
inline std::int32_t lowest_index(const T* scores, const std::int32_t* indices, int lanes,
                                 T lowest) {
    std::int32_t index = INT32_MAX;
    for (int l = 0; l < lanes; ++l) {
        if (scores[l] == lowest && indices[l] < index) index = indices[l];
    }
    return index;
}

// Whether a score that equals the best so far belongs to a center of lower index.
template <class T>
bool wins_tie(const Search<T>& search, std::int64_t row, std::int32_t panel, const T* scores,
              int lanes) {
    const T* best = search.best_scores + row * lanes;
    const std::int32_t* indices = search.indices;
    return lowest_index(scores, indices + panel * lanes, lanes, search.best[row]) <
           lowest_index(best, indices + search.best_panel[row] * lanes, lanes, search.best[row]);
}

template <class T>
inline void lower_group(const Search<T>& search, std::int64_t row, std::int32_t panel, T score) {
    if (search.group_low == nullptr) return;
    T& low = search.group_low[row * search.n_groups + search.group_of_panel[panel]];
    low = score < low ? score : low;
}

// Keeps the scores of a panel that holds the best of a row so far.
template <class S, int V>
inline void keep_found(const Search<typename S::Scalar>& search, std::int64_t row,
                       std::int32_t panel, const typename S::Scalar* scores,
                       typename S::Scalar lowest) {
    constexpr int kPanel = V * S::kLanes;
    const auto best = search.best[row];
    if (lowest == best && search.best_panel[row] >= 0 &&
        !wins_tie(search, row, panel, scores, kPanel)) {
        lower_group(search, row, panel, lowest);
        return;
    }
    // The best panel's own runners-up are found when the row is settled.
    if (search.best_panel[row] >= 0) lower_group(search, row, search.best_panel[row], best);
    auto* kept = search.best_scores + row * kPanel;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) S::store(kept + v * S::kLanes, S::load(scores + v * S::kLanes));
    search.best[row] = lowest;
    search.best_panel[row] = panel;
}

// Searches one panel for a tile of R rows of the batch, of which the first n_rows count.
template <class S, int R, int V>
inline void search_tile(const Search<typename S::Scalar>& search, std::int32_t panel,
                        const typename S::Scalar* centers, const typename S::Scalar* half_norms,
                        const std::int32_t* rows, int n_rows) {
    using T = typename S::Scalar;
    const T* x[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) x[r] = search.x + rows[r] * search.stride;
    typename S::Vector score[R][V], low[R];
    score_rows<S, R, V>(x, search.d, centers, half_norms, score);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        low[r] = score[r][0];
#pragma GCC unroll 4
        for (int v = 1; v < V; ++v) low[r] = S::min(low[r], score[r][v]);
    }
    T lowest[R];
    S::template lowest_of_rows<R>(low, lowest);
    unsigned better = 0;
    for (int r = 0; r < n_rows; ++r) {
        if (lowest[r] <= search.best[rows[r]]) {
            better |= 1u << r;
        } else {
            lower_group(search, rows[r], panel, lowest[r]);
        }
    }
    // Most panels hold nothing better for any row of a tile: scores leave the registers only here.
    if (better == 0) return;
    alignas(64) T scores[R][V * S::kLanes];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) S::store(scores[r] + v * S::kLanes, score[r][v]);
    }
    for (; better != 0; better &= better - 1) {
        const int r = __builtin_ctz(better);
        keep_found<S, V>(search, rows[r], panel, scores[r], lowest[r]);
    }
}

// Searches one panel for the given rows of the batch.
template <class S, int V>
void search_panel(const Search<typename S::Scalar>& search, std::int32_t panel,
                  const typename S::Scalar* centers, const typename S::Scalar* half_norms,
                  const std::int32_t* rows, std::int64_t n_rows) {
    constexpr int R = S::kTileRows;
    std::int64_t i = 0;
    for (; i + R <= n_rows; i += R) {
        search_tile<S, R, V>(search, panel, centers, half_norms, rows + i, R);
    }
    if (i == n_rows) return;
    std::int32_t tile[R];  // a short tile repeats its last row
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) tile[r] = rows[i + r < n_rows ? i + r : n_rows - 1];
    const int n = static_cast<int>(n_rows - i);
    if (n > R / 2) {
        search_tile<S, R, V>(search, panel, centers, half_norms, tile, n);
    } else {
        search_tile<S, R / 2, V>(search, panel, centers, half_norms, tile, n);
    }
}

// Which lane of its best panel a row belongs to, and the lowest score of the panel's other lanes.
template <class S, int V>
void settle(const Search<typename S::Scalar>& search, std::int64_t n_rows, std::int32_t* slots,
            typename S::Scalar* second) {
    using T = typename S::Scalar;
    constexpr int kPanel = V * S::kLanes;
    for (std::int64_t row = 0; row < n_rows; ++row) {
        T* scores = search.best_scores + row * kPanel;
        const auto best = S::set1(search.best[row]);
        // Lanes of a panel ascend by index: the first of equal ones wins.
        int lane = 0;
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            const unsigned equal = S::equal(S::load(scores + v * S::kLanes), best);
            if (equal != 0) {
                lane = v * S::kLanes + __builtin_ctz(equal);
                break;
            }
        }
        slots[row] = search.best_panel[row] * kPanel + lane;
        if (second == nullptr) continue;
        scores[lane] = static_cast<T>(__builtin_inf());
        auto low = S::load(scores);
#pragma GCC unroll 4
        for (int v = 1; v < V; ++v) low = S::min(low, S::load(scores + v * S::kLanes));
        scores[lane] = search.best[row];
        second[row] = S::lowest(low);
    }
}

// lows[row, panel] = lowest score of each row against each panel, leaving out lane skip[row] of
// panel skip[row] / lanes.
template <class S, int V>
void panel_lows(const typename S::Scalar* rows, std::int64_t stride, std::int64_t n_rows,
                std::int64_t d, const typename S::Scalar* panels,
                const typename S::Scalar* half_norms, std::int64_t n_panels,
                std::int64_t first_slot, typename S::Scalar* lows) {
    using T = typename S::Scalar;
    constexpr int R = S::kTileRows;
    constexpr int kPanel = V * S::kLanes;
    for (std::int64_t p = 0; p < n_panels; ++p) {
        for (std::int64_t i = 0; i < n_rows; i += R) {
            const T* x[R];
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r)
                x[r] = rows + (i + r < n_rows ? i + r : n_rows - 1) * stride;
            typename S::Vector score[R][V], low[R];
            score_rows<S, R, V>(x, d, panels + p * d * kPanel, half_norms + p * kPanel, score);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                const std::int64_t lane = first_slot + i + r - p * kPanel;
                if (lane >= 0 && lane < kPanel) {
                    T scores[kPanel];
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v) S::store(scores + v * S::kLanes, score[r][v]);
                    scores[lane] = static_cast<T>(__builtin_inf());
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v) score[r][v] = S::load(scores + v * S::kLanes);
                }
                low[r] = score[r][0];
#pragma GCC unroll 4
                for (int v = 1; v < V; ++v) low[r] = S::min(low[r], score[r][v]);
            }
            T lowest[R];
            S::template lowest_of_rows<R>(low, lowest);
            for (int r = 0; r < R && i + r < n_rows; ++r) lows[(i + r) * n_panels + p] = lowest[r];
        }
    }
}

// out[i] = x[rows[i]] - offset, rounded once; squared[i] ~ its squared norm in any order, for
// bounds only.
template <class S>
void shift_rows(const typename S::Scalar* x, const std::int64_t* rows, std::int64_t n_rows,
                std::int64_t d, const typename S::Scalar* offset, typename S::Scalar* out,
                std::int64_t stride, typename S::Scalar* squared) {
    using T = typename S::Scalar;
    for (std::int64_t i = 0; i < n_rows; ++i) {
        const T* row = x + rows[i] * d;
        T* shifted = out + i * stride;
        auto sum = S::set1(T{0});
        std::int64_t j = 0;
        for (; j + S::kLanes <= d; j += S::kLanes) {
            const auto value = S::sub(S::load(row + j), S::load(offset + j));
            S::store(shifted + j, value);
            sum = S::fma(value, value, sum);
        }
        T rest = 0;
        for (; j < d; ++j) {
            shifted[j] = row[j] - offset[j];
            rest += shifted[j] * shifted[j];
        }
        if (squared != nullptr) squared[i] = S::sum(sum) + rest;
    }
}

// Centers of one panel, less the offset, side by side per column; norms are chains in column order.
template <class T>
void pack_panel(const T* centers, const std::int32_t* indices, int n_centers, int lanes,
                std::int64_t d, const T* offset, T* panel, T* half_norms, double* norms) {
    for (int l = 0; l < n_centers; ++l) norms[l] = 0.0;
    for (std::int64_t j = 0; j < d; ++j) {
        for (int l = 0; l < n_centers; ++l) {
            const T shifted = centers[indices[l] * d + j] - offset[j];
            const double wide = static_cast<double>(shifted);
            panel[j * lanes + l] = shifted;
            norms[l] = __builtin_fma(wide, wide, norms[l]);
        }
    }
    for (int l = 0; l < n_centers; ++l) half_norms[l] = static_cast<T>(0.5 * norms[l]);
}

// A number of columns that the compiler knows.
template <int N>
struct Columns {
    constexpr operator int() const { return N; }
};
// So many values are looked at before they are split.
using Look = Columns<64>;

// Whether the first words of all values are the values themselves.
inline bool whole(Look n, const float* row, const float* whole_from) {
    const int end = n;
    int parts = 0;
#pragma omp simd reduction(| : parts)
    for (int j = 0; j < end; ++j) {
        parts |= (__builtin_fabsf(row[j]) < whole_from[j]) & (row[j] != 0.0f);
    }
    return parts == 0;
}
template <class N, class T>
inline bool whole(N, const T*, const float*) {
    return false;
}

// Both words of a row's values, on their way into the sums; where kMoves, they are also taken away
// from elsewhere.
template <bool kMoves>
struct Words {
    double *high, *low, *high_less, *low_less;

    Words from(std::int64_t first) const {
        return {high + first, low + first, kMoves ? high_less + first : nullptr,
                kMoves ? low_less + first : nullptr};
    }
};

// Splits n values by their columns' magic numbers.
template <bool kMoves, class Value, class N>
inline void split_values(N n, const Value& value_of, const Quanta& quanta, std::int64_t first,
                         const Words<kMoves>& words) {
    const int end = n;
    const double* __restrict magic_high = quanta.magic_high + first;
    const double* __restrict magic_low = quanta.magic_low + first;
    double* __restrict high = words.high, * __restrict low = words.low;
    double* __restrict high_less = words.high_less, * __restrict low_less = words.low_less;
#pragma omp simd
    for (int j = 0; j < end; ++j) {
        const double value = value_of(j);
        const double upper = (value + magic_high[j]) - magic_high[j];
        const double lower = ((value - upper) + magic_low[j]) - magic_low[j];
        high[j] += upper;
        low[j] += lower;
        if (kMoves) {
            high_less[j] -= upper;
            low_less[j] -= lower;
        }
    }
}

// The same for n values of a row, those that are whole as they are.
template <bool kMoves, class T, class N>
inline void split_some(N n, const T* __restrict x, const Quanta& quanta, std::int64_t first,
                       const Words<kMoves>& words) {
    const int end = n;
    if (whole(n, x, quanta.whole_from + first)) {
        double* __restrict high = words.high, * __restrict high_less = words.high_less;
#pragma omp simd
        for (int j = 0; j < end; ++j) {
            const double value = static_cast<double>(x[j]);
            high[j] += value;
            if (kMoves) high_less[j] -= value;
        }
        return;
    }
    const auto value = [x](int j) { return static_cast<double>(x[j]); };
    split_values(n, value, quanta, first, words);
}

// Calls split(n, first) for as long stretches of d columns as the compiler knows.
template <class Split>
inline void for_stretches(std::int64_t d, const Split& split) {
    using Some = Columns<8>;
    std::int64_t j = 0;
    for (; d - j >= Look{}; j += Look{}) split(Look{}, j);
    for (; d - j >= Some{}; j += Some{}) split(Some{}, j);
    if (j < d) split(static_cast<int>(d - j), j);
}

// All columns of a row.
template <bool kMoves, class T>
inline void split_row(const T* row, std::int64_t d, const Quanta& quanta,
                      const Words<kMoves>& words) {
    for_stretches(d, [&](auto n, std::int64_t first) {
        split_some(n, row + first, quanta, first, words.from(first));
    });
}

// The same times a weight, and the weight.
template <bool kMoves, class T>
inline void split_weighted(const T* row, double weight, std::int64_t d, const Quanta& quanta,
                           const Words<kMoves>& words) {
    for_stretches(d, [&](auto n, std::int64_t first) {
        const T* x = row + first;
        const auto product = [x, weight](int j) { return weight * static_cast<double>(x[j]); };
        split_values(n, product, quanta, first, words.from(first));
    });
    const auto itself = [weight](int) { return weight; };
    split_values(Columns<1>{}, itself, quanta, d, words.from(d));
}

// Added to one cluster.
template <class T>
void add_split(const T* row, const T* weight, std::int64_t d, const Quanta& quanta, double* high,
               double* low) {
    const Words<false> words{high, low, nullptr, nullptr};
    if (weight == nullptr) {
        split_row(row, d, quanta, words);
    } else {
        split_weighted(row, static_cast<double>(*weight), d, quanta, words);
    }
}

// The same, and taken away from another.
template <class T>
void move_split(const T* row, const T* weight, std::int64_t d, const Quanta& quanta,
                double* high_from, double* low_from, double* high_to, double* low_to) {
    const Words<true> words{high_to, low_to, high_from, low_from};
    if (weight == nullptr) {
        split_row(row, d, quanta, words);
    } else {
        split_weighted(row, static_cast<double>(*weight), d, quanta, words);
    }
}

// Searches among few centers, as many as the registers hold.
template <class S, int K>
constexpr auto few() {
    if constexpr (K <= S::kMostFew) {
        return search_few<S, K>;
    } else {
        return nullptr;
    }
}

template <class S>
constexpr TileKernels<typename S::Scalar> make_tile_kernels() {
    using T = typename S::Scalar;
    return TileKernels<T>{
        {S::kLanes, 2 * S::kLanes, 3 * S::kLanes},
        {search_panel<S, 1>, search_panel<S, 2>, search_panel<S, 3>},
        {settle<S, 1>, settle<S, 2>, settle<S, 3>},
        SweepShape<S>::kRows,
        SweepShape<S>::kCenters,
        sweep<S>,
        S::kLanes,
        score_pairs<S>,
        {panel_lows<S, 1>, panel_lows<S, 2>, panel_lows<S, 3>},
        {scan<S, 1>, scan<S, 2>, scan<S, 3>, scan<S, 4>, scan<S, 5>, scan<S, 6>, scan<S, 7>,
         scan<S, 8>},
        walk<S>,
        squared_gaps<T>,
        shift_rows<S>,
        pack_panel<T>,
        add_split<T>,
        move_split<T>,
        S::kMostFew,
        {few<S, 2>(), few<S, 4>(), few<S, 6>(), few<S, 8>(), few<S, 10>(), few<S, 12>(),
         few<S, 14>(), few<S, 16>(), few<S, 18>(), few<S, 20>(), few<S, 22>(), few<S, 24>()},
    };
}

}  // namespace
}  // namespace harpy::kmeans
