// Exact sums of rows per cluster: two float64 words per value while few are pending, 128-bit
// integers after that. docs/numerics.md has the quanta and the proof sketch.
#pragma once

#include <cmath>
#include <cstdint>
#include <mutex>
#include <vector>

#include "kmeans.h"
#include "lane_kernels.h"

namespace harpy::kmeans {

using Wide = __int128;

// Below this exponent the second quantum would be finer than the smallest subnormal.
constexpr int kMinExponent = -1002;
constexpr int kWordBits = 36;
// So many values of one word add in float64 without rounding.
constexpr std::int32_t kMaxPending = std::int32_t{1} << 16;

void store_limbs(Wide value, std::int64_t* limbs) noexcept;
Wide load_limbs(const std::int64_t* limbs) noexcept;

// Totals stay right when rows change sides: whatever is taken away is what had been added.
class ExactSums {
  public:
    // Throws std::bad_alloc. All totals are 0.
    ExactSums(std::int64_t n_clusters, std::int64_t n_columns, const std::int32_t* exponents);

    // One thread's changes that are not in the totals yet.
    class Part {
      public:
        explicit Part(ExactSums& sums);

        template <class T>
        void add(const TileKernels<T>& kernels, const T* row, std::int64_t to) noexcept {
            make_room(to);
            kernels.add_split(row, sums_->n_columns_, sums_->quanta(), high(to), low(to));
            ++counts_[to];
        }
        template <class T>
        void move(const TileKernels<T>& kernels, const T* row, std::int64_t from,
                  std::int64_t to) noexcept {
            make_room(from);
            make_room(to);
            kernels.move_split(row, sums_->n_columns_, sums_->quanta(), high(from), low(from),
                               high(to), low(to));
            --counts_[from];
            ++counts_[to];
        }
        // A row of no label yet is added.
        template <class T>
        void change(const TileKernels<T>& kernels, const T* row, std::int32_t before,
                    std::int32_t label) noexcept {
            if (before < 0) {
                add(kernels, row, label);
            } else {
                move(kernels, row, before, label);
            }
        }

      private:
        friend class ExactSums;
        double* high(std::int64_t cluster) noexcept {
            return high_.data() + cluster * sums_->n_columns_;
        }
        double* low(std::int64_t cluster) noexcept {
            return low_.data() + cluster * sums_->n_columns_;
        }
        void make_room(std::int64_t cluster) noexcept {
            if (n_pending_[cluster]++ == kMaxPending) {
                const std::lock_guard<std::mutex> turn(sums_->turn_);
                sums_->flush(*this, cluster);
                n_pending_[cluster] = 1;
            }
        }

        ExactSums* sums_;
        std::vector<double> high_, low_;
        std::vector<std::int64_t> counts_;
        std::vector<std::int32_t> n_pending_;
    };

    // Moves what is pending in all parts into the totals.
    void flush(std::vector<Part>& parts, int n_thread) noexcept;
    void store(std::int64_t* limbs, std::int64_t* counts, int n_thread) const noexcept;

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
    Quanta quanta() const noexcept {
        return {magic_high_.data(), magic_low_.data(), whole_from_.data()};
    }
    void flush(Part& part, std::int64_t cluster) noexcept;

    std::int64_t n_clusters_, n_columns_;
    std::vector<double> magic_high_, magic_low_;
    std::vector<float> whole_from_;
    std::vector<Scale> scale_high_, scale_low_;
    std::vector<Wide> totals_;  // in units of 2^(exponent - 72)
    std::vector<std::int64_t> counts_;
    std::mutex turn_;
};

}  // namespace harpy::kmeans
