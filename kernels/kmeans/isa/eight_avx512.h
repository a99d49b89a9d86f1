// eight_scalar.h for AVX-512.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace harpy::kmeans {
namespace {

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
