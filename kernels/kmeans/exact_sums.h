// Exact sums of rows per cluster: two float64 words per value while a block lasts, 128-bit integers
// after it. docs/numerics.md has the quanta and the proof sketch.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kmeans.h"
#include "lane_kernels.h"

namespace harpy::kmeans {

using Wide = __int128;

// Below this exponent the second quantum would be finer than the smallest subnormal.
constexpr int kMinExponent = -1002;
constexpr int kWordBits = 36;
// So many values of one word add in float64 without rounding.
constexpr std::int64_t kMaxBlockRows = std::int64_t{1} << 16;

void store_limbs(Wide value, std::int64_t* limbs) noexcept;
Wide load_limbs(const std::int64_t* limbs) noexcept;

class ExactSums {
  public:
    // Throws std::bad_alloc.
    ExactSums(std::int64_t n_clusters, std::int64_t n_columns, const std::int32_t* exponents);

    // One thread's share: rows go to add(), and whatever is pending to flush() at the end.
    class Part {
      public:
        explicit Part(const ExactSums& sums);

        template <class T>
        void add(const RowKernels<T>& kernels, const T* row, std::int64_t label) noexcept {
            const std::int64_t d = sums_->n_columns_;
            kernels.add_split(row, d, sums_->magic_high_.data(), sums_->magic_low_.data(),
                              high_.data() + label * d, low_.data() + label * d);
            ++counts_[label];
            ++n_pending_;
        }
        bool full_after(std::int64_t n_more) const noexcept {
            return n_pending_ + n_more > kMaxBlockRows;
        }

      private:
        friend class ExactSums;
        const ExactSums* sums_;
        std::vector<double> high_, low_;
        std::vector<std::int64_t> counts_;
        std::int64_t n_pending_ = 0;
    };

    // Moves a part's pending words into the totals; callers take turns (integers commute).
    void flush(Part& part) noexcept;
    void store(std::int64_t* limbs, std::int64_t* counts) const noexcept;

  private:
    // 1 / quantum as two factors: the quanta reach beyond what one float64 can invert.
    struct Scale {
        explicit Scale(int power) noexcept
            : first(std::ldexp(1.0, power / 2)), second(std::ldexp(1.0, power - power / 2)) {}
        std::int64_t operator()(double word) const noexcept {
            return static_cast<std::int64_t>(word * first * second);
        }
        double first, second;
    };

    std::int64_t n_clusters_, n_columns_;
    std::vector<double> magic_high_, magic_low_;
    std::vector<Scale> scale_high_, scale_low_;
    std::vector<Wide> totals_;  // in units of 2^(exponent - 72)
    std::vector<std::int64_t> counts_;
};

}  // namespace harpy::kmeans
