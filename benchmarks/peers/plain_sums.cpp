// The sums of a k-means iteration and the inertia as one would write them if rounding did not
// matter: what exact ones are compared with. One thread, float64 accumulators.

#include <cstdint>

// weights: nullptr, or one for each row.
template <class T>
static void sums(const T* x, const T* weights, const std::int32_t* labels, std::int64_t n,
                 std::int64_t d, double* totals) {
    for (std::int64_t i = 0; i < n; ++i) {
        double* total = totals + labels[i] * d;
        if (weights == nullptr) {
            for (std::int64_t j = 0; j < d; ++j) total[j] += static_cast<double>(x[i * d + j]);
        } else {
            const double weight = static_cast<double>(weights[i]);
            for (std::int64_t j = 0; j < d; ++j) {
                total[j] += weight * static_cast<double>(x[i * d + j]);
            }
        }
    }
}

// The pragma lets the compiler reorder, and so vectorize, the sum over columns.
template <class T>
static double inertia(const T* x, const T* weights, const std::int32_t* labels, std::int64_t n,
                      std::int64_t d, const T* centers) {
    double total = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const T* center = centers + labels[i] * d;
        double squared = 0;
#pragma omp simd reduction(+ : squared)
        for (std::int64_t j = 0; j < d; ++j) {
            const double difference =
                static_cast<double>(x[i * d + j]) - static_cast<double>(center[j]);
            squared += difference * difference;
        }
        total += weights == nullptr ? squared : static_cast<double>(weights[i]) * squared;
    }
    return total;
}

extern "C" {
void sums_float32(const float* x, const float* weights, const std::int32_t* labels, std::int64_t n,
                  std::int64_t d, double* totals) {
    sums(x, weights, labels, n, d, totals);
}
void sums_float64(const double* x, const double* weights, const std::int32_t* labels,
                  std::int64_t n, std::int64_t d, double* totals) {
    sums(x, weights, labels, n, d, totals);
}
double inertia_float32(const float* x, const float* weights, const std::int32_t* labels,
                       std::int64_t n, std::int64_t d, const float* centers) {
    return inertia(x, weights, labels, n, d, centers);
}
double inertia_float64(const double* x, const double* weights, const std::int32_t* labels,
                       std::int64_t n, std::int64_t d, const double* centers) {
    return inertia(x, weights, labels, n, d, centers);
}
}
