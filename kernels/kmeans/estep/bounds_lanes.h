// What lets a row keep its label unread, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "isa/lane_kernels.h"

namespace harpy::kmeans {
namespace {

inline float margin_of(std::int32_t code, const RecordFormat& format) {
    const std::int32_t bits = (code + format.bias) << RecordFormat::kShift;
    return code == 0 ? 0.0f : __builtin_bit_cast(float, bits);
}

// A block's codes as wide as what is computed from them: bytes among float32 values would keep the
// loops that follow at a quarter of a vector.
inline void unpack(const std::uint8_t* record, int first, std::int32_t (&codes)[kGroupLanes]) {
    const std::uint8_t* bytes = record + RecordFormat::kHeader + first;
    for (int g = 0; g < kGroupLanes; ++g) codes[g] = bytes[g];
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
        std::int32_t unsure = 0;
        for (int first = 0; first < test.format.n_groups; first += kGroupLanes) {
            alignas(64) std::int32_t codes[kGroupLanes];
            unpack(record, first, codes);
            const float* moves = group_moves + first;
            const float* radius_of = test.group_radius + first;
#pragma omp simd reduction(| : unsure)
            for (int g = 0; g < kGroupLanes; ++g) {
                const float radii = radius_of[g] + center.radius;
                const float slack = test.score_slack * radii * (radii + 2.0f * reach) +
                                    test.shift_slack * reach * (reach + radii) + test.floor;
                const float margin = margin_of(codes[g], test.format) + excess - moves[g];
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
    static constexpr std::int32_t kBits[kGroupLanes] = {
        1,      2,      4,       8,       1 << 4,  1 << 5,  1 << 6,  1 << 7,
        1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};
    std::uint64_t groups = 0;
    for (int first = 0; first < test.format.n_groups; first += kGroupLanes) {
        alignas(64) std::int32_t codes[kGroupLanes];
        unpack(record, first, codes);
        const float* moves = group_moves + first;
        const float* radius_of = test.group_radius + first;
        float* low_of = lower + first;
        std::int32_t in_reach = 0;
#pragma omp simd reduction(| : in_reach)
        for (int g = 0; g < kGroupLanes; ++g) {
            const float radii = radius_of[g] + radius;
            const float slack = test.score_slack * radii * (radii + 2.0f * reach) +
                                test.shift_slack * reach * (reach + radii) + test.floor;
            const float low =
                (base + margin_of(codes[g], test.format)) * (2.0f - kGuard) - moves[g];
            const bool out = (low > 0.0f) & (low * low > (upper * upper + slack) * kGuard);
            low_of[g] = out ? low : kFar;
            in_reach |= out ? 0 : kBits[g];
        }
        groups |= static_cast<std::uint64_t>(in_reach) << first;
    }
    return groups;
}

template <class T>
inline T squared_distance(const T* x, const T* center, std::int64_t d) {
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t j = 0; j < d; ++j) {
        const T difference = x[j] - center[j];
        sum += difference * difference;
    }
    return sum;
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
    for (int first = 0; first < format.n_groups; first += kGroupLanes) {
        const float* moves_of = (stays ? row.group_moves : none) + first;
        const float* lower = row.lower + first;
        const T* lowest = row.group_low + first;
        const T* norms = row.group_norm + first;
        alignas(64) std::int32_t codes[kGroupLanes];
        unpack(record, first, codes);
#pragma omp simd
        for (int g = 0; g < kGroupLanes; ++g) {
            const float before = lower[g], moves = moves_of[g];
            // A panel of a group that was not searched may have been: the row's own.
            const float found = lower_distance(margins, lowest[g], row_norm, norms[g]);
            const bool searched = before == kFar;
            const float low = found < before ? found : before;
            const float margin = low * (2.0f - kGuard) - base + moves * (2.0f - kGuard);
            const float positive = margin > 0 ? margin : 0.0f;
            const std::int32_t code =
                (__builtin_bit_cast(std::int32_t, positive) >> RecordFormat::kShift) - format.bias;
            const std::int32_t at_least = code < 0 ? 0 : code;
            const std::int32_t clamped =
                at_least < RecordFormat::kMaxCode ? at_least : RecordFormat::kMaxCode;
            const bool keep = stays & !searched & (found >= before);
            codes[g] = keep ? codes[g] : clamped;
        }
        std::uint8_t* bytes = record + RecordFormat::kHeader + first;
        const int n = format.n_bytes - RecordFormat::kHeader - first;
        for (int g = 0; g < kGroupLanes; ++g) {  // what follows the record stays as it is
            bytes[g] = g < n ? static_cast<std::uint8_t>(codes[g]) : bytes[g];
        }
    }
}

}  // namespace
}  // namespace harpy::kmeans
