// Pairs of 16-bit integers in the lanes of AVX2, for screen_lanes.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "isa/simd_avx2.h"

namespace harpy::kmeans {
namespace {

struct Ints256 {
    using Simd = Float256;
    // Not __m256i: gcc 12 would keep arrays of those in memory.
    using Vector __attribute__((vector_size(32))) = std::int32_t;
    using Register = __m256i;
    using Scalar = std::int32_t;
    static constexpr int kLanes = Simd::kLanes;
    static constexpr int kChains = Simd::kChains;

    static Vector load(const std::int32_t* p) {
        return as_ints(_mm256_loadu_si256(reinterpret_cast<const Register*>(p)));
    }
    static void store(std::int32_t* p, Vector v) {
        _mm256_storeu_si256(reinterpret_cast<Register*>(p), as_register(v));
    }
    static Vector set1(std::int32_t x) { return as_ints(_mm256_set1_epi32(x)); }
    static Vector min(Vector a, Vector b) {
        return as_ints(_mm256_min_epi32(as_register(a), as_register(b)));
    }
    static Vector max(Vector a, Vector b) {
        return as_ints(_mm256_max_epi32(as_register(a), as_register(b)));
    }
    // sum + a's halves times b's
    static Vector add_product(Vector sum, Vector a, Vector b) {
        return sum + as_ints(_mm256_madd_epi16(as_register(a), as_register(b)));
    }
    // a where the mask is 0, else b
    static Vector select(Vector mask, Vector a, Vector b) { return (~mask & a) | (mask & b); }
    static Vector halves(Vector low, Vector high) {
        return as_ints(_mm256_blend_epi16(as_register(low), as_register(high << 16), 0xAA));
    }
    static Vector round(Simd::Vector v) { return as_ints(_mm256_cvtps_epi32(v)); }
    static Simd::Vector to_float(Vector v) { return _mm256_cvtepi32_ps(as_register(v)); }

    // The first n values less the offset, times the scale, and zeros.
    static Simd::Vector load_scaled(const double* x, const double* offset, int n, double scale) {
        const auto half = [&](int first) {
            const int rest = n - first < 0 ? 0 : n - first < 4 ? n - first : 4;
            const __m256d value = _mm256_sub_pd(Double256::load_first(x + first, rest),
                                                Double256::load_first(offset + first, rest));
            return _mm256_cvtpd_ps(_mm256_mul_pd(value, _mm256_set1_pd(scale)));
        };
        return _mm256_set_m128(half(4), half(0));
    }

  private:
    static Vector as_ints(Register v) { return reinterpret_cast<Vector>(v); }
    static Register as_register(Vector v) { return reinterpret_cast<Register>(v); }
};

using Ints = Ints256;

}  // namespace
}  // namespace harpy::kmeans
