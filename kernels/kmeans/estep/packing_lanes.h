// Rows and centers less the offset, as tiles.h reads them: compiled once per instruction set, over
// the vectors of isa/.
#pragma once

#include <cstdint>

#include "isa/lane_kernels.h"

namespace harpy::kmeans {
namespace {

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

}  // namespace
}  // namespace harpy::kmeans
