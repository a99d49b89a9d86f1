// Exact sums: what their inner loops, split_lanes.h, are given.
#pragma once

#include <cstdint>

namespace harpy::kmeans {

// Per column, how values are split for exact sums.
struct Quanta {
    const double* magic_high;  // (x + magic) - magic rounds to the quantum
    const double* magic_low;
    const float* whole_from;  // float32 values that are not below this, and zeros, are multiples
                              // of the first quantum
};

}  // namespace harpy::kmeans
