// The test that lets a row keep its label unread, compiled once per instruction set.
#pragma once

#include <cstdint>

#include "lane_kernels.h"

namespace harpy::kmeans {
namespace {

// may_move[i] = whether row `begin` + i might have another nearest center; begin is a multiple of
// kBoundRows. docs/numerics.md proves the inequality.
inline void test_bounds(const BoundsTest& test, std::int64_t begin, std::int64_t n_rows,
                        std::uint8_t* may_move) {
    constexpr int kRows = kBoundRows;
    for (std::int64_t i = 0; i < n_rows; i += kRows) {
        const int n = static_cast<int>(n_rows - i < kRows ? n_rows - i : kRows);
        float upper[kRows] = {}, radius[kRows] = {}, half_gap[kRows] = {};
        for (int r = 0; r < n; ++r) {
            const std::int32_t label = test.labels[begin + i + r];
            upper[r] = test.upper[begin + i + r] + test.moved[label];
            radius[r] = test.radius[label];
            half_gap[r] = test.half_gap[label];
        }
        const std::uint16_t* lower = test.lower + (begin + i) * test.n_groups;
        std::int32_t unsure[kRows] = {};
        for (int g = 0; g < test.n_groups; ++g) {
            const float drift = test.group_moved[g], group_radius = test.group_radius[g];
#pragma omp simd
            for (int r = 0; r < kRows; ++r) {
                const float low = static_cast<float>(lower[g * kRows + r]) * test.quantum - drift;
                const float reach = upper[r] + radius[r], radii = group_radius + radius[r];
                const float slack = test.score_slack * radii * (radii + 2.0f * reach) +
                                    test.shift_slack * reach * (reach + radii);
                const float least = (upper[r] * upper[r] + slack) * kGuard + test.floor;
                unsure[r] |= !((low > 0.0f) & (low * low > least));
            }
        }
        for (int r = 0; r < n; ++r) {
            may_move[i + r] = unsure[r] != 0 && !(upper[r] * kGuard < half_gap[r]);
        }
    }
}

}  // namespace
}  // namespace harpy::kmeans
