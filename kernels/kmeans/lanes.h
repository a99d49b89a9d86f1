// The inner loops themselves, compiled once per instruction set: each lanes_*.cpp sets its target
// and includes this file. Everything is in an unnamed namespace and uses no library template, so
// that no code of one instruction set can be linked into another.
//
// Lanes run over centers, never over columns: every score and distance is one fused-multiply-add
// chain in column order, so that vector width and tiling cannot change a bit.

#include <cstdint>

#include "bounds_lanes.h"
#include "lane_kernels.h"
#include "tiles.h"

namespace harpy::kmeans {
namespace {

inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }

// Squared distances of G rows, each to a center of its own: G chains side by side.
template <class T, int G>
inline void label_distance_group(const T* x, std::int64_t d, const double* centers,
                                 const std::int32_t* labels, double* out) {
    const double* center[G];
    double sum[G];
    for (int g = 0; g < G; ++g) {
        center[g] = centers + (labels == nullptr ? 0 : labels[g]) * d;
        sum[g] = 0.0;
    }
    for (std::int64_t j = 0; j < d; ++j) {
#pragma GCC unroll 8
        for (int g = 0; g < G; ++g) {
            const double difference = static_cast<double>(x[g * d + j]) - center[g][j];
            sum[g] = fused(difference, difference, sum[g]);
        }
    }
    for (int g = 0; g < G; ++g) out[g] = sum[g];
}

template <class T>
void label_distances(const T* x, std::int64_t n_rows, std::int64_t d, const double* centers,
                     const std::int32_t* labels, double* out) {
    constexpr int kGroup = 8;
    std::int64_t i = 0;
    for (; i + kGroup <= n_rows; i += kGroup) {
        label_distance_group<T, kGroup>(x + i * d, d, centers,
                                        labels == nullptr ? nullptr : labels + i, out + i);
    }
    for (; i < n_rows; ++i) {
        label_distance_group<T, 1>(x + i * d, d, centers, labels == nullptr ? nullptr : labels + i,
                                   out + i);
    }
}

template <class T, int R, int L>
inline void distance_tile(const T* __restrict x, std::int64_t d, const double* __restrict panel,
                          double* __restrict out, std::int64_t out_stride) {
    double sum[R][L];
    for (int r = 0; r < R; ++r)
        for (int l = 0; l < L; ++l) sum[r][l] = 0.0;
    for (std::int64_t j = 0; j < d; ++j) {
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            const double value = static_cast<double>(x[r * d + j]);
#pragma omp simd
            for (int l = 0; l < L; ++l) {
                const double difference = value - panel[j * L + l];
                sum[r][l] = fused(difference, difference, sum[r][l]);
            }
        }
    }
    for (int r = 0; r < R; ++r)
        for (int l = 0; l < L; ++l) out[r * out_stride + l] = sum[r][l];
}

template <class T, int L>
void distances(const T* x, std::int64_t n_rows, std::int64_t d, const double* panels,
               std::int64_t n_panels, double* out) {
    constexpr int kTileRows = 4;
    const std::int64_t stride = n_panels * L;
    for (std::int64_t p = 0; p < n_panels; ++p) {
        const double* panel = panels + p * d * L;
        std::int64_t i = 0;
        for (; i + kTileRows <= n_rows; i += kTileRows) {
            distance_tile<T, kTileRows, L>(x + i * d, d, panel, out + i * stride + p * L, stride);
        }
        for (; i < n_rows; ++i) {
            distance_tile<T, 1, L>(x + i * d, d, panel, out + i * stride + p * L, stride);
        }
    }
}

// V: vector bytes of the target.
template <class S, int V>
constexpr RowKernels<typename S::Scalar> make_row_kernels() {
    using T = typename S::Scalar;
    constexpr int kDistanceLanes = V / static_cast<int>(sizeof(double));
    return RowKernels<T>{make_tile_kernels<S>(), write_record<T>, kDistanceLanes,
                         label_distances<T>, distances<T, kDistanceLanes>};
}

template <int V>
constexpr LaneKernels make_lane_kernels(const char* name) {
    return LaneKernels{name,
                       make_row_kernels<SimdFloat, V>(),
                       make_row_kernels<SimdDouble, V>(),
                       test_bounds,
                       groups_in_reach,
                       test_few};
}

}  // namespace
}  // namespace harpy::kmeans
