// What lets a row keep its label unread, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "lane_kernels.h"

namespace harpy::kmeans {
namespace {

// A row's groups in reach are the bits of one word.
constexpr int kMaxGroups = 64;

inline float margin_of(std::int32_t code, const RecordFormat& format) {
    const std::int32_t bits = (code + format.bias) << format.shift;
    return code == 0 ? 0.0f : __builtin_bit_cast(float, bits);
}

// Codes of all groups; the buffer of records is longer than its last record by kGroupLanes.
inline void read_codes(const std::uint8_t* record, const RecordFormat& format,
                       std::int32_t* codes) {
    record += 2;
    if (format.bits == 8) {
        for (int first = 0; first < format.n_groups; first += kGroupLanes) {
#pragma omp simd
            for (int g = 0; g < kGroupLanes; ++g) codes[first + g] = record[first + g];
        }
    } else {
        // The first half of the groups in the low digits, the other half in the high ones.
        const int half = format.n_bytes - 2;
        for (int first = 0; first < half; first += kGroupLanes) {
#pragma omp simd
            for (int g = 0; g < kGroupLanes; ++g) codes[first + g] = record[first + g] & 15;
        }
        for (int first = 0; first < half; first += kGroupLanes) {
#pragma omp simd
            for (int g = 0; g < kGroupLanes; ++g) codes[half + first + g] = record[first + g] >> 4;
        }
    }
}

// docs/numerics.md proves the inequality.
inline std::int64_t test_bounds(const BoundsTest& test, std::int64_t begin, std::int64_t n_rows,
                                std::uint8_t* may_move) {
    std::int64_t n_kept_by_gap = 0;
    for (std::int64_t i = 0; i < n_rows; ++i) {
        const std::int64_t row = begin + i;
        const CenterBounds center = test.centers[test.labels[row]];
        const std::uint8_t* record = test.records + row * test.format.n_bytes;
        const float upper = (test.upper[row] + center.moved) * kGuard;
        const float reach = upper + center.radius;
        const float excess = static_cast<float>(record[1]) * test.format.base_unit - upper;
        const float* group_moves = test.group_moves + record[0] * test.format.n_groups;
        std::int32_t codes[kMaxGroups + kGroupLanes];
        read_codes(record, test.format, codes);
        std::int32_t unsure = 0;
        for (int first = 0; first < test.format.n_groups; first += kGroupLanes) {
#pragma omp simd reduction(| : unsure)
            for (int lane = 0; lane < kGroupLanes; ++lane) {
                const int g = first + lane;
                const float radii = test.group_radius[g] + center.radius;
                const float slack = test.score_slack * radii * (radii + 2.0f * reach) +
                                    test.shift_slack * reach * (reach + radii) + test.floor;
                const float margin = margin_of(codes[g], test.format) + excess - group_moves[g];
                unsure |= !((margin > 0.0f) & (margin * (margin + 2.0f * upper) > slack));
            }
        }
        const bool near = upper * kGuard < center.half_gap;
        n_kept_by_gap += near & (unsure != 0);
        may_move[i] = unsure != 0 && !near;
    }
    return n_kept_by_gap;
}

inline std::uint64_t groups_in_reach(const BoundsTest& test, std::int64_t row, float upper,
                                     float radius, float* lower) {
    const std::uint8_t* record = test.records + row * test.format.n_bytes;
    const float* group_moves = test.group_moves + record[0] * test.format.n_groups;
    const float base = static_cast<float>(record[1]) * test.format.base_unit;
    const float reach = upper + radius;
    std::int32_t codes[kMaxGroups + kGroupLanes];
    read_codes(record, test.format, codes);
    std::uint8_t in_reach[kMaxGroups] = {};
    for (int first = 0; first < test.format.n_groups; first += kGroupLanes) {
#pragma omp simd
        for (int lane = 0; lane < kGroupLanes; ++lane) {
            const int g = first + lane;
            const float radii = test.group_radius[g] + radius;
            const float slack = test.score_slack * radii * (radii + 2.0f * reach) +
                                test.shift_slack * reach * (reach + radii) + test.floor;
            const float low =
                (base + margin_of(codes[g], test.format)) * (2.0f - kGuard) - group_moves[g];
            const bool out = (low > 0.0f) & (low * low > (upper * upper + slack) * kGuard);
            lower[g] = out ? low : kFar;
            in_reach[g] = !out;
        }
    }
    std::uint64_t groups = 0;
    for (int byte = 0; byte < kMaxGroups / 8; ++byte) {
        std::uint64_t eight;
        __builtin_memcpy(&eight, in_reach + 8 * byte, sizeof eight);
        groups |= (eight * 0x0102040810204080u >> 56) << 8 * byte;  // one bit from each byte
    }
    return groups;
}

template <class T>
inline void write_record(const Margins<T>& margins, const Finding<T>& row,
                         const RecordFormat& format, std::uint8_t* record) {
    const bool stays = row.group_moves != nullptr;
    std::int32_t codes[kMaxGroups + kGroupLanes] = {};
    if (stays) {
        read_codes(record, format, codes);
    } else {
        const float units = row.upper / format.base_unit;
        record[0] = row.stamp;
        record[1] = static_cast<std::uint8_t>(units < 255.0f ? units : 255.0f);
    }
    const T row_norm = square_root(row.squared);
    const float base = static_cast<float>(record[1]) * format.base_unit * kGuard;
    const std::int32_t most = (1 << format.bits) - 1;
    for (int first = 0; first < format.n_groups; first += kGroupLanes) {
#pragma omp simd
        for (int lane = 0; lane < kGroupLanes; ++lane) {
            const int g = first + lane;
            // A panel of a group that was not searched may have been: the row's own.
            const float found =
                lower_distance(margins, row.group_low[g], row_norm, row.group_norm[g]);
            const bool searched = row.lower[g] == kFar;
            const float limit = searched ? row.far : row.lower[g];
            const float low = found < limit ? found : limit;
            const float moves = stays ? row.group_moves[g] * (2.0f - kGuard) : 0.0f;
            const float margin = low * (2.0f - kGuard) - base + moves;
            const std::int32_t code =
                (__builtin_bit_cast(std::int32_t, margin > 0 ? margin : 0.0f) >> format.shift) -
                format.bias;
            const std::int32_t clamped = code < 0 ? 0 : code < most ? code : most;
            codes[g] = stays & !searched & (found >= limit) ? codes[g] : clamped;
        }
    }
    std::uint8_t packed[kMaxGroups];
    const int n_codes = format.n_bytes - 2;
    if (format.bits == 8) {
        for (int g = 0; g < kMaxGroups; ++g) packed[g] = static_cast<std::uint8_t>(codes[g]);
    } else {
        for (int g = 0; g < kMaxGroups / 2; ++g) {
            packed[g] = static_cast<std::uint8_t>(codes[g] | codes[n_codes + g] << 4);
        }
    }
    for (int i = 0; i < n_codes; ++i) record[2 + i] = packed[i];
}

}  // namespace
}  // namespace harpy::kmeans
