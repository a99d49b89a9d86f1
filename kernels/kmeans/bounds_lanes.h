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

// docs/numerics.md proves the inequality.
inline std::int64_t test_bounds(const BoundsTest& test, std::int64_t begin, std::int64_t n_rows,
                                std::uint8_t* may_move) {
    const std::int32_t most = (1 << test.format.bits) - 1;
    std::int64_t n_kept_by_gap = 0;
    for (std::int64_t i = 0; i < n_rows; ++i) {
        const std::int64_t row = begin + i;
        const CenterBounds center = test.centers[test.labels[row]];
        const std::uint8_t* record = test.records + row * test.format.n_bytes;
        const float upper = (test.upper[row] + center.moved) * kGuard;
        const float reach = upper + center.radius;
        const float excess = static_cast<float>(record[1]) * test.format.base_unit - upper;
        const float* group_moves = test.group_moves + record[0] * test.format.n_groups;
        std::int32_t unsure = 0;
        for (int first = 0; first < test.format.n_groups; first += kGroupLanes) {
            const std::uint8_t* bytes = record + test.format.byte_of(first);
            const int digit = test.format.digit_of(first);
            const float* moves = group_moves + first;
            const float* radius_of = test.group_radius + first;
#pragma omp simd reduction(| : unsure)
            for (int g = 0; g < kGroupLanes; ++g) {
                const float radii = radius_of[g] + center.radius;
                const float slack = test.score_slack * radii * (radii + 2.0f * reach) +
                                    test.shift_slack * reach * (reach + radii) + test.floor;
                const float margin =
                    margin_of(bytes[g] >> digit & most, test.format) + excess - moves[g];
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
    const std::int32_t most = (1 << test.format.bits) - 1;
    std::int32_t in_reach[kMaxGroups] = {};
    for (int first = 0; first < test.format.n_groups; first += kGroupLanes) {
        const std::uint8_t* bytes = record + test.format.byte_of(first);
        const int digit = test.format.digit_of(first);
        const float* moves = group_moves + first;
        const float* radius_of = test.group_radius + first;
        float* low_of = lower + first;
#pragma omp simd
        for (int g = 0; g < kGroupLanes; ++g) {
            const float radii = radius_of[g] + radius;
            const float slack = test.score_slack * radii * (radii + 2.0f * reach) +
                                test.shift_slack * reach * (reach + radii) + test.floor;
            const float low =
                (base + margin_of(bytes[g] >> digit & most, test.format)) * (2.0f - kGuard) -
                moves[g];
            const bool out = (low > 0.0f) & (low * low > (upper * upper + slack) * kGuard);
            low_of[g] = out ? low : kFar;
            in_reach[first + g] = out ? 0 : 1;
        }
    }
    std::uint8_t bytes[kMaxGroups];
    for (int g = 0; g < kMaxGroups; ++g) bytes[g] = static_cast<std::uint8_t>(in_reach[g]);
    std::uint64_t groups = 0;
    for (int byte = 0; byte < kMaxGroups / 8; ++byte) {
        std::uint64_t eight;
        __builtin_memcpy(&eight, bytes + 8 * byte, sizeof eight);
        groups |= (eight * 0x0102040810204080u >> 56) << 8 * byte;  // one bit from each byte
    }
    return groups;
}

template <class T>
inline void write_record(const Margins<T>& margins, const Finding<T>& row,
                         const RecordFormat& format, std::uint8_t* record) {
    const bool stays = row.group_moves != nullptr;
    const float none[kMaxGroups] = {};
    if (!stays) {
        const float units = row.upper / format.base_unit;
        record[0] = row.stamp;
        record[1] = static_cast<std::uint8_t>(units < 255.0f ? units : 255.0f);
    }
    const T row_norm = square_root(row.squared);
    const float base = static_cast<float>(record[1]) * format.base_unit * kGuard;
    const float far = row.far;
    const std::int32_t most = (1 << format.bits) - 1, shift = format.shift, bias = format.bias;
    std::int32_t codes[2 * kGroupLanes] = {};
    for (int first = 0; first < format.n_groups; first += kGroupLanes) {
        std::uint8_t* bytes = record + format.byte_of(first);
        const int digit = format.digit_of(first);
        const float* moves_of = (stays ? row.group_moves : none) + first;
        const float* lower = row.lower + first;
        const T* lowest = row.group_low + first;
        const T* norms = row.group_norm + first;
        std::int32_t* block = codes + (digit == 0 ? 0 : kGroupLanes);
#pragma omp simd
        for (int g = 0; g < kGroupLanes; ++g) {
            const float before = lower[g], moves = moves_of[g];
            // A panel of a group that was not searched may have been: the row's own.
            const float found = lower_distance(margins, lowest[g], row_norm, norms[g]);
            const bool searched = before == kFar;
            const float limit = searched ? far : before;
            const float low = found < limit ? found : limit;
            const float margin = low * (2.0f - kGuard) - base + moves * (2.0f - kGuard);
            const float positive = margin > 0 ? margin : 0.0f;
            const std::int32_t code = (__builtin_bit_cast(std::int32_t, positive) >> shift) - bias;
            const std::int32_t at_least = code < 0 ? 0 : code;
            const std::int32_t clamped = at_least < most ? at_least : most;
            const bool keep = stays & !searched & (found >= limit);
            block[g] = keep ? bytes[g] >> digit & most : clamped;
        }
        const bool whole = format.bits == 8 || digit != 0;
        if (!whole) continue;  // the next block's codes belong into the same bytes
        std::uint8_t packed[kGroupLanes];
        if (format.bits == 8) {
            for (int g = 0; g < kGroupLanes; ++g) packed[g] = static_cast<std::uint8_t>(codes[g]);
        } else {
            for (int g = 0; g < kGroupLanes; ++g) {
                packed[g] = static_cast<std::uint8_t>(codes[g] | codes[kGroupLanes + g] << 4);
            }
        }
        const int rest = format.n_bytes - format.byte_of(first);
        for (int g = 0; g < (rest < kGroupLanes ? rest : kGroupLanes); ++g) bytes[g] = packed[g];
    }
}

}  // namespace
}  // namespace harpy::kmeans
