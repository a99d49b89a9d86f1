// Which rows may be near some candidate, measured in float32: compiled once per instruction set,
// over the vectors of isa/. Lanes run over columns, in whatever order: docs/numerics.md has
// the error.
#pragma once

#include <cstdint>

#include "isa/lane_kernels.h"
#include "isa/transpose.h"

namespace harpy::kmeans {
namespace {

// Squared distances of R rows to C candidates, as many as a vector has lanes: row r to candidate c
// in lane r * C + c.
template <class S, int R, int C>
inline typename S::Vector near_tile(const float* const (&row)[R], std::int64_t d,
                                    const float* candidates, std::int64_t stride) {
    using Vector = typename S::Vector;
    constexpr int L = S::kLanes;
    static_assert(R * C == L, "one lane each");
    Vector sums[L];
#pragma GCC unroll 16
    for (int l = 0; l < L; ++l) sums[l] = S::set1(0.0f);
    const auto add = [&](std::int64_t j, const Vector(&value)[R]) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
            const Vector candidate = S::load(candidates + c * stride + j);
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) {
                const Vector difference = S::sub(value[r], candidate);
                sums[r * C + c] = S::fma(difference, difference, sums[r * C + c]);
            }
        }
    };
    Vector value[R];
    std::int64_t j = 0;
    for (; j + L <= d; j += L) {
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) value[r] = S::load(row[r] + j);
        add(j, value);
    }
    if (j < d) {
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) value[r] = S::load_first(row[r] + j, static_cast<int>(d - j));
        add(j, value);
    }
    transpose<S>(sums);
#pragma GCC unroll 16
    for (int l = 1; l < L; ++l) sums[0] = S::add(sums[0], sums[l]);
    return sums[0];
}

// Keeps those of `rows` that are nearer than their limit to some candidate, C of which are measured
// together; returns their number. candidates (n_candidates, stride), padded with zeros to whole
// vectors; limits (n_rows).
template <class S, int C>
std::int64_t keep_near_some(const float* x, std::int64_t d, std::int32_t* rows, std::int64_t n_rows,
                            const float* candidates, std::int64_t stride, std::int64_t n_candidates,
                            const float* limits) {
    constexpr int L = S::kLanes, R = L / C;
    const std::int64_t ahead = R + rows_ahead<float>(d);
    std::int64_t n_kept = 0;
    for (std::int64_t i = 0; i < n_rows; i += R) {
        const float* row[R];
        std::int64_t at[R];
        for (int r = 0; r < R; ++r) {
            if (i + r + ahead < n_rows) prefetch_row(x + rows[i + r + ahead] * d, d);
            at[r] = i + r < n_rows ? i + r : n_rows - 1;
            row[r] = x + rows[at[r]] * d;
        }
        bool near[R] = {};
        for (std::int64_t c = 0; c < n_candidates; c += C) {
            alignas(64) float squared[L];
            S::store(squared, near_tile<S, R, C>(row, d, candidates + c * stride, stride));
            for (int r = 0; r < R; ++r) {
                // What is not a number may be near.
                for (int l = 0; l < C; ++l) near[r] |= !(squared[r * C + l] >= limits[at[r]]);
            }
        }
        for (int r = 0; r < R && i + r < n_rows; ++r) {
            rows[n_kept] = rows[i + r];
            n_kept += near[r];
        }
    }
    return n_kept;
}

// A multiple of 4 candidates.
template <class S>
std::int64_t keep_near(const float* x, std::int64_t d, std::int32_t* rows, std::int64_t n_rows,
                       const float* candidates, std::int64_t stride, std::int64_t n_candidates,
                       const float* limits) {
    constexpr int kMax = S::kLanes < 8 ? S::kLanes : 8;
    const auto keep = n_candidates % kMax == 0 ? keep_near_some<S, kMax> : keep_near_some<S, 4>;
    return keep(x, d, rows, n_rows, candidates, stride, n_candidates, limits);
}

}  // namespace
}  // namespace harpy::kmeans
