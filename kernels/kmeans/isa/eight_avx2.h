// eight_scalar.h for AVX2 with FMA.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace harpy::kmeans {
namespace {

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

}  // namespace
}  // namespace harpy::kmeans
