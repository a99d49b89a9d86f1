// The vectors of scalar.h in AVX-512, but for pairs of integers. Included within one translation
// unit, first behind its target pragma.
#pragma once

#if defined(__clang__)
#include <immintrin.h>
#else
// The undefined vectors that gcc 12's own intrinsics begin with are no mistake.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#include <cstdint>

namespace harpy::kmeans {
namespace {

struct Float512 {
    using Scalar = float;
    using Vector = __m512;
    static constexpr int kLanes = 16;
    static constexpr int kTileRows = 8;
    static constexpr int kChains = 24;
    static constexpr int kMaxFew = 24;
    static constexpr int kQuad = 4;

    static Vector load(const float* p) { return _mm512_loadu_ps(p); }
    // The first n values, and zeros.
    static Vector load_first(const float* p, int n) {
        return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
    }
    static void store(float* p, Vector v) { _mm512_storeu_ps(p, v); }
    static Vector set1(float x) { return _mm512_set1_ps(x); }
    static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
    static Vector sub(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
    static Vector mul(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
    static Vector min(Vector a, Vector b) { return _mm512_min_ps(a, b); }
    static Vector max(Vector a, Vector b) { return _mm512_max_ps(a, b); }
    // |value| where its bits are the higher ones, else the magnitude `highest`.
    static Vector raise(Vector highest, Vector value) {
        const __m512i bits = _mm512_castps_si512(_mm512_abs_ps(value));
        return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(highest), bits));
    }
    static Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
    // c - a*b
    static Vector fnma(Vector a, Vector b, Vector c) { return _mm512_fnmadd_ps(a, b, c); }
    static unsigned equal(Vector a, Vector b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
    static void keep_lower(Vector score, Vector here, Vector& low, Vector& index) {
        const auto lower = _mm512_cmp_ps_mask(score, low, _CMP_LT_OQ);
        low = _mm512_min_ps(score, low);
        index = _mm512_mask_blend_ps(lower, index, here);
    }
    static float first(Vector v) { return _mm512_cvtss_f32(v); }
    static float lowest(Vector v) { return _mm512_reduce_min_ps(v); }
    static float sum(Vector v) { return _mm512_reduce_add_ps(v); }

    // table[index[l]] in lane l; the table has 32 values.
    static Vector look_up(const float* table, const std::int32_t* index) {
        return _mm512_permutex2var_ps(load(table), _mm512_loadu_si512(index), load(table + 16));
    }

    static void transpose_quad(Vector (&v)[4]) {
        Vector pairs[4];
        for (int r = 0; r < 4; r += 2) {
            pairs[r] = _mm512_unpacklo_ps(v[r], v[r + 1]);
            pairs[r + 1] = _mm512_unpackhi_ps(v[r], v[r + 1]);
        }
        for (int h = 0; h < 2; ++h) {
            v[2 * h] = _mm512_shuffle_ps(pairs[h], pairs[h + 2], 0x44);
            v[2 * h + 1] = _mm512_shuffle_ps(pairs[h], pairs[h + 2], 0xEE);
        }
    }
    static void join_quads(Vector (&v)[4]) {
        const Vector a = _mm512_shuffle_f32x4(v[0], v[1], 0x88);
        const Vector b = _mm512_shuffle_f32x4(v[0], v[1], 0xDD);
        const Vector c = _mm512_shuffle_f32x4(v[2], v[3], 0x88);
        const Vector d = _mm512_shuffle_f32x4(v[2], v[3], 0xDD);
        v[0] = _mm512_shuffle_f32x4(a, c, 0x88);
        v[1] = _mm512_shuffle_f32x4(b, d, 0x88);
        v[2] = _mm512_shuffle_f32x4(a, c, 0xDD);
        v[3] = _mm512_shuffle_f32x4(b, d, 0xDD);
    }

    // out[r] = lowest lane of v[r]: halves of two rows side by side, four times over.
    template <int R>
    static void lowest_of_rows(const Vector (&v)[R], float* out) {
        static_assert(R == 8 || R == 4, "tiles have 8 or 4 rows");
        Vector two[R / 2], four[R / 4];
        for (int r = 0; r < R / 2; ++r) {
            two[r] = min(_mm512_shuffle_f32x4(v[2 * r], v[2 * r + 1], 0x44),
                         _mm512_shuffle_f32x4(v[2 * r], v[2 * r + 1], 0xEE));
        }
        for (int r = 0; r < R / 4; ++r) {
            four[r] = min(_mm512_shuffle_f32x4(two[2 * r], two[2 * r + 1], 0x88),
                          _mm512_shuffle_f32x4(two[2 * r], two[2 * r + 1], 0xDD));
        }
        // Each quarter of four[0] belongs to one of rows 0-3, of four[1] to one of rows 4-7.
        const Vector other = four[R / 4 - 1];
        Vector low = min(_mm512_unpacklo_ps(four[0], other), _mm512_unpackhi_ps(four[0], other));
        low = min(low, _mm512_permute_ps(low, 0x4E));
        const __m512i pick = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 0, 0, 0, 0, 0, 0, 0);
        low = _mm512_permutexvar_ps(pick, low);
        if constexpr (R == 8) {
            _mm256_storeu_ps(out, _mm512_castps512_ps256(low));
        } else {
            _mm_storeu_ps(out, _mm512_castps512_ps128(low));
        }
    }
};

struct Double512 {
    using Scalar = double;
    using Vector = __m512d;
    static constexpr int kLanes = 8;
    static constexpr int kTileRows = 8;
    static constexpr int kChains = 24;
    static constexpr int kMaxFew = 24;
    static constexpr int kQuad = 2;

    static Vector load(const double* p) { return _mm512_loadu_pd(p); }
    static Vector load_first(const double* p, int n) {
        return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
    }
    static void store(double* p, Vector v) { _mm512_storeu_pd(p, v); }
    static Vector set1(double x) { return _mm512_set1_pd(x); }
    static Vector sub(Vector a, Vector b) { return _mm512_sub_pd(a, b); }
    static Vector min(Vector a, Vector b) { return _mm512_min_pd(a, b); }
    static Vector max(Vector a, Vector b) { return _mm512_max_pd(a, b); }
    static Vector raise(Vector highest, Vector value) {
        const __m512i bits = _mm512_castpd_si512(_mm512_abs_pd(value));
        return _mm512_castsi512_pd(_mm512_max_epi64(_mm512_castpd_si512(highest), bits));
    }
    static Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_pd(a, b, c); }
    static Vector fnma(Vector a, Vector b, Vector c) { return _mm512_fnmadd_pd(a, b, c); }
    static unsigned equal(Vector a, Vector b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
    static void keep_lower(Vector score, Vector here, Vector& low, Vector& index) {
        const auto lower = _mm512_cmp_pd_mask(score, low, _CMP_LT_OQ);
        low = _mm512_min_pd(score, low);
        index = _mm512_mask_blend_pd(lower, index, here);
    }
    static double first(Vector v) { return _mm512_cvtsd_f64(v); }
    static double lowest(Vector v) { return _mm512_reduce_min_pd(v); }
    static double sum(Vector v) { return _mm512_reduce_add_pd(v); }

    static void transpose_quad(Vector (&v)[2]) {
        const Vector first = _mm512_unpacklo_pd(v[0], v[1]);
        v[1] = _mm512_unpackhi_pd(v[0], v[1]);
        v[0] = first;
    }
    static void join_quads(Vector (&v)[4]) {
        const Vector a = _mm512_shuffle_f64x2(v[0], v[1], 0x88);
        const Vector b = _mm512_shuffle_f64x2(v[0], v[1], 0xDD);
        const Vector c = _mm512_shuffle_f64x2(v[2], v[3], 0x88);
        const Vector d = _mm512_shuffle_f64x2(v[2], v[3], 0xDD);
        v[0] = _mm512_shuffle_f64x2(a, c, 0x88);
        v[1] = _mm512_shuffle_f64x2(b, d, 0x88);
        v[2] = _mm512_shuffle_f64x2(a, c, 0xDD);
        v[3] = _mm512_shuffle_f64x2(b, d, 0xDD);
    }

    template <int R>
    static void lowest_of_rows(const Vector (&v)[R], double* out) {
        static_assert(R == 8 || R == 4, "tiles have 8 or 4 rows");
        Vector two[R / 2], four[R / 4];
        for (int r = 0; r < R / 2; ++r) {
            two[r] = min(_mm512_unpacklo_pd(v[2 * r], v[2 * r + 1]),
                         _mm512_unpackhi_pd(v[2 * r], v[2 * r + 1]));
        }
        for (int r = 0; r < R / 4; ++r) {
            four[r] = min(_mm512_shuffle_f64x2(two[2 * r], two[2 * r + 1], 0x44),
                          _mm512_shuffle_f64x2(two[2 * r], two[2 * r + 1], 0xEE));
        }
        const Vector other = four[R / 4 - 1];
        const Vector low = min(_mm512_shuffle_f64x2(four[0], other, 0x88),
                               _mm512_shuffle_f64x2(four[0], other, 0xDD));
        if constexpr (R == 8) {
            _mm512_storeu_pd(out, low);
        } else {
            _mm256_storeu_pd(out, _mm512_castpd512_pd256(low));
        }
    }
};

using SimdFloat = Float512;
using SimdDouble = Double512;

// Eight float64 lanes.

constexpr int kFolded = 8;
constexpr int kHeld = 16;

struct Eight {
    __m512d lanes;

    static Eight zero() { return {_mm512_setzero_pd()}; }
    static Eight load(const double* p) { return {_mm512_loadu_pd(p)}; }
    static Eight load(const float* p) { return widened(_mm256_loadu_ps(p)); }
    static Eight load_some(const double* p, std::int64_t n) {
        return {_mm512_maskz_loadu_pd(mask(n), p)};
    }
    static Eight load_some(const float* p, std::int64_t n) {
        return widened(_mm256_maskz_loadu_ps(mask(n), p));
    }

  private:
    // gcc 12 takes the source of unmasked conversions and shuffles for uninitialised.
    static Eight widened(__m256 values) { return {_mm512_maskz_cvtps_pd(0xff, values)}; }
    static __mmask8 mask(std::int64_t n) { return static_cast<__mmask8>((1u << n) - 1); }
};

inline Eight operator-(Eight a, Eight b) { return {a.lanes - b.lanes}; }
inline Eight fused(Eight a, Eight b, Eight c) {
    return {_mm512_fmadd_pd(a.lanes, b.lanes, c.lanes)};
}

inline unsigned below(const double* values, double bound) {
    return _mm512_cmp_pd_mask(_mm512_loadu_pd(values), _mm512_set1_pd(bound), _CMP_LT_OQ);
}

inline void fold(const Eight* sums, double* out) {
    // Halves of a vector, then quarters, then the two values of each quarter: even and odd sums
    // meet in the order in which the last step interleaves them.
    const auto halves = [&](int i, int j) {
        const __m512d a = sums[i].lanes, b = sums[j].lanes;
        return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
               __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
    };
    const auto quarters = [&](int i, int j, int k, int l) {
        const __m512d a = halves(i, j), b = halves(k, l);
        return __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13) +
               __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15);
    };
    const __m512d even = quarters(0, 2, 4, 6), odd = quarters(1, 3, 5, 7);
    _mm512_storeu_pd(out, __builtin_shufflevector(even, odd, 0, 8, 2, 10, 4, 12, 6, 14) +
                              __builtin_shufflevector(even, odd, 1, 9, 3, 11, 5, 13, 7, 15));
}

}  // namespace
}  // namespace harpy::kmeans
