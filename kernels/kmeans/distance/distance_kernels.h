// Squared distances in float64: the inner loops of distance_lanes.h.
#pragma once

#include <cstdint>

#include "ranges/magnitudes.h"

namespace harpy::kmeans {

// Squared distances, each eight chains and a tree (docs/numerics.md). Rows of centers lie
// center_stride values apart, a multiple of 8, with zeros beyond column d.
template <class T>
struct DistanceKernels {
    // out (n_rows, out_stride) = those of rows[i] (of row i where rows is nullptr) to all centers.
    // Where a row's distances all reach bounds[i] some lesser number that reaches it will do;
    // bounds may be nullptr. out_stride is a multiple of 8: what lies beyond the last center of a
    // row is overwritten.
    void (*to_all)(const T* x, std::int64_t d, const std::int32_t* rows, std::int64_t n_rows,
                   const double* centers, std::int64_t center_stride, std::int64_t n_centers,
                   const double* bounds, double* out, std::int64_t out_stride);

    // out[i] = that of row i to centers[labels[i]], labels == nullptr means 0.
    void (*to_own)(const T* x, std::int64_t n_rows, std::int64_t d, const double* centers,
                   std::int64_t center_stride, const std::int32_t* labels, double* out);

    // Keeps those of `rows` that may be nearer than their limit to some candidate, measured in T to
    // within d + 3 roundings; returns their number. candidates (n_candidates, stride), a multiple
    // of 4 candidates and of 16 values, zeros beyond column d. nullptr where T would save nothing.
    std::int64_t (*keep_near)(const T* x, std::int64_t d, std::int32_t* rows, std::int64_t n_rows,
                              const T* candidates, std::int64_t stride, std::int64_t n_candidates,
                              const T* limits);

    // Raises highest[j] (INOUT) to the bits of the magnitudes of column j.
    void (*raise_magnitudes)(const T* x, std::int64_t n_rows, std::int64_t d, Bits<T>* highest);
};

}  // namespace harpy::kmeans
