// A fixed-point accumulator as wide as float64's whole range: sums without rounding, in any order.
#pragma once

#include <cstdint>

#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "threads/threads.h"

namespace harpy::kmeans {

// Values that add_block takes at once: two words of their sums are exact in float64.
constexpr std::int64_t kScalarBlock = 512;

class alignas(kCacheLine) ExactScalar {
  public:
    void add(double value) noexcept;
    // At most kScalarBlock values; much faster, where the magnitudes span less than 2^39.
    void add_block(const LaneKernels& lanes, const double* values, std::int64_t n) noexcept;
    void add(ExactScalar& other) noexcept;
    void store(std::int64_t* limbs) noexcept;

  private:
    void carry() noexcept;

    std::int64_t digits_[kScalarLimbs] = {};
    std::int64_t n_pending_ = 0;
};

}  // namespace harpy::kmeans
