// The vectors of the inner loops without intrinsics: what every other set of them is tested
// against, and where to read what each operation does.
#pragma once

#include <cstdint>

#include "ranges/magnitudes.h"

namespace harpy::kmeans {
namespace {

template <class T>
struct Plain {
    using Scalar = T;
    static constexpr int kLanes = 16 / static_cast<int>(sizeof(T));
    static constexpr int kTileRows = 4;
    static constexpr int kChains = 8;
    static constexpr int kMaxFew = 8;  // more would only take longer to compile
    static constexpr int kQuad = kLanes;
    struct Vector {
        T lane[kLanes];
    };

    template <class F>
    static Vector each(const F& value) {
        Vector v;
        for (int l = 0; l < kLanes; ++l) v.lane[l] = value(l);
        return v;
    }
    static float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
    static float without_sign(float x) { return __builtin_fabsf(x); }
    static double without_sign(double x) { return __builtin_fabs(x); }
    static double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }

    static Vector load(const T* p) {
        return each([&](int l) { return p[l]; });
    }
    static Vector load_first(const T* p, int n) {
        return each([&](int l) { return l < n ? p[l] : T{0}; });
    }
    static Vector look_up(const T* table, const std::int32_t* index) {
        return each([&](int l) { return table[index[l]]; });
    }
    // The two stages of transpose.h: kQuad rows transposed on their own, then one vector of each
    // quad with the others.
    static void transpose_quad(Vector (&v)[kLanes]) {
        for (int r = 0; r < kLanes; ++r) {
            for (int c = 0; c < r; ++c) {
                const T other = v[r].lane[c];
                v[r].lane[c] = v[c].lane[r];
                v[c].lane[r] = other;
            }
        }
    }
    static void join_quads(Vector (&)[1]) {}
    static void store(T* p, const Vector& v) {
        for (int l = 0; l < kLanes; ++l) p[l] = v.lane[l];
    }
    static Vector set1(T x) {
        return each([&](int) { return x; });
    }
    static Vector add(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] + b.lane[l]; });
    }
    static Vector mul(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] * b.lane[l]; });
    }
    static Vector sub(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] - b.lane[l]; });
    }
    static Vector min(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] < b.lane[l] ? a.lane[l] : b.lane[l]; });
    }
    static Vector max(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] > b.lane[l] ? a.lane[l] : b.lane[l]; });
    }
    // |value| where its bits are the higher ones, else the magnitude `highest`.
    static Vector raise(const Vector& highest, const Vector& value) {
        return each([&](int l) {
            const bool higher = magnitude_bits(value.lane[l]) > magnitude_bits(highest.lane[l]);
            return higher ? without_sign(value.lane[l]) : highest.lane[l];
        });
    }
    static Vector fma(const Vector& a, const Vector& b, const Vector& c) {
        return each([&](int l) { return fused(a.lane[l], b.lane[l], c.lane[l]); });
    }
    static Vector fnma(const Vector& a, const Vector& b, const Vector& c) {
        return each([&](int l) { return fused(-a.lane[l], b.lane[l], c.lane[l]); });
    }
    static unsigned equal(const Vector& a, const Vector& b) {
        unsigned bits = 0;
        for (int l = 0; l < kLanes; ++l) bits |= static_cast<unsigned>(a.lane[l] == b.lane[l]) << l;
        return bits;
    }
    // Where score < low: low = score and index = here.
    static void keep_lower(const Vector& score, const Vector& here, Vector& low, Vector& index) {
        for (int l = 0; l < kLanes; ++l) {
            const bool lower = score.lane[l] < low.lane[l];
            low.lane[l] = lower ? score.lane[l] : low.lane[l];
            index.lane[l] = lower ? here.lane[l] : index.lane[l];
        }
    }
    static T first(const Vector& v) { return v.lane[0]; }
    static T lowest(const Vector& v) {
        T low = v.lane[0];
        for (int l = 1; l < kLanes; ++l) low = v.lane[l] < low ? v.lane[l] : low;
        return low;
    }
    static T sum(const Vector& v) {
        T total = v.lane[0];
        for (int l = 1; l < kLanes; ++l) total += v.lane[l];
        return total;
    }
    template <int R>
    static void lowest_of_rows(const Vector (&v)[R], T* out) {
        for (int r = 0; r < R; ++r) out[r] = lowest(v[r]);
    }
};

using SimdFloat = Plain<float>;
using SimdDouble = Plain<double>;

// Eight float64 lanes, the vocabulary of distance_lanes.h; the other instruction sets say the same.

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

// Pairs of 16-bit integers, for prefilter_lanes.h.

struct PlainInts {
    using Simd = Plain<float>;
    using Scalar = std::int32_t;
    static constexpr int kLanes = Simd::kLanes;
    static constexpr int kChains = 4;  // two centers: panels of float64 hold no more
    struct Vector {
        std::int32_t lane[kLanes];
    };

    template <class F>
    static Vector each(const F& value) {
        Vector v;
        for (int l = 0; l < kLanes; ++l) v.lane[l] = value(l);
        return v;
    }
    static std::int32_t low_half(std::int32_t x) { return static_cast<std::int16_t>(x & 0xFFFF); }
    static std::int32_t high_half(std::int32_t x) { return x >> 16; }

    static Vector load(const std::int32_t* p) {
        return each([&](int l) { return p[l]; });
    }
    static void store(std::int32_t* p, const Vector& v) {
        for (int l = 0; l < kLanes; ++l) p[l] = v.lane[l];
    }
    static Vector set1(std::int32_t x) {
        return each([&](int) { return x; });
    }
    static Vector min(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] < b.lane[l] ? a.lane[l] : b.lane[l]; });
    }
    static Vector max(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] > b.lane[l] ? a.lane[l] : b.lane[l]; });
    }
    // sum + a's halves times b's
    static Vector add_product(const Vector& sum, const Vector& a, const Vector& b) {
        return each([&](int l) {
            return sum.lane[l] + low_half(a.lane[l]) * low_half(b.lane[l]) +
                   high_half(a.lane[l]) * high_half(b.lane[l]);
        });
    }
    // a where the mask is 0, else b
    static Vector select(const Vector& mask, const Vector& a, const Vector& b) {
        return each(
            [&](int l) { return (a.lane[l] & ~mask.lane[l]) | (b.lane[l] & mask.lane[l]); });
    }
    static Vector halves(const Vector& low, const Vector& high) {
        return each([&](int l) {
            const auto bits = static_cast<std::uint32_t>(high.lane[l]) << 16;
            return static_cast<std::int32_t>(bits | (low.lane[l] & 0xFFFF));
        });
    }
    // What fits no int32 becomes INT32_MIN, as it does in vectors.
    static Vector round(const Simd::Vector& v) {
        return each([&](int l) {
            const float value = __builtin_rintf(v.lane[l]);
            return __builtin_fabsf(value) < 0x1p31f ? static_cast<std::int32_t>(value) : INT32_MIN;
        });
    }
    static Simd::Vector to_float(const Vector& v) {
        return Simd::each([&](int l) { return static_cast<float>(v.lane[l]); });
    }

    // The first n values less the offset, times the scale, and zeros.
    static Simd::Vector load_scaled(const double* x, const double* offset, int n, double scale) {
        return Simd::each(
            [&](int l) { return l < n ? static_cast<float>((x[l] - offset[l]) * scale) : 0.0f; });
    }
};

using Ints = PlainInts;

}  // namespace
}  // namespace harpy::kmeans
