// eight_scalar.h for NEON (aarch64).
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace harpy::kmeans {
namespace {

constexpr int kFolded = 4;
constexpr int kHeld = 4;

struct Eight {
    float64x2_t pairs[4];

    static Eight zero() { return {}; }
    static Eight load(const double* p) {
        return {{vld1q_f64(p), vld1q_f64(p + 2), vld1q_f64(p + 4), vld1q_f64(p + 6)}};
    }
    static Eight load(const float* p) {
        const float32x4_t low = vld1q_f32(p), high = vld1q_f32(p + 4);
        return {{vcvt_f64_f32(vget_low_f32(low)), vcvt_high_f64_f32(low),
                 vcvt_f64_f32(vget_low_f32(high)), vcvt_high_f64_f32(high)}};
    }
    template <class T>
    static Eight load_some(const T* p, std::int64_t n) {
        T values[8] = {};
        for (std::int64_t l = 0; l < n; ++l) values[l] = p[l];
        return load(values);
    }
};

inline Eight operator-(Eight a, Eight b) {
    for (int p = 0; p < 4; ++p) a.pairs[p] = vsubq_f64(a.pairs[p], b.pairs[p]);
    return a;
}
inline Eight fused(Eight a, Eight b, Eight c) {
    for (int p = 0; p < 4; ++p) c.pairs[p] = vfmaq_f64(c.pairs[p], a.pairs[p], b.pairs[p]);
    return c;
}

inline unsigned below(const double* values, double bound) {
    const float64x2_t bounds = vdupq_n_f64(bound);
    uint64x2_t bits = vdupq_n_u64(0);
    for (std::uint64_t l = 0; l < 8; l += 2) {
        const uint64x2_t pair{std::uint64_t{1} << l, std::uint64_t{2} << l};
        bits = vorrq_u64(bits, vandq_u64(vcltq_f64(vld1q_f64(values + l), bounds), pair));
    }
    return static_cast<unsigned>(vaddvq_u64(bits));
}

inline void fold(const Eight* sums, double* out) {
    const auto pair = [&](int i) {
        const float64x2_t(&s)[4] = sums[i].pairs;
        return vaddq_f64(vaddq_f64(s[0], s[2]), vaddq_f64(s[1], s[3]));
    };
    vst1q_f64(out, vpaddq_f64(pair(0), pair(1)));
    vst1q_f64(out + 2, vpaddq_f64(pair(2), pair(3)));
}

}  // namespace
}  // namespace harpy::kmeans
