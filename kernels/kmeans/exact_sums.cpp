#include "exact_sums.h"

#include <algorithm>

#include "float_environment.h"
#include "parallel.h"
#include "weighted_row.h"

namespace harpy::kmeans {

namespace {

constexpr std::int64_t kLimbMask = (std::int64_t{1} << 48) - 1;

}  // namespace

void store_limbs(Wide value, std::int64_t* limbs) noexcept {
    limbs[0] = static_cast<std::int64_t>(value) & kLimbMask;
    limbs[1] = static_cast<std::int64_t>(value >> 48) & kLimbMask;
    limbs[2] = static_cast<std::int64_t>(value >> 96);
}

Wide load_limbs(const std::int64_t* limbs) noexcept {
    // Unsigned, because limbs of differences carry any sign: the sum is right modulo 2^128.
    using Unsigned = unsigned __int128;
    const auto digit = [limbs](int i) { return static_cast<Unsigned>(Wide{limbs[i]}); };
    return static_cast<Wide>(digit(0) + (digit(1) << 48) + (digit(2) << 96));
}

ExactSums::ExactSums(std::int64_t n_clusters, std::int64_t n_columns, const std::int32_t* exponents)
    : n_clusters_(n_clusters),
      n_columns_(n_columns),
      magic_high_(n_columns),
      magic_low_(n_columns),
      whole_from_(n_columns),
      totals_(n_clusters * n_columns),
      counts_(n_clusters) {
    scale_high_.reserve(n_columns);
    scale_low_.reserve(n_columns);
    for (std::int64_t j = 0; j < n_columns; ++j) {
        const int high = std::max(exponents[j], kMinExponent) - kWordBits;
        const int low = high - kWordBits;
        magic_high_[j] = std::ldexp(1.5, 52 + high);
        magic_low_[j] = std::ldexp(1.5, 52 + low);
        // The last of the 24 bits of such a value is worth a quantum or more.
        whole_from_[j] = std::ldexp(1.0f, std::min(high + 23, 127));
        scale_high_.emplace_back(-high);
        scale_low_.emplace_back(-low);
    }
}

ExactSums::Part::Part(ExactSums& sums)
    : sums_(&sums),
      high_(sums.n_clusters_ * sums.n_columns_),
      low_(sums.n_clusters_ * sums.n_columns_),
      counts_(sums.n_clusters_),
      n_pending_(sums.n_clusters_) {}

void ExactSums::flush(Part& part, std::int64_t cluster) noexcept {
    double* high = part.high(cluster);
    double* low = part.low(cluster);
    Wide* total = totals_.data() + cluster * n_columns_;
    for (std::int64_t j = 0; j < n_columns_; ++j) {
        total[j] +=
            Wide{scale_high_[j](high[j])} * (Wide{1} << kWordBits) + Wide{scale_low_[j](low[j])};
        high[j] = low[j] = 0.0;
    }
    counts_[cluster] += part.counts_[cluster];
    part.counts_[cluster] = 0;
    part.n_pending_[cluster] = 0;
}

void ExactSums::flush(std::vector<Part>& parts, int n_thread) noexcept {
    for_row_blocks(n_clusters_, 1, useful_threads(n_clusters_, 1, n_thread),
                   [&](int, std::int64_t begin, std::int64_t end) {
                       for (std::int64_t c = begin; c < end; ++c) {
                           for (Part& part : parts) {
                               if (part.n_pending_[c] != 0) flush(part, c);
                           }
                       }
                   });
}

void ExactSums::store(std::int64_t* limbs, std::int64_t* counts, int n_thread) const noexcept {
    for_row_blocks(n_clusters_, 1, useful_threads(n_clusters_, 1, n_thread),
                   [&](int, std::int64_t begin, std::int64_t end) {
                       for (std::int64_t at = begin * n_columns_; at < end * n_columns_; ++at) {
                           store_limbs(totals_[at], limbs + kSumLimbs * at);
                       }
                   });
    std::copy(counts_.begin(), counts_.end(), counts);
}

template <class T>
Status accumulate(const LaneKernels* lanes, Matrix<T> x, const T* weights,
                  const std::int32_t* labels, std::int64_t n_clusters,
                  const std::int32_t* exponents, int n_thread, std::int64_t* limbs,
                  std::int64_t* counts) noexcept {
    return guarded([&]() -> Status {
        const std::int64_t n_columns = x.n_columns + (weights != nullptr);
        std::int64_t n_sums;
        if (!checked_product(n_clusters, n_columns, &n_sums)) return Status::too_large;
        const FloatEnvironment environment;
        n_thread = useful_threads(x.n_rows, kBlockRows, n_thread);
        ExactSums sums(n_clusters, n_columns, exponents);
        std::vector<ExactSums::Part> parts(n_thread, ExactSums::Part(sums));
        std::vector<WeightedRow> weighted(n_thread,
                                          WeightedRow(weights == nullptr ? 0 : n_columns));
        for_row_blocks(x.n_rows, kBlockRows, n_thread,
                       [&](int thread, std::int64_t begin, std::int64_t end) {
                           for (std::int64_t i = begin; i < end; ++i) {
                               const T* row = x.data + i * x.n_columns;
                               const std::int32_t label = labels == nullptr ? 0 : labels[i];
                               if (weights == nullptr) {
                                   parts[thread].add(row_kernels<T>(*lanes).tiles, row, label);
                               } else {
                                   parts[thread].add(row_kernels<double>(*lanes).tiles,
                                                     weighted[thread].of(row, weights[i]), label);
                               }
                           }
                       });
        sums.flush(parts, n_thread);
        sums.store(limbs, counts, n_thread);
        return Status::ok;
    });
}

template Status accumulate<float>(const LaneKernels*, Matrix<float>, const float*,
                                  const std::int32_t*, std::int64_t, const std::int32_t*, int,
                                  std::int64_t*, std::int64_t*) noexcept;
template Status accumulate<double>(const LaneKernels*, Matrix<double>, const double*,
                                   const std::int32_t*, std::int64_t, const std::int32_t*, int,
                                   std::int64_t*, std::int64_t*) noexcept;

}  // namespace harpy::kmeans
