// Exact running sums of k-means++ potentials, so that a draw meets the same row on any sharding.
#include <algorithm>
#include <cmath>
#include <vector>

#include "exact_sums.h"
#include "kmeans.h"
#include "parallel.h"

namespace harpy::kmeans {

namespace {

// A potential in units of 2^(exponent - 61), truncated: below 2^62 when exponent is the largest
// potential's. Truncation does not depend on the rounding mode.
class Quantiser {
  public:
    explicit Quantiser(int exponent) noexcept {
        const int power = 61 - std::max(exponent, kLeastExponent);
        first_ = std::ldexp(1.0, power / 2);
        second_ = std::ldexp(1.0, power - power / 2);
    }
    std::int64_t operator()(double potential) const noexcept {
        return static_cast<std::int64_t>(potential * first_ * second_);
    }

  private:
    static constexpr int kLeastExponent = -1022;
    double first_, second_;
};

constexpr std::int64_t kSumRows = 4096;

}  // namespace

Status potential_sums(Matrix<double> potentials, int exponent, int n_thread,
                      std::int64_t* limbs) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        const std::int64_t n = potentials.n_columns;
        const Quantiser quantise(exponent);
        n_thread = useful_threads(n, kSumRows, n_thread);
        std::vector<Wide> parts(n_thread);
        for (std::int64_t row = 0; row < potentials.n_rows; ++row) {
            std::fill(parts.begin(), parts.end(), Wide{0});
            for_row_blocks(n, kSumRows, n_thread,
                           [&](int thread, std::int64_t begin, std::int64_t end) {
                               Wide sum = 0;
                               for (std::int64_t i = begin; i < end; ++i) {
                                   sum += quantise(potentials.data[row * n + i]);
                               }
                               parts[thread] += sum;
                           });
            Wide total = 0;
            for (const Wide part : parts) total += part;
            store_limbs(total, limbs + kSumLimbs * row);
        }
        return Status::ok;
    });
}

Status prefix_search(const double* potentials, std::int64_t n_values, int exponent,
                     const std::int64_t* target_limbs, std::int64_t n_targets,
                     std::int64_t* found) noexcept {
    const FloatEnvironment environment;
    const Quantiser quantise(exponent);
    Wide running = 0;
    std::int64_t next = 0;
    for (std::int64_t i = 0; i < n_values && next < n_targets; ++i) {
        running += quantise(potentials[i]);
        while (next < n_targets && running >= load_limbs(target_limbs + kSumLimbs * next)) {
            found[next++] = i;
        }
    }
    std::fill(found + next, found + n_targets, n_values);
    return Status::ok;
}

}  // namespace harpy::kmeans
