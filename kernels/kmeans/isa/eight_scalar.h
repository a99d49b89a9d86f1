// Eight float64 lanes, the vocabulary of distance_lanes.h, for any processor. eight_avx2.h and
// eight_avx512.h say the same with two vectors and with one; each lanes_*.cpp includes one of them.
#pragma once

#include <cstdint>

namespace harpy::kmeans {
namespace {

// So many sums are folded together, and so many fit the registers.
constexpr int kFolded = 4;
constexpr int kHeld = 4;

struct Eight {
    double lanes[8];

    static Eight zero() { return {}; }
    template <class T>
    static Eight load(const T* p) {
        return load_some(p, 8);
    }
    // The first n values, zeros beyond; reads nothing there.
    template <class T>
    static Eight load_some(const T* p, std::int64_t n) {
        Eight eight{};
        for (std::int64_t l = 0; l < n; ++l) eight.lanes[l] = static_cast<double>(p[l]);
        return eight;
    }
};

inline Eight operator-(Eight a, Eight b) {
    for (int l = 0; l < 8; ++l) a.lanes[l] -= b.lanes[l];
    return a;
}
inline Eight fused(Eight a, Eight b, Eight c) {
    for (int l = 0; l < 8; ++l) c.lanes[l] = __builtin_fma(a.lanes[l], b.lanes[l], c.lanes[l]);
    return c;
}

// Bit l: the l-th of eight values is less than the bound.
inline unsigned below(const double* values, double bound) {
    unsigned bits = 0;
    for (int l = 0; l < 8; ++l) bits |= static_cast<unsigned>(values[l] < bound) << l;
    return bits;
}

// out[i] = ((s0+s4)+(s2+s6))+((s1+s5)+(s3+s7)) of the lanes s of sums[i].
inline void fold(const Eight* sums, double* out) {
    for (int i = 0; i < kFolded; ++i) {
        const double (&s)[8] = sums[i].lanes;
        out[i] = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
    }
}

}  // namespace
}  // namespace harpy::kmeans
