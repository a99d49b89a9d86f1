// From exact sums to float64 once: centers, and the means of all rows.
#include <algorithm>
#include <cmath>
#include <vector>

#include "sums/exact_sums.h"
#include "threads/float_environment.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

// Fewer values than this are no work for a second thread.
constexpr std::int64_t kMeanValues = 1 << 14;
constexpr std::int64_t kMeansAtOnce = 64;

// What one step of each column's sums is worth, a power of two: a product with it rounds only
// where the result is subnormal, as the mean must.
std::vector<double> sum_units(const std::int32_t* exponents, std::int64_t n_columns) {
    std::vector<double> units(n_columns);
    for (std::int64_t j = 0; j < n_columns; ++j) {
        units[j] = std::ldexp(1.0, std::max(exponents[j], kMinExponent) - 2 * kWordBits);
    }
    return units;
}

// Whether each total is the sum of two exact float64 terms, so that only their sum is rounded:
// limbs in [-2^52, 2^52), the last one in [-8, 8).
bool have_two_terms(const std::int64_t* sums, std::int64_t n) noexcept {
    constexpr std::uint64_t kExact = std::uint64_t{1} << 52, kLast = 8;
    std::uint64_t exact = 0, last = 0;
    for (std::int64_t j = 0; j < n; ++j) {
        const std::int64_t* limbs = sums + kSumLimbs * j;
        exact |= (limbs[0] + kExact) | (limbs[1] + kExact);
        last |= limbs[2] + kLast;
    }
    return exact < 2 * kExact && last < 2 * kLast;
}

double sum_two_terms(const std::int64_t* limbs) noexcept {
    constexpr std::int64_t kLimb = std::int64_t{1} << 48;
    return static_cast<double>(limbs[1] + limbs[2] * kLimb) * 0x1p48 +
           static_cast<double>(limbs[0]);
}

// The totals, each rounded once, times their units over the weight. One branch for all of them:
// those of sparse rows are of every kind, and foreseen by nobody.
template <class T>
void store_means(const std::int64_t* sums, const double* units, std::int64_t n, double weight,
                 T* means) noexcept {
    double totals[kMeansAtOnce];
    if (have_two_terms(sums, n)) {
        for (std::int64_t j = 0; j < n; ++j) totals[j] = sum_two_terms(sums + kSumLimbs * j);
    } else {
        for (std::int64_t j = 0; j < n; ++j) {
            totals[j] = static_cast<double>(load_limbs(sums + kSumLimbs * j));
        }
    }
    for (std::int64_t j = 0; j < n; ++j) means[j] = static_cast<T>(totals[j] * units[j] / weight);
}

}  // namespace

template <class T>
Status centers_from_sums(const std::int64_t* limbs, const double* weights,
                         const std::int32_t* exponents, std::int64_t n_clusters,
                         std::int64_t n_columns, std::int64_t n_sums, int n_thread,
                         T* centers) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        const std::vector<double> units = sum_units(exponents, n_columns);
        const std::int64_t heaviest = std::max_element(weights, weights + n_clusters) - weights;
        const std::int64_t block = kMeanValues / std::max<std::int64_t>(n_columns, 1) + 1;
        n_thread = useful_threads(n_clusters, block, n_thread);
        for_row_blocks(n_clusters, block, n_thread, [&](int, std::int64_t begin, std::int64_t end) {
            for (std::int64_t c = begin; c < end; ++c) {
                // scikit-learn's place for a cluster nobody is near to; no rows leave zeros.
                const std::int64_t from = weights[c] > 0 ? c : heaviest;
                const double weight = weights[from] > 0 ? weights[from] : 1.0;
                const std::int64_t* sums = limbs + kSumLimbs * from * n_sums;
                for (std::int64_t j = 0; j < n_columns; j += kMeansAtOnce) {
                    const std::int64_t n = std::min(kMeansAtOnce, n_columns - j);
                    store_means(sums + kSumLimbs * j, units.data() + j, n, weight,
                                centers + c * n_columns + j);
                }
            }
        });
        return Status::ok;
    });
}

template <class T>
Status next_centers(const std::int64_t* counts, const std::int64_t* limbs,
                    const std::int32_t* exponents, std::int64_t n_sums, Matrix<T> before,
                    int n_thread, T* after, double* shift, std::int64_t* n_empty) noexcept {
    return guarded([&]() -> Status {
        const std::int64_t k = before.n_rows, d = before.n_columns;
        std::vector<double> weights(counts, counts + k);
        if (n_sums > d) {
            const FloatEnvironment environment;
            const std::vector<double> unit = sum_units(exponents + d, 1);
            for (std::int64_t c = 0; c < k; ++c) {
                store_means(limbs + kSumLimbs * (c * n_sums + d), unit.data(), 1, 1.0, &weights[c]);
            }
        }
        *n_empty = std::count(weights.begin(), weights.end(), 0.0);
        const Status status =
            centers_from_sums(limbs, weights.data(), exponents, k, d, n_sums, n_thread, after);
        *shift = center_shift(before, {after, k, d});
        return status;
    });
}

Status column_means(const std::int64_t* limbs, const std::int64_t* counts,
                    const std::int32_t* exponents, std::int64_t n_clusters, std::int64_t n_columns,
                    double* means) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        const std::vector<double> units = sum_units(exponents, n_columns);
        std::vector<Wide> totals(n_columns);
        std::int64_t n_rows = 0;
        for (std::int64_t c = 0; c < n_clusters; ++c) {
            n_rows += counts[c];
            for (std::int64_t j = 0; j < n_columns; ++j) {
                totals[j] += load_limbs(limbs + kSumLimbs * (c * n_columns + j));
            }
        }
        const double count = static_cast<double>(std::max<std::int64_t>(n_rows, 1));
        for (std::int64_t j = 0; j < n_columns; ++j) {
            means[j] = static_cast<double>(totals[j]) * units[j] / count;
        }
        return Status::ok;
    });
}

template Status centers_from_sums<float>(const std::int64_t*, const double*, const std::int32_t*,
                                         std::int64_t, std::int64_t, std::int64_t, int,
                                         float*) noexcept;
template Status centers_from_sums<double>(const std::int64_t*, const double*, const std::int32_t*,
                                          std::int64_t, std::int64_t, std::int64_t, int,
                                          double*) noexcept;
template Status next_centers<float>(const std::int64_t*, const std::int64_t*, const std::int32_t*,
                                    std::int64_t, Matrix<float>, int, float*, double*,
                                    std::int64_t*) noexcept;
template Status next_centers<double>(const std::int64_t*, const std::int64_t*, const std::int32_t*,
                                     std::int64_t, Matrix<double>, int, double*, double*,
                                     std::int64_t*) noexcept;

}  // namespace harpy::kmeans
