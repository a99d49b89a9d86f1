// Scores of tiles of rows against panels of centers, and what a search keeps of them: compiled once
// per instruction set, over the vectors of isa/. Everything is in an unnamed namespace and
// uses no library template, so that no code of one instruction set can be linked into another.
//
// Lanes run over centers, never over columns: every score is one fused-multiply-add chain in column
// order, so that vector width and tiling cannot change a bit.
#pragma once

#include <cstdint>

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
    // The best panel's own runners-up are found when the row is certain.
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
void select_lanes(const Search<typename S::Scalar>& search, std::int64_t n_rows,
                  std::int32_t* slots, typename S::Scalar* second) {
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

}  // namespace
}  // namespace harpy::kmeans
