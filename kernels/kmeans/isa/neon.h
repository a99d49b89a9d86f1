// The vectors of scalar.h in NEON (aarch64), but for pairs of integers.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace harpy::kmeans {
namespace {

struct Float128 {
    using Scalar = float;
    using Vector = float32x4_t;
    static constexpr int kLanes = 4;
    static constexpr int kTileRows = 8;
    static constexpr int kChains = 24;
    static constexpr int kMaxFew = 24;
    static constexpr int kQuad = 4;

    static Vector load(const float* p) { return vld1q_f32(p); }
    // The first n values, and zeros.
    static Vector load_first(const float* p, int n) {
        float values[kLanes] = {};
        for (int l = 0; l < n; ++l) values[l] = p[l];
        return load(values);
    }
    // table[index[l]] in lane l.
    static Vector look_up(const float* table, const std::int32_t* index) {
        return Vector{table[index[0]], table[index[1]], table[index[2]], table[index[3]]};
    }
    static void store(float* p, Vector v) { vst1q_f32(p, v); }
    static Vector set1(float x) { return vdupq_n_f32(x); }
    static Vector add(Vector a, Vector b) { return vaddq_f32(a, b); }
    static Vector sub(Vector a, Vector b) { return vsubq_f32(a, b); }
    static Vector min(Vector a, Vector b) { return vminq_f32(a, b); }
    static Vector max(Vector a, Vector b) { return vmaxq_f32(a, b); }
    // |value| where its bits are the higher ones, else the magnitude `highest`.
    static Vector raise(Vector highest, Vector value) {
        const int32x4_t bits = vreinterpretq_s32_f32(vabsq_f32(value));
        return vreinterpretq_f32_s32(vmaxq_s32(vreinterpretq_s32_f32(highest), bits));
    }
    static Vector fma(Vector a, Vector b, Vector c) { return vfmaq_f32(c, a, b); }
    // c - a*b
    static Vector fnma(Vector a, Vector b, Vector c) { return vfmsq_f32(c, a, b); }
    static unsigned equal(Vector a, Vector b) { return bits(vceqq_f32(a, b)); }
    // Where score < low: low = score and index = here.
    static void keep_lower(Vector score, Vector here, Vector& low, Vector& index) {
        const auto lower = vcltq_f32(score, low);
        low = vbslq_f32(lower, score, low);
        index = vbslq_f32(lower, here, index);
    }
    static float first(Vector v) { return vgetq_lane_f32(v, 0); }
    static float lowest(Vector v) { return vminvq_f32(v); }
    static float sum(Vector v) { return vaddvq_f32(v); }

    static void join_quads(Vector (&)[1]) {}
    static void transpose_quad(Vector (&v)[4]) {
        const Vector even[2] = {vtrn1q_f32(v[0], v[1]), vtrn1q_f32(v[2], v[3])};
        const Vector odd[2] = {vtrn2q_f32(v[0], v[1]), vtrn2q_f32(v[2], v[3])};
        v[0] = vcombine_f32(vget_low_f32(even[0]), vget_low_f32(even[1]));
        v[1] = vcombine_f32(vget_low_f32(odd[0]), vget_low_f32(odd[1]));
        v[2] = vcombine_f32(vget_high_f32(even[0]), vget_high_f32(even[1]));
        v[3] = vcombine_f32(vget_high_f32(odd[0]), vget_high_f32(odd[1]));
    }

    // out[r] = lowest lane of v[r].
    template <int R>
    static void lowest_of_rows(const Vector (&v)[R], float* out) {
        static_assert(R % 4 == 0 || R == 2, "pairs of pairs of rows, or one pair");
        if constexpr (R == 2) {
            const Vector pair = vpminq_f32(v[0], v[1]);
            vst1_f32(out, vget_low_f32(vpminq_f32(pair, pair)));
        } else {
            for (int r = 0; r < R; r += 4) {
                store(out + r,
                      vpminq_f32(vpminq_f32(v[r], v[r + 1]), vpminq_f32(v[r + 2], v[r + 3])));
            }
        }
    }

  private:
    // One bit from each lane of a comparison.
    static unsigned bits(uint32x4_t lanes) {
        return vaddvq_u32(vandq_u32(lanes, uint32x4_t{1, 2, 4, 8}));
    }
};

struct Double128 {
    using Scalar = double;
    using Vector = float64x2_t;
    static constexpr int kLanes = 2;
    static constexpr int kTileRows = 8;
    static constexpr int kChains = 24;
    static constexpr int kMaxFew = 24;
    static constexpr int kQuad = 2;

    static Vector load(const double* p) { return vld1q_f64(p); }
    static Vector load_first(const double* p, int n) {
        return Vector{n > 0 ? p[0] : 0.0, n > 1 ? p[1] : 0.0};
    }
    static void store(double* p, Vector v) { vst1q_f64(p, v); }
    static Vector set1(double x) { return vdupq_n_f64(x); }
    static Vector sub(Vector a, Vector b) { return vsubq_f64(a, b); }
    static Vector min(Vector a, Vector b) { return vminq_f64(a, b); }
    static Vector max(Vector a, Vector b) { return vmaxq_f64(a, b); }
    static Vector raise(Vector highest, Vector value) {
        const Vector magnitude = vabsq_f64(value);
        const uint64x2_t higher =
            vcgtq_s64(vreinterpretq_s64_f64(magnitude), vreinterpretq_s64_f64(highest));
        return vbslq_f64(higher, magnitude, highest);
    }
    static Vector fma(Vector a, Vector b, Vector c) { return vfmaq_f64(c, a, b); }
    static Vector fnma(Vector a, Vector b, Vector c) { return vfmsq_f64(c, a, b); }
    static unsigned equal(Vector a, Vector b) { return bits(vceqq_f64(a, b)); }
    static void keep_lower(Vector score, Vector here, Vector& low, Vector& index) {
        const auto lower = vcltq_f64(score, low);
        low = vbslq_f64(lower, score, low);
        index = vbslq_f64(lower, here, index);
    }
    static double first(Vector v) { return vgetq_lane_f64(v, 0); }
    static double lowest(Vector v) { return vminvq_f64(v); }
    static double sum(Vector v) { return vaddvq_f64(v); }

    static void join_quads(Vector (&)[1]) {}
    static void transpose_quad(Vector (&v)[2]) {
        const Vector first = vtrn1q_f64(v[0], v[1]);
        v[1] = vtrn2q_f64(v[0], v[1]);
        v[0] = first;
    }

    template <int R>
    static void lowest_of_rows(const Vector (&v)[R], double* out) {
        static_assert(R % 2 == 0, "pairs of rows");
        for (int r = 0; r < R; r += 2) store(out + r, vpminq_f64(v[r], v[r + 1]));
    }

  private:
    static unsigned bits(uint64x2_t lanes) {
        return static_cast<unsigned>(vaddvq_u64(vandq_u64(lanes, uint64x2_t{1, 2})));
    }
};

using SimdFloat = Float128;
using SimdDouble = Double128;

// Eight float64 lanes.

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
