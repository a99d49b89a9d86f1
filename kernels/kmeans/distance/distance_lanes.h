// The inner loops of passes that measure distances, compiled once per instruction set beside
// lanes.h and under the same rules.
//
// A squared distance is eight fused-multiply-add chains, chain l over the columns j = l mod 8, that
// are folded in one fixed tree: lanes may run over columns, and vector width cannot change a bit.
// The target's Eight must have been included before.

#include <cstdint>

#include "isa/lane_kernels.h"
#include "isa/prefetch.h"
#include "ranges/magnitudes.h"

namespace harpy::kmeans {
namespace {

// Columns between two looks at whether a distance is beyond its bound already.
constexpr std::int64_t kColumnsPerLook = 256;

// Sums that a row of C distances takes: a whole fold rather than more than half of one, so that
// they are stored at once.
template <int C>
constexpr int kRowSums = C > kFolded / 2 ? kFolded : C;

// Adds columns [begin, end) of C centers to the sums of R rows; centers are padded with zeros to
// whole loads.
template <class T, int R, int C>
inline void add_columns(const T* const (&row)[R], const double* const (&center)[C],
                        std::int64_t begin, std::int64_t end, Eight (&sums)[kHeld]) {
    Eight x[R];
    const auto add = [&](std::int64_t j) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
            const Eight value = Eight::load(center[c] + j);
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) {
                const Eight difference = x[r] - value;
                Eight& sum = sums[r * kRowSums<C> + c];
                sum = fused(difference, difference, sum);
            }
        }
    };
    std::int64_t j = begin;
    for (; j + 8 <= end; j += 8) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) x[r] = Eight::load(row[r] + j);
        add(j);
    }
    if (j < end) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) x[r] = Eight::load_some(row[r] + j, end - j);
        add(j);
    }
}

// Distances of R rows to C centers.
template <class T, int R, int C>
inline void distance_tile(const T* const (&row)[R], std::int64_t d,
                          const double* const (&center)[C], const double (&bound)[R], double* out,
                          std::int64_t out_stride) {
    Eight sums[kHeld];
    double folded[kHeld];
#pragma GCC unroll 16
    for (int p = 0; p < kHeld; ++p) sums[p] = Eight::zero();
    for (std::int64_t begin = 0, end;; begin = end) {
        end = begin + kColumnsPerLook < d ? begin + kColumnsPerLook : d;
        add_columns<T, R, C>(row, center, begin, end, sums);
#pragma GCC unroll 4
        for (int p = 0; p < R * kRowSums<C>; p += kFolded) fold(sums + p, folded + p);
        if (end == d) break;
        // Chains of squares and their tree never fall: what is beyond its bound stays there.
        bool within = false;
        for (int r = 0; r < R; ++r)
            for (int c = 0; c < C; ++c) within |= folded[r * kRowSums<C> + c] < bound[r];
        if (!within) break;
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < kRowSums<C>; ++c) {
            out[r * out_stride + c] = folded[r * kRowSums<C> + c];
        }
}

// Distances of all listed rows to C centers.
template <class T, int C>
void distances_to(const T* x, std::int64_t d, const std::int32_t* rows, std::int64_t n_rows,
                  const double* centers, std::int64_t center_stride, const double* bounds,
                  double* out, std::int64_t out_stride) {
    constexpr int R = kHeld / kRowSums<C> < 4 ? kHeld / kRowSums<C> : 4;
    const double* center[C];
    for (int c = 0; c < C; ++c) center[c] = centers + c * center_stride;
    const auto row_at = [&](std::int64_t i) { return x + (rows == nullptr ? i : rows[i]) * d; };
    const auto bound_at = [&](std::int64_t i) {
        return bounds == nullptr ? __builtin_inf() : bounds[i];
    };
    const std::int64_t ahead = R + rows_ahead<T>(d);
    std::int64_t i = 0;
    for (; i + R <= n_rows; i += R) {
        const T* row[R];
        double bound[R];
        for (int r = 0; r < R; ++r) {
            if (i + r + ahead < n_rows) prefetch_row(row_at(i + r + ahead), d);
            row[r] = row_at(i + r);
            bound[r] = bound_at(i + r);
        }
        distance_tile<T, R, C>(row, d, center, bound, out + i * out_stride, out_stride);
    }
    for (; i < n_rows; ++i) {
        distance_tile<T, 1, C>({row_at(i)}, d, center, {bound_at(i)}, out + i * out_stride,
                               out_stride);
    }
}

// The C or fewer centers that are left.
template <class T, int C>
void distances_to_last(const T* x, std::int64_t d, const std::int32_t* rows, std::int64_t n_rows,
                       const double* centers, std::int64_t center_stride, std::int64_t n_centers,
                       const double* bounds, double* out, std::int64_t out_stride) {
    if (n_centers == C) {
        distances_to<T, C>(x, d, rows, n_rows, centers, center_stride, bounds, out, out_stride);
    } else if constexpr (C > 1) {
        distances_to_last<T, C - 1>(x, d, rows, n_rows, centers, center_stride, n_centers, bounds,
                                    out, out_stride);
    }
}

// ((s0+s4)+(s2+s6))+((s1+s5)+(s3+s7)) of D squares, lane by lane: what is not there is zero.
template <int D, int kFirst = 0, int kStep = 1>
inline double fold_short(const double (&squares)[D][8], int lane) {
    if constexpr (kFirst + kStep < D) {
        return fold_short<D, kFirst, 2 * kStep>(squares, lane) +
               fold_short<D, kFirst + kStep, 2 * kStep>(squares, lane);
    } else {
        return squares[kFirst][lane];
    }
}

// Distances of rows of D columns, a center a lane: chains of one term each.
template <class T, int D>
void short_to_all(const T* x, const std::int32_t* rows, std::int64_t n_rows, const double* centers,
                  std::int64_t center_stride, std::int64_t n_centers, double* out,
                  std::int64_t out_stride) {
    for (std::int64_t first = 0; first < n_centers; first += 8) {
        alignas(64) double columns[D][8] = {};
        for (std::int64_t c = first; c < n_centers && c < first + 8; ++c) {
            for (int j = 0; j < D; ++j) columns[j][c - first] = centers[c * center_stride + j];
        }
        for (std::int64_t i = 0; i < n_rows; ++i) {
            const T* row = x + (rows == nullptr ? i : rows[i]) * D;
            alignas(64) double squares[D][8];
#pragma GCC unroll 4
            for (int j = 0; j < D; ++j) {
                const auto value = static_cast<double>(row[j]);
#pragma omp simd
                for (int l = 0; l < 8; ++l) {
                    const double difference = value - columns[j][l];
                    squares[j][l] = difference * difference;
                }
            }
#pragma omp simd
            for (int l = 0; l < 8; ++l) {
                out[i * out_stride + first + l] = fold_short<D>(squares, l);
            }
        }
    }
}

template <class T>
void to_all(const T* x, std::int64_t d, const std::int32_t* rows, std::int64_t n_rows,
            const double* centers, std::int64_t center_stride, std::int64_t n_centers,
            const double* bounds, double* out, std::int64_t out_stride) {
    constexpr decltype(&short_to_all<T, 1>) kShort[] = {short_to_all<T, 1>, short_to_all<T, 2>,
                                                        short_to_all<T, 3>, short_to_all<T, 4>};
    if (0 < d && d <= 4) {
        kShort[d - 1](x, rows, n_rows, centers, center_stride, n_centers, out, out_stride);
        return;
    }
    for (std::int64_t c = 0; c < n_centers; c += kFolded) {
        const std::int64_t n = n_centers - c < kFolded ? n_centers - c : kFolded;
        distances_to_last<T, kFolded>(x, d, rows, n_rows, centers + c * center_stride,
                                      center_stride, n, bounds, out + c, out_stride);
    }
}

// Distances of P rows, one below the other, to centers of their own; those `ahead` rows further on
// are prefetched.
template <class T, int P>
inline void own_tile(const T* x, std::int64_t d, const double* centers, std::int64_t center_stride,
                     const std::int32_t* labels, std::int64_t ahead, double* out) {
    constexpr std::int64_t kLine = 64 / sizeof(T);
    const double* center[P];
    Eight sums[kFolded];
    double folded[kFolded];
#pragma GCC unroll 8
    for (int p = 0; p < kFolded; ++p) sums[p] = Eight::zero();
    for (int p = 0; p < P; ++p) {
        center[p] = centers + (labels == nullptr ? 0 : labels[p]) * center_stride;
    }
    const auto add = [&](int p, Eight value, std::int64_t j) {
        const Eight difference = value - Eight::load(center[p] + j);
        sums[p] = fused(difference, difference, sums[p]);
    };
    std::int64_t j = 0;
    for (; j + 8 <= d; j += 8) {
        if (j % kLine == 0) {
#pragma GCC unroll 8
            for (int p = 0; p < P; ++p) prefetch_line(x + (ahead + p) * d + j);
        }
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) add(p, Eight::load(x + p * d + j), j);
    }
    if (j < d) {
#pragma GCC unroll 8
        for (int p = 0; p < P; ++p) add(p, Eight::load_some(x + p * d + j, d - j), j);
    }
    fold(sums, folded);
    for (int p = 0; p < P; ++p) out[p] = folded[p];
}

template <class T>
void to_own(const T* x, std::int64_t n_rows, std::int64_t d, const double* centers,
            std::int64_t center_stride, const std::int32_t* labels, double* out) {
    const auto labels_at = [&](std::int64_t i) { return labels == nullptr ? nullptr : labels + i; };
    const std::int64_t ahead = kFolded + rows_ahead<T>(d);
    std::int64_t i = 0;
    for (; i + kFolded <= n_rows; i += kFolded) {
        own_tile<T, kFolded>(x + i * d, d, centers, center_stride, labels_at(i), ahead, out + i);
    }
    for (; i < n_rows; ++i) {
        own_tile<T, 1>(x + i * d, d, centers, center_stride, labels_at(i), 0, out + i);
    }
}

// What each candidate would take off the potentials of n rows: `distances` (n, stride) against
// `potentials`, both times the row's weight, in truncated units of 1 / (first * second). Adds to
// the gains' low 32 bits and the bits above them, and marks in `lowered` who lowers the row:
// candidate c in bit c, those from 7 on share the last.
void add_gains(const double* distances, std::int64_t n_rows, std::int64_t stride, int n_candidates,
               const double* potentials, const double* weights, UnitScale scale, std::int64_t* low,
               std::int64_t* high, std::uint8_t* lowered) {
    constexpr std::int64_t kRows = 256;
    for (std::int64_t i = 0; i < n_rows; ++i) lowered[i] = 0;
    for (int c = 0; c < n_candidates; c += 8) {
        const unsigned candidates = n_candidates - c < 8 ? (1u << (n_candidates - c)) - 1 : 0xffu;
        alignas(64) std::int64_t lows[8] = {}, highs[8] = {};
        for (std::int64_t begin = 0; begin < n_rows; begin += kRows) {
            const std::int64_t end = n_rows - begin < kRows ? n_rows : begin + kRows;
            // Which rows some candidate lowers is foreseen by nobody: they are listed first.
            std::int64_t rows[kRows], n_listed = 0;
            for (std::int64_t i = begin; i < end; ++i) {
                const unsigned marks =
                    below(distances + i * stride + c, potentials[i]) & candidates;
                lowered[i] |= static_cast<std::uint8_t>(c == 0 ? marks : (marks != 0) << 7);
                rows[n_listed] = i;
                n_listed += marks != 0;
            }
            for (std::int64_t at = 0; at < n_listed; ++at) {
                const std::int64_t i = rows[at];
                const double potential = potentials[i], weight = weights[i];
                const double* distance = distances + i * stride + c;
                const std::int64_t units = scale(weight * potential);
                // A distance beyond the potential may also be beyond the integers. (In one loop gcc
                // makes a branch of it.)
                alignas(64) double least[8];
#pragma omp simd
                for (int l = 0; l < 8; ++l) {
                    least[l] = distance[l] < potential ? distance[l] : potential;
                }
#pragma omp simd
                for (int l = 0; l < 8; ++l) {
                    const std::int64_t gain = units - scale(weight * least[l]);
                    lows[l] += gain & 0xffffffff;
                    highs[l] += gain >> 32;
                }
            }
        }
        for (int l = 0; l < 8; ++l) {
            low[c + l] += lows[l];
            high[c + l] += highs[l];
        }
    }
}

// Raises highest[j] to the magnitude of every row's column j.
template <class T>
void raise_magnitudes(const T* __restrict x, std::int64_t n_rows, std::int64_t d,
                      Bits<T>* __restrict highest) {
    const auto higher = [](Bits<T> a, Bits<T> b) { return a > b ? a : b; };
    std::int64_t i = 0;
    const std::int64_t ahead = 4 + rows_ahead<T>(d);
    for (; i + 4 <= n_rows; i += 4, x += 4 * d) {
        prefetch_row(x + ahead * d, 4 * d);
#pragma omp simd
        for (std::int64_t j = 0; j < d; ++j) {
            const Bits<T> a = higher(magnitude_bits(x[j]), magnitude_bits(x[d + j]));
            const Bits<T> b = higher(magnitude_bits(x[2 * d + j]), magnitude_bits(x[3 * d + j]));
            highest[j] = higher(highest[j], higher(a, b));
        }
    }
    for (; i < n_rows; ++i, x += d) {
#pragma omp simd
        for (std::int64_t j = 0; j < d; ++j) highest[j] = higher(highest[j], magnitude_bits(x[j]));
    }
}

// Splits n values, a multiple of 8, by two magic numbers and adds each word lane by lane to
// words (2, 8); false where a value is more than two words.
bool add_words(const double* __restrict values, std::int64_t n, double magic_high, double magic_low,
               double* __restrict words) {
    std::int64_t rest[8] = {};
    for (std::int64_t i = 0; i < n; i += 8) {
#pragma omp simd
        for (int l = 0; l < 8; ++l) {
            const double value = values[i + l];
            const double high = (value + magic_high) - magic_high;
            const double low = ((value - high) + magic_low) - magic_low;
            words[l] += high;
            words[8 + l] += low;
            rest[l] |= magnitude_bits(value - high - low);
        }
    }
    std::int64_t any = 0;
    for (int l = 0; l < 8; ++l) any |= rest[l];
    return any == 0;
}

template <class T>
constexpr DistanceKernels<T> make_distance_kernels() {
    return DistanceKernels<T>{to_all<T>, to_own<T>, nullptr, raise_magnitudes<T>};
}

}  // namespace
}  // namespace harpy::kmeans
