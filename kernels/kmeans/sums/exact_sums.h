// Exact sums of rows per cluster: two float64 words per value while few are pending, 128-bit
// integers after that. docs/numerics.md has the quanta and the proof sketch.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <vector>

#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "threads/buffer.h"

namespace harpy::kmeans {

using Wide = __int128;

// Below this exponent the second quantum would be finer than the smallest subnormal.
constexpr int kMinExponent = -1002;
constexpr int kWordBits = 36;
// So many values of one word add in float64 without rounding.
constexpr std::int32_t kMaxPending = std::int32_t{1} << 16;

void store_limbs(Wide value, std::int64_t* limbs) noexcept;
Wide load_limbs(const std::int64_t* limbs) noexcept;

// The exact sums of the rows of each cluster, each times its weight if there are weights, and then
// with the weight as one column more. They stay right when rows change sides: whatever is taken
// away is what had been added. Each thread adds to a part of its own.
template <class T>
class RowSums {
  public:
    // weights: nullptr, or somebody else's, as x is. Throws std::bad_alloc. No row is in yet.
    RowSums(const LaneKernels& lanes, Matrix<T> x, const T* weights, std::int64_t n_clusters,
            const std::int32_t* exponents, int n_thread);

    // Moves a row from one cluster to another; from < 0: it is new.
    void move(int thread, std::int64_t row, std::int32_t from, std::int32_t to) noexcept {
        Part& part = parts_[thread];
        const T* values = x_.data + row * x_.n_columns;
        const T* weight = weights_ == nullptr ? nullptr : weights_ + row;
        make_room(part, to);
        ++part.counts[to];
        double *high = part.high.data(), *low = part.low.data();
        if (from < 0) {
            kernels_.add_split(values, weight, x_.n_columns, quanta(), high + to * stride_,
                               low + to * stride_);
            return;
        }
        make_room(part, from);
        --part.counts[from];
        kernels_.move_split(values, weight, x_.n_columns, quanta(), high + from * stride_,
                            low + from * stride_, high + to * stride_, low + to * stride_);
    }

    // limbs (n_clusters, columns and weight, kSumLimbs) and counts (n_clusters) of all threads.
    void store(std::int64_t* limbs, std::int64_t* counts) noexcept;

  private:
    // One thread's changes that are not in the totals yet.
    struct Part {
        Part(std::int64_t n_clusters, std::int64_t stride)
            : high(n_clusters * stride),
              low(n_clusters * stride),
              counts(n_clusters),
              n_pending(n_clusters) {
            for (auto* words : {&high, &low}) std::fill(words->begin(), words->end(), 0.0);
        }
        Buffer<double> high, low;  // (n_clusters, stride_)
        std::vector<std::int64_t> counts;
        std::vector<std::int32_t> n_pending;
    };
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
    void make_room(Part& part, std::int64_t cluster) noexcept {
        if (part.n_pending[cluster]++ == kMaxPending) {
            const std::lock_guard<std::mutex> turn(turn_);
            flush(part, cluster);
            part.n_pending[cluster] = 1;
        }
    }
    void flush(Part& part, std::int64_t cluster) noexcept;

    const TileKernels<T>& kernels_;
    const Matrix<T> x_;
    const T* const weights_;
    const std::int64_t n_clusters_, n_columns_;
    const std::int64_t stride_;  // words from one cluster to the next
    Buffer<double> magic_high_, magic_low_;
    Buffer<float> whole_from_;
    std::vector<Scale> scale_high_, scale_low_;
    std::vector<Wide> totals_;  // in units of 2^(exponent - 72)
    std::vector<std::int64_t> counts_;
    std::vector<Part> parts_;  // of the threads
    std::mutex turn_;
};

}  // namespace harpy::kmeans
