// Searches for rows of few columns: all centers with rows in the lanes of a vector, or the
// neighbours of one center. Compiled once per instruction set, as tiles.h, and the same bits.
#pragma once

#include <cstdint>

#include "isa/lane_kernels.h"

namespace harpy::kmeans {
namespace {

// nearest[i] = which of the centers (n_centers, 1 + D: half norm, columns) has the lowest score for
// row i. Lanes run over rows, so that nothing is left to compare across lanes.
template <class S, int D>
void scan(const typename S::Scalar* x, std::int64_t n_rows, const typename S::Scalar* offset,
          const typename S::Scalar* centers, std::int64_t n_centers, std::int32_t* nearest) {
    using T = typename S::Scalar;
    using Vector = typename S::Vector;
    // What registers hold of rows, scores and what was found.
    constexpr int kRegisters = 4 * S::kTileRows, kMax = (kRegisters - 3) / (D + 3);
    constexpr int V = kMax > 4 ? 4 : kMax;
    constexpr int R = V * S::kLanes;
    const Vector step = S::set1(T{-1});
    T columns[D][R];
    for (std::int64_t begin = 0; begin < n_rows; begin += R) {
        const int n = static_cast<int>(n_rows - begin < R ? n_rows - begin : R);
        for (int r = 0; r < R; ++r) {
            const T* row = x + (begin + (r < n ? r : n - 1)) * D;
            for (int j = 0; j < D; ++j) columns[j][r] = row[j] - offset[j];
        }
        Vector value[D][V], best[V], found[V];
        for (int v = 0; v < V; ++v) {
            for (int j = 0; j < D; ++j) value[j][v] = S::load(columns[j] + v * S::kLanes);
            best[v] = S::set1(static_cast<T>(__builtin_inf()));
            found[v] = S::set1(T{0});
        }
        const T* center = centers;
        Vector here = S::set1(T{0});
        for (std::int64_t c = 0; c < n_centers; ++c, center += D + 1) {
            Vector score[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) score[v] = S::set1(center[0]);
#pragma GCC unroll 8
            for (int j = 0; j < D; ++j) {
                const Vector coordinate = S::set1(center[j + 1]);
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) score[v] = S::fnma(value[j][v], coordinate, score[v]);
            }
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) S::keep_lower(score[v], here, best[v], found[v]);
            here = S::sub(here, step);
        }
        T indices[R];
        for (int v = 0; v < V; ++v) S::store(indices + v * S::kLanes, found[v]);
        for (int r = 0; r < n; ++r) nearest[begin + r] = static_cast<std::int32_t>(indices[r]);
    }
}

// One step of rows that walk from center to nearer center (see Walk).
template <class S, int R, bool kFirst>
inline std::int64_t walk_tile(const Walk<typename S::Scalar>& walk, const std::int32_t (&rows)[R],
                              int n_rows, std::int32_t* open) {
    using T = typename S::Scalar;
    using Vector = typename S::Vector;
    constexpr int V = kChunk / S::kLanes;
    std::int32_t place[R];
    Vector score[R][V], low[R];
    T own_score[R], squared_norm[R], lowest[R];
    std::uint32_t equal[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        place[r] = (kFirst ? walk.label : walk.place)[rows[r]];
        const T* x = walk.x + rows[r] * walk.d;
        const T* chunk = walk.chunks + place[r] * (walk.d + 1) * kChunk;
        for (int v = 0; v < V; ++v) score[r][v] = S::load(chunk + v * S::kLanes);
        Vector squared = S::set1(T{0});
        for (std::int64_t j = 0; j < walk.d; ++j) {
            chunk += kChunk;
            const Vector value = S::sub(S::set1(x[j]), S::set1(walk.offset[j]));
            for (int v = 0; v < V; ++v) {
                score[r][v] = S::fnma(value, S::load(chunk + v * S::kLanes), score[r][v]);
            }
            squared = S::fma(value, value, squared);
        }
        low[r] = score[r][0];
        for (int v = 1; v < V; ++v) low[r] = S::min(low[r], score[r][v]);
        own_score[r] = S::first(score[r][0]);
        squared_norm[r] = S::first(squared);
    }
    S::template lowest_of_rows<R>(low, lowest);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
        equal[r] = 0;
        for (int v = 0; v < V; ++v) {
            equal[r] |= S::equal(score[r][v], S::set1(lowest[r])) << (v * S::kLanes);
        }
    }
    std::int64_t n_open = 0;
#pragma GCC unroll 1
    for (int r = 0; r < n_rows; ++r) {
        const std::int32_t row = rows[r], center = walk.label[row];
        const std::int32_t* members = walk.members + std::int64_t{place[r]} * kChunk;
        // Scores that are not numbers equal nothing: the last lane does no harm.
        std::int32_t label = members[__builtin_ctz(equal[r] | 1u << (kChunk - 1))];
        for (std::uint32_t rest = equal[r] & (equal[r] - 1); rest != 0; rest &= rest - 1) {
            const std::int32_t other = members[__builtin_ctz(rest)];
            label = other < label ? other : label;
        }
        T own = own_score[r], best = lowest[r];
        if (!kFirst) {
            const T before = walk.best[row];
            const bool wins = (best < before) | ((best == before) & (label < center));
            label = wins ? label : center;
            best = best < before ? best : before;
            own = place[r] < walk.n_clusters ? own : before;
        }
        const std::int32_t next = place[r] + static_cast<std::int32_t>(walk.n_clusters);
        walk.label[row] = label;
        walk.best[row] = best;
        walk.place[row] = label == center ? next : label;
        open[n_open] = row;
        n_open += !(2 * own + squared_norm[r] < walk.limits[place[r]]);
    }
    return n_open;
}

template <class S>
std::int64_t walk(const Walk<typename S::Scalar>& walk, const std::int32_t* rows,
                  std::int64_t n_rows, std::int32_t* open) {
    // As many rows as leave their scores in registers.
    constexpr int R = kChunk / S::kLanes > 2 ? 2 : S::kTileRows;
    std::int64_t n_open = 0;
    std::int32_t tile[R];
    for (std::int64_t i = 0; i < n_rows; i += R) {
        const int n = static_cast<int>(n_rows - i < R ? n_rows - i : R);
        for (int r = 0; r < R; ++r) {
            const std::int64_t at = i + (r < n ? r : n - 1);  // a short tile repeats its last row
            tile[r] = rows == nullptr ? static_cast<std::int32_t>(at) : rows[at];
        }
        n_open += rows == nullptr ? walk_tile<S, R, true>(walk, tile, n, open + n_open)
                                  : walk_tile<S, R, false>(walk, tile, n, open + n_open);
    }
    return n_open;
}

template <class T>
void squared_gaps(const T* __restrict columns, std::int64_t n, std::int64_t d, std::int64_t from,
                  T* __restrict out) {
    for (std::int64_t c = 0; c < n; ++c) out[c] = 0;
    for (std::int64_t j = 0; j < d; ++j) {
        const T* column = columns + j * n;
        const T origin = column[from];
#pragma omp simd
        for (std::int64_t c = 0; c < n; ++c) {
            const T difference = column[c] - origin;
            out[c] += difference * difference;
        }
    }
}

}  // namespace
}  // namespace harpy::kmeans
