// Pairs of 16-bit integers for screen_lanes.h without intrinsics.
#pragma once

#include <cstdint>

#include "isa/simd_scalar.h"

namespace harpy::kmeans {
namespace {

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
