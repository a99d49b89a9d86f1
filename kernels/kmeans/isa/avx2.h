// The vectors of scalar.h in AVX2 with FMA. Included within one translation unit, after its target
// pragma.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace harpy::kmeans {
namespace {

struct Float256 {
    using Scalar = float;
    using Vector = __m256;
    static constexpr int kLanes = 8;
    static constexpr int kTileRows = 4;
    static constexpr int kChains = 12;
    static constexpr int kMaxFew = 12;
    static constexpr int kQuad = 4;

    static Vector load(const float* p) { return _mm256_loadu_ps(p); }
    // The first n values, and zeros.
    static Vector load_first(const float* p, int n) {
        const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes));
    }
    // table[index[l]] in lane l; the table has 32 values.
    static Vector look_up(const float* table, const std::int32_t* index) {
        return _mm256_i32gather_ps(table,
                                   _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index)), 4);
    }

    static void transpose_quad(Vector (&v)[4]) {
        Vector pairs[4];
        for (int r = 0; r < 4; r += 2) {
            pairs[r] = _mm256_unpacklo_ps(v[r], v[r + 1]);
            pairs[r + 1] = _mm256_unpackhi_ps(v[r], v[r + 1]);
        }
        for (int h = 0; h < 2; ++h) {
            v[2 * h] = _mm256_shuffle_ps(pairs[h], pairs[h + 2], 0x44);
            v[2 * h + 1] = _mm256_shuffle_ps(pairs[h], pairs[h + 2], 0xEE);
        }
    }
    static void join_quads(Vector (&v)[2]) {
        const Vector first = _mm256_permute2f128_ps(v[0], v[1], 0x20);
        v[1] = _mm256_permute2f128_ps(v[0], v[1], 0x31);
        v[0] = first;
    }
    static void store(float* p, Vector v) { _mm256_storeu_ps(p, v); }
    static Vector set1(float x) { return _mm256_set1_ps(x); }
    static Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
    static Vector sub(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
    static Vector mul(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
    static Vector min(Vector a, Vector b) { return _mm256_min_ps(a, b); }
    static Vector max(Vector a, Vector b) { return _mm256_max_ps(a, b); }
    // |value| where its bits are the higher ones, else the magnitude `highest`.
    static Vector raise(Vector highest, Vector value) {
        const __m256i bits =
            _mm256_and_si256(_mm256_castps_si256(value), _mm256_set1_epi32(0x7FFFFFFF));
        return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(highest), bits));
    }
    static Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
    static Vector fnma(Vector a, Vector b, Vector c) { return _mm256_fnmadd_ps(a, b, c); }
    static unsigned equal(Vector a, Vector b) {
        return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)));
    }
    static __m128 halves_min(Vector v) {
        return _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    }
    // Where score < low: low = score and index = here.
    static void keep_lower(Vector score, Vector here, Vector& low, Vector& index) {
        const Vector lower = _mm256_cmp_ps(score, low, _CMP_LT_OQ);
        low = _mm256_min_ps(score, low);
        index = _mm256_blendv_ps(index, here, lower);
    }
    static float first(Vector v) { return _mm256_cvtss_f32(v); }
    static float lowest(Vector v) {
        __m128 low = halves_min(v);
        low = _mm_min_ps(low, _mm_movehl_ps(low, low));
        return _mm_cvtss_f32(_mm_min_ss(low, _mm_movehdup_ps(low)));
    }
    static float sum(Vector v) {
        __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        half = _mm_add_ps(half, _mm_movehl_ps(half, half));
        return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
    }

    template <int R>
    static void lowest_of_rows(const Vector (&v)[R], float* out) {
        if constexpr (R == 4) {
            const __m128 a = halves_min(v[0]), b = halves_min(v[1]);
            const __m128 c = halves_min(v[2]), d = halves_min(v[3]);
            const __m128 ab = _mm_min_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
            const __m128 cd = _mm_min_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
            _mm_storeu_ps(out, _mm_min_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
        } else {
            for (int r = 0; r < R; ++r) out[r] = lowest(v[r]);
        }
    }
};

struct Double256 {
    using Scalar = double;
    using Vector = __m256d;
    static constexpr int kLanes = 4;
    static constexpr int kTileRows = 4;
    static constexpr int kChains = 12;
    static constexpr int kMaxFew = 12;
    static constexpr int kQuad = 2;

    static Vector load(const double* p) { return _mm256_loadu_pd(p); }
    static Vector load_first(const double* p, int n) {
        const __m256i lanes = _mm256_setr_epi64x(0, 1, 2, 3);
        return _mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lanes));
    }

    static void transpose_quad(Vector (&v)[2]) {
        const Vector first = _mm256_unpacklo_pd(v[0], v[1]);
        v[1] = _mm256_unpackhi_pd(v[0], v[1]);
        v[0] = first;
    }
    static void join_quads(Vector (&v)[2]) {
        const Vector first = _mm256_permute2f128_pd(v[0], v[1], 0x20);
        v[1] = _mm256_permute2f128_pd(v[0], v[1], 0x31);
        v[0] = first;
    }
    static void store(double* p, Vector v) { _mm256_storeu_pd(p, v); }
    static Vector set1(double x) { return _mm256_set1_pd(x); }
    static Vector sub(Vector a, Vector b) { return _mm256_sub_pd(a, b); }
    static Vector min(Vector a, Vector b) { return _mm256_min_pd(a, b); }
    static Vector max(Vector a, Vector b) { return _mm256_max_pd(a, b); }
    static Vector raise(Vector highest, Vector value) {
        const Vector magnitude = _mm256_andnot_pd(_mm256_set1_pd(-0.0), value);
        const __m256i higher =
            _mm256_cmpgt_epi64(_mm256_castpd_si256(magnitude), _mm256_castpd_si256(highest));
        return _mm256_blendv_pd(highest, magnitude, _mm256_castsi256_pd(higher));
    }
    static Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_pd(a, b, c); }
    static Vector fnma(Vector a, Vector b, Vector c) { return _mm256_fnmadd_pd(a, b, c); }
    static unsigned equal(Vector a, Vector b) {
        return static_cast<unsigned>(_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_EQ_OQ)));
    }
    // Where score < low: low = score and index = here.
    static void keep_lower(Vector score, Vector here, Vector& low, Vector& index) {
        const Vector lower = _mm256_cmp_pd(score, low, _CMP_LT_OQ);
        low = _mm256_min_pd(score, low);
        index = _mm256_blendv_pd(index, here, lower);
    }
    static double first(Vector v) { return _mm256_cvtsd_f64(v); }
    static double lowest(Vector v) {
        const __m128d low = _mm_min_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
        return _mm_cvtsd_f64(_mm_min_sd(low, _mm_unpackhi_pd(low, low)));
    }
    static double sum(Vector v) {
        const __m128d half = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
        return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
    }

    template <int R>
    static void lowest_of_rows(const Vector (&v)[R], double* out) {
        for (int r = 0; r < R; ++r) out[r] = lowest(v[r]);
    }
};

using SimdFloat = Float256;
using SimdDouble = Double256;

// Eight float64 lanes.

constexpr int kFolded = 4;
constexpr int kHeld = 4;

struct Eight {
    __m256d low, high;

    static Eight zero() { return {_mm256_setzero_pd(), _mm256_setzero_pd()}; }
    static Eight load(const double* p) { return {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
    static Eight load(const float* p) {
        return {_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4))};
    }
    static Eight load_some(const double* p, std::int64_t n) {
        alignas(64) double values[8] = {};
        for (std::int64_t l = 0; l < n; ++l) values[l] = p[l];
        return load(values);
    }
    static Eight load_some(const float* p, std::int64_t n) {
        alignas(64) float values[8] = {};
        for (std::int64_t l = 0; l < n; ++l) values[l] = p[l];
        return load(values);
    }
};

inline Eight operator-(Eight a, Eight b) {
    return {_mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high)};
}
inline Eight fused(Eight a, Eight b, Eight c) {
    return {_mm256_fmadd_pd(a.low, b.low, c.low), _mm256_fmadd_pd(a.high, b.high, c.high)};
}

inline unsigned below(const double* values, double bound) {
    const auto half = [&](int at) {
        return static_cast<unsigned>(_mm256_movemask_pd(
            _mm256_cmp_pd(_mm256_loadu_pd(values + at), _mm256_set1_pd(bound), _CMP_LT_OQ)));
    };
    return half(0) | half(4) << 4;
}

inline void fold(const Eight* sums, double* out) {
    const auto halves = [&](int i, int j) {
        const __m256d a = _mm256_add_pd(sums[i].low, sums[i].high);
        const __m256d b = _mm256_add_pd(sums[j].low, sums[j].high);
        return _mm256_add_pd(_mm256_permute2f128_pd(a, b, 0x20),
                             _mm256_permute2f128_pd(a, b, 0x31));
    };
    const __m256d even = halves(0, 2), odd = halves(1, 3);
    _mm256_storeu_pd(out,
                     _mm256_add_pd(_mm256_unpacklo_pd(even, odd), _mm256_unpackhi_pd(even, odd)));
}

// Pairs of 16-bit integers.

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
