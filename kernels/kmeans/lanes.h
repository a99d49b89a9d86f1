// The inner loops themselves, compiled once per instruction set: each lanes_*.cpp sets its target
// and includes this file. Everything is in an unnamed namespace and uses no library template, so
// that no code of one instruction set can be linked into another.
//
// Lanes run over centers, never over columns: every score and distance is one fused-multiply-add
// chain in column order, so that vector width and tiling cannot change a bit.

#include <cstdint>

#include "lane_kernels.h"

namespace harpy::kmeans {
namespace {

inline float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }

// Scores of R rows against one panel of L centers: half_norm - x'c'.
template <class T, int R, int L>
inline void score_tile(const T* __restrict x, std::int64_t d, const T* __restrict panel,
                       const T* __restrict half_norms, T (&score)[R][L]) {
    for (int r = 0; r < R; ++r)
        for (int l = 0; l < L; ++l) score[r][l] = half_norms[l];
    for (std::int64_t j = 0; j < d; ++j) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
            const T minus_x = -x[r * d + j];
#pragma omp simd
            for (int l = 0; l < L; ++l) {
                score[r][l] = fused(minus_x, panel[j * L + l], score[r][l]);
            }
        }
    }
}

// Keeps per lane the lowest score and its first center: panels come in ascending order.
template <class T, int L>
inline void keep_lower(const T* __restrict score, Index<T> first_center, T* __restrict best,
                       Index<T>* __restrict index) {
#pragma omp simd
    for (int l = 0; l < L; ++l) {
        const bool lower = score[l] < best[l];
        best[l] = lower ? score[l] : best[l];
        index[l] = lower ? first_center + static_cast<Index<T>>(l) : index[l];
    }
}

template <class T, int L>
inline std::int32_t lowest_lane(const T* best, const Index<T>* index) {
    T lowest = best[0];
    Index<T> label = index[0];
    for (int l = 1; l < L; ++l) {
        if (best[l] < lowest || (best[l] == lowest && index[l] < label)) {
            lowest = best[l];
            label = index[l];
        }
    }
    return static_cast<std::int32_t>(label);
}

template <class T, int R, int L>
void nearest(const T* x, std::int64_t n_rows, std::int64_t d, const T* panels, const T* half_norms,
             std::int64_t n_panels, T* best, Index<T>* index, std::int32_t* labels) {
    for (std::int64_t i = 0; i < n_rows; ++i) {
        for (int l = 0; l < L; ++l) {
            best[i * L + l] = static_cast<T>(__builtin_inf());
            index[i * L + l] = l;
        }
    }
    for (std::int64_t p = 0; p < n_panels; ++p) {
        for (std::int64_t i = 0; i < n_rows; i += R) {
            T score[R][L];
            score_tile<T, R, L>(x + i * d, d, panels + p * d * L, half_norms + p * L, score);
            for (int r = 0; r < R; ++r) {
                keep_lower<T, L>(score[r], static_cast<Index<T>>(p * L), best + (i + r) * L,
                                 index + (i + r) * L);
            }
        }
    }
    for (std::int64_t i = 0; i < n_rows; ++i) {
        labels[i] = lowest_lane<T, L>(best + i * L, index + i * L);
    }
}

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

template <class T>
void add_split(const T* __restrict row, std::int64_t d, const double* __restrict magic_high,
               const double* __restrict magic_low, double* __restrict high,
               double* __restrict low) {
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) {
        const double value = static_cast<double>(row[j]);
        const double upper = (value + magic_high[j]) - magic_high[j];
        high[j] += upper;
        low[j] += ((value - upper) + magic_low[j]) - magic_low[j];
    }
}

// V: vector bytes of the target; R: rows of a tile, so that tile, panel and row fit the registers.
template <class T, int V, int R>
constexpr RowKernels<T> make_row_kernels() {
    constexpr int kLanes = V / static_cast<int>(sizeof(T));
    return RowKernels<T>{
        R,
        {kLanes, 2 * kLanes, 3 * kLanes},
        V / static_cast<int>(sizeof(double)),
        {nearest<T, R, kLanes>, nearest<T, R, 2 * kLanes>, nearest<T, R, 3 * kLanes>},
        label_distances<T>,
        distances<T, V / static_cast<int>(sizeof(double))>,
        add_split<T>,
    };
}

template <int V, int R>
constexpr LaneKernels make_lane_kernels(const char* name) {
    return LaneKernels{name, make_row_kernels<float, V, R>(), make_row_kernels<double, V, R>()};
}

}  // namespace
}  // namespace harpy::kmeans
