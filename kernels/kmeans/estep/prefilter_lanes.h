// Searches of all centers in 16-bit integers, two columns in a lane, lanes over rows: compiled once
// per instruction set, over the vectors of isa/. A row is certain where its lowest score is
// below all others by more than what rounding to integers can do; docs/numerics.md has the bound.
#pragma once

#include <cstdint>

#include "estep/exhaustive_lanes.h"
#include "isa/lane_kernels.h"
#include "isa/transpose.h"

namespace harpy::kmeans {
namespace {

// Rows (n_rows, d) less the offset, and the column of the half norms, as integers: pairs
// (n_pairs, kRows), lanes beyond the last row repeat it. norm[r] and error[r] are at least the
// norms of scaled row r and of what rounding took from it, unit[r] is what its scale multiplied it
// with.
template <class P, class T>
inline void round_rows(const PrefilterRows<T>& given, float* norm, float* error, float* unit) {
    using S = typename P::Simd;
    using Vector = typename S::Vector;
    constexpr int L = P::kLanes, kRows = ScanShape<P>::kRows;
    const std::int64_t d = given.d, last = given.n_rows - 1;
    const float one = given.units.one;
    for (int first = 0; first < kRows; first += L) {
        const T* rows[L];
        for (int l = 0; l < L; ++l) rows[l] = given.rows[first + l < last ? first + l : last];
        Vector block[L], lost = S::set1(0.0f);
        const auto load = [&](std::int64_t j, int n, int l) {
            const T *values = rows[l] + j, *offset = given.offset + j;
            if constexpr (sizeof(T) == sizeof(float)) {
                const Vector value = S::sub(S::load_first(values, n), S::load_first(offset, n));
                return S::mul(value, S::set1(given.units.scale));
            } else {
                return P::load_scaled(values, offset, n, given.units.scale);
            }
        };
        const auto add_squares = [&](std::int64_t j, int n) {
#pragma GCC unroll 16
            for (int l = 0; l < L; ++l) {
                const Vector value = load(j, n, l);
                block[l] = S::fma(value, value, block[l]);
            }
        };
#pragma GCC unroll 16
        for (int l = 0; l < L; ++l) block[l] = S::set1(0.0f);
        std::int64_t j = 0;
        for (; j + L <= d; j += L) add_squares(j, L);
        add_squares(j, static_cast<int>(d - j));
        transpose<S>(block);
        for (int l = 1; l < L; ++l) block[0] = S::add(block[0], block[l]);
        S::store(norm + first, S::add(block[0], S::set1(one * one)));
        for (int l = 0; l < L; ++l) {
            const float length = __builtin_sqrtf(norm[first + l]);
            unit[first + l] =
                kPrefilterNorm / (length > kPrefilterLeast ? length : kPrefilterLeast);
            norm[first + l] = length * unit[first + l] * kPrefilterGuard;
        }
        const Vector units = S::load(unit + first);
        const auto round = [&](std::int64_t j, int l) {
            const Vector a = S::mul(block[l], units), b = S::mul(block[l + 1], units);
            const auto rounded_a = P::round(a), rounded_b = P::round(b);
            const Vector lost_a = S::sub(a, P::to_float(rounded_a));
            const Vector lost_b = S::sub(b, P::to_float(rounded_b));
            lost = S::fma(lost_a, lost_a, S::fma(lost_b, lost_b, lost));
            P::store(given.pairs + (j + l) / 2 * kRows + first, P::halves(rounded_a, rounded_b));
        };
        for (j = 0; j + L <= d; j += L) {
#pragma GCC unroll 16
            for (int l = 0; l < L; ++l) block[l] = load(j, L, l);
            transpose<S>(block);
#pragma GCC unroll 8
            for (int l = 0; l < L; l += 2) round(j, l);
        }
        const int n = static_cast<int>(d - j);
#pragma GCC unroll 16
        for (int l = 0; l < L; ++l) block[l] = load(j, n, l);
        transpose<S>(block);
        block[n] = S::set1(one);
        for (int l = 0; l <= n; l += 2) round(j, l);
        S::store(error + first, lost);
    }
    // Scaling rounds each value once or twice before that.
    constexpr float kScaled = kPrefilterNorm * 0x1p-22f;
    for (int r = 0; r < kRows; ++r)
        error[r] = __builtin_sqrtf(error[r]) * kPrefilterGuard + kScaled;
}

// Each lane keeps the two lowest scores of each group, with the slots of their centers in their
// last bits.
template <class P, class T>
void search_prefiltered(const PrefilterRows<T>& given, const PrefilterFound<T>& found) {
    using Vector = typename P::Vector;
    constexpr int V = ScanShape<P>::kVectors, C = ScanShape<P>::kCenters, L = P::kLanes;
    constexpr int kRows = V * L;
    alignas(64) float norm[kRows], error[kRows];
    float* const unit = found.unit;
    round_rows<P>(given, norm, error, unit);
    std::int32_t* const lows = given.lows;
    std::int32_t* const seconds = lows + given.n_groups * kRows;
    for (std::int64_t i = 0; i < 2 * given.n_groups * kRows; ++i) lows[i] = kPrefilterHighest;
    const std::int32_t tag = (1 << given.units.tag_bits) - 1;
    meet<P>({given.pairs, given.centers, given.starts, given.n_pairs, given.n_panels},
            RowsAhead(given.ahead, given.n_ahead_bytes, given.n_panels),
            [&](std::int64_t panel, Scores<P>& score) {
                const Vector mask = P::set1(tag);
                const std::int32_t* slots = given.slots + panel * C;
                std::int32_t* const low = lows + given.group_of[panel] * kRows;
                std::int32_t* const second = seconds + given.group_of[panel] * kRows;
#pragma GCC unroll 3
                for (int v = 0; v < V; ++v) {
                    Vector lowest = P::load(low + v * L), next = P::load(second + v * L);
#pragma GCC unroll 8
                    for (int c = 0; c < C; ++c) {
                        const Vector tagged = P::select(mask, score[c][v], P::set1(slots[c]));
                        next = P::min(next, P::max(lowest, tagged));
                        lowest = P::min(lowest, tagged);
                    }
                    P::store(low + v * L, lowest);
                    P::store(second + v * L, next);
                }
            });
    const PrefilterUnits<T>& units = given.units;
    // What tags, and arithmetic in float32, may add to a score or take from it.
    const float rounding = static_cast<float>(1 << units.tag_bits) + 0x1p10f;
    alignas(64) std::int32_t second[kRows], own[kRows];
    std::int32_t* const low = found.lowest;
    for (int r = 0; r < kRows; ++r) {
        const float integers = error[r] * units.norm + (norm[r] + error[r]) * units.error;
        const float chains =
            units.chain_error * (unit[r] * units.half_norm + norm[r] * units.norm) +
            unit[r] * units.underflow;
        found.doubt[r] = rounding + kPrefilterGuard * (integers + chains);
        low[r] = second[r] = kPrefilterHighest;
        own[r] = 0;
    }
    const auto n_groups = static_cast<std::int32_t>(given.n_groups);
    for (std::int32_t g = 0; g < n_groups; ++g) {
        const std::int32_t *lows_here = lows + g * kRows, *seconds_here = seconds + g * kRows;
        for (int r = 0; r < kRows; ++r) {
            const std::int32_t here = lows_here[r], next = seconds_here[r];
            const std::int32_t higher = low[r] > here ? low[r] : here;
            const std::int32_t lesser = higher < next ? higher : next;
            second[r] = second[r] < lesser ? second[r] : lesser;
            own[r] = here < low[r] ? g : own[r];
            low[r] = here < low[r] ? here : low[r];
        }
    }
    for (int r = 0; r < kRows; ++r) {
        const float gap = static_cast<float>(second[r]) - static_cast<float>(low[r]);
        found.certain[r] = gap > 2.0f * found.doubt[r];
    }
    if (found.most == nullptr) return;
    for (int r = 0; r < kRows; ++r) {
        const float most = static_cast<float>(low[r]) + found.doubt[r];
        found.most[r] = units.real_score(most, unit[r]);
    }
    for (std::int32_t g = 0; g < n_groups; ++g) {
        const std::int32_t *lows_here = lows + g * kRows, *seconds_here = seconds + g * kRows;
        for (int r = 0; r < kRows; ++r) {
            const std::int32_t lowest = g == own[r] ? seconds_here[r] : lows_here[r];
            const T least = units.real_score(static_cast<float>(lowest) - found.doubt[r], unit[r]);
            found.least[g * kRows + r] =
                lowest < kPrefilterHighest ? least : static_cast<T>(__builtin_inf());
        }
    }
}

template <class P>
constexpr void add_prefilters(LaneKernels& kernels) {
    constexpr int kRows = ScanShape<P>::kRows, kCenters = ScanShape<P>::kCenters;
    kernels.single.prefilter = {kRows, kCenters, search_prefiltered<P, float>};
    kernels.dual.prefilter = {kRows, kCenters, search_prefiltered<P, double>};
}

template <class P>
constexpr LaneKernels with_prefilters(LaneKernels kernels) {
    add_prefilters<P>(kernels);
    return kernels;
}

}  // namespace
}  // namespace harpy::kmeans
