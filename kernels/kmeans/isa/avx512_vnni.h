// Pairs of 16-bit integers in AVX-512 with VNNI. Included as avx512.h is.
#pragma once

#include <cstdint>

#include "isa/avx512.h"

namespace harpy::kmeans {
namespace {

struct Ints512 {
    using Simd = Float512;
    // Not __m512i: gcc 12 would keep arrays of those in memory.
    using Vector __attribute__((vector_size(64))) = std::int32_t;
    using Register = __m512i;
    using Scalar = std::int32_t;
    static constexpr int kLanes = Simd::kLanes;
    static constexpr int kChains = Simd::kChains;

    static Vector load(const std::int32_t* p) { return as_ints(_mm512_loadu_si512(p)); }
    static void store(std::int32_t* p, Vector v) { _mm512_storeu_si512(p, as_register(v)); }
    static Vector set1(std::int32_t x) { return as_ints(_mm512_set1_epi32(x)); }
    static Vector min(Vector a, Vector b) {
        return as_ints(_mm512_min_epi32(as_register(a), as_register(b)));
    }
    static Vector max(Vector a, Vector b) {
        return as_ints(_mm512_max_epi32(as_register(a), as_register(b)));
    }
    // sum + a's halves times b's
    static Vector add_product(Vector sum, Vector a, Vector b) {
        return as_ints(_mm512_dpwssd_epi32(as_register(sum), as_register(a), as_register(b)));
    }
    // a where the mask is 0, else b
    static Vector select(Vector mask, Vector a, Vector b) {
        return as_ints(
            _mm512_ternarylogic_epi32(as_register(a), as_register(mask), as_register(b), 0xB8));
    }
    static Vector halves(Vector low, Vector high) {
        return select(set1(0xFFFF), as_ints(_mm512_slli_epi32(as_register(high), 16)), low);
    }
    static Vector round(Simd::Vector v) { return as_ints(_mm512_cvtps_epi32(v)); }
    static Simd::Vector to_float(Vector v) { return _mm512_cvtepi32_ps(as_register(v)); }

    // The first n values less the offset, times the scale, and zeros.
    static Simd::Vector load_scaled(const double* x, const double* offset, int n, double scale) {
        const auto half = [&](int first) {
            const int rest = n - first < 0 ? 0 : n - first < 8 ? n - first : 8;
            const __m512d value = _mm512_sub_pd(Double512::load_first(x + first, rest),
                                                Double512::load_first(offset + first, rest));
            return _mm512_cvtpd_ps(_mm512_mul_pd(value, _mm512_set1_pd(scale)));
        };
        return _mm512_insertf32x8(_mm512_castps256_ps512(half(0)), half(8), 1);
    }

  private:
    static Vector as_ints(Register v) { return reinterpret_cast<Vector>(v); }
    static Register as_register(Vector v) { return reinterpret_cast<Register>(v); }
};

using Ints = Ints512;

}  // namespace
}  // namespace harpy::kmeans
