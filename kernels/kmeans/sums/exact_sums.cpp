#include "sums/exact_sums.h"

#include <algorithm>

#include "isa/prefetch.h"
#include "threads/float_environment.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

constexpr std::int64_t kLimbMask = (std::int64_t{1} << 48) - 1;

// Words from one cluster's sums to the next: none lies in more cache lines than it must.
std::int64_t stride_of(std::int64_t n_columns) noexcept {
    constexpr std::int64_t kLineWords = 64 / sizeof(double);
    std::int64_t stride = 1;
    while (stride < std::min(n_columns, kLineWords)) stride *= 2;
    return count_blocks(n_columns, stride) * stride;
}

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

template <class T>
RowSums<T>::RowSums(const LaneKernels& lanes, Matrix<T> x, const T* weights,
                    std::int64_t n_clusters, const std::int32_t* exponents, int n_thread)
    : kernels_(row_kernels<T>(lanes).tiles),
      x_(x),
      weights_(weights),
      n_clusters_(n_clusters),
      n_columns_(x.n_columns + (weights != nullptr)),
      stride_(stride_of(n_columns_)),
      magic_high_(n_columns_),
      magic_low_(n_columns_),
      whole_from_(n_columns_),
      totals_(n_clusters * n_columns_),
      counts_(n_clusters) {
    parts_.reserve(n_thread);
    for (int t = 0; t < n_thread; ++t) parts_.emplace_back(n_clusters, stride_);
    scale_high_.reserve(n_columns_);
    scale_low_.reserve(n_columns_);
    for (std::int64_t j = 0; j < n_columns_; ++j) {
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

template <class T>
void RowSums<T>::flush(Part& part, std::int64_t cluster) noexcept {
    double* high = part.high.data() + cluster * stride_;
    double* low = part.low.data() + cluster * stride_;
    Wide* total = totals_.data() + cluster * n_columns_;
    for (std::int64_t j = 0; j < n_columns_; ++j) {
        total[j] +=
            Wide{scale_high_[j](high[j])} * (Wide{1} << kWordBits) + Wide{scale_low_[j](low[j])};
        high[j] = low[j] = 0.0;
    }
    counts_[cluster] += part.counts[cluster];
    part.counts[cluster] = 0;
    part.n_pending[cluster] = 0;
}

template <class T>
void RowSums<T>::store(std::int64_t* limbs, std::int64_t* counts) noexcept {
    for_row_blocks(n_clusters_, 1, useful_threads(n_clusters_, 1, static_cast<int>(parts_.size())),
                   [&](int, std::int64_t begin, std::int64_t end) {
                       for (std::int64_t c = begin; c < end; ++c) {
                           for (Part& part : parts_) {
                               if (part.n_pending[c] != 0) flush(part, c);
                           }
                           for (std::int64_t at = c * n_columns_; at < (c + 1) * n_columns_; ++at) {
                               store_limbs(totals_[at], limbs + kSumLimbs * at);
                           }
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
        std::int64_t n_sums;
        if (!checked_product(n_clusters, x.n_columns + 1, &n_sums)) return Status::too_large;
        const FloatEnvironment environment;
        n_thread = useful_threads(x.n_rows, kBlockRows, n_thread);
        RowSums<T> sums(*lanes, x, weights, n_clusters, exponents, n_thread);
        const std::int64_t ahead = 1 + rows_ahead<T>(x.n_columns);
        for_row_blocks(x.n_rows, kBlockRows, n_thread,
                       [&](int thread, std::int64_t begin, std::int64_t end) {
                           for (std::int64_t i = begin; i < end; ++i) {
                               const std::int64_t soon = std::min(i + ahead, x.n_rows - 1);
                               prefetch_row(x.data + soon * x.n_columns, x.n_columns);
                               sums.move(thread, i, -1, labels == nullptr ? 0 : labels[i]);
                           }
                       });
        sums.store(limbs, counts);
        return Status::ok;
    });
}

template class RowSums<float>;
template class RowSums<double>;
template Status accumulate<float>(const LaneKernels*, Matrix<float>, const float*,
                                  const std::int32_t*, std::int64_t, const std::int32_t*, int,
                                  std::int64_t*, std::int64_t*) noexcept;
template Status accumulate<double>(const LaneKernels*, Matrix<double>, const double*,
                                   const std::int32_t*, std::int64_t, const std::int32_t*, int,
                                   std::int64_t*, std::int64_t*) noexcept;

}  // namespace harpy::kmeans
