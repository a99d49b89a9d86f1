// Range of every column, measured block by block by whoever reads the rows anyway.
#pragma once

#include <cstdint>
#include <vector>

#include "isa/lane_kernels.h"
#include "kmeans.h"

namespace harpy::kmeans {

template <class T>
class ColumnRanges {
  public:
    // Throws std::bad_alloc.
    ColumnRanges(const LaneKernels& lanes, Matrix<T> x, int n_thread);

    // Rows that stay in the second-level cache until they are read again.
    std::int64_t block_rows() const noexcept { return block_rows_; }
    void look(int thread, std::int64_t begin, std::int64_t end) noexcept;
    // Instead of all rows of a thread, or some: the highest magnitudes of their columns.
    void look_at(int thread, const T* highest) noexcept;

    // After all rows have been seen, once each: as column_ranges.
    std::int64_t finish(double* absmax) const noexcept;

  private:
    const DistanceKernels<T>& kernels_;
    const Matrix<T> x_;
    // Narrow rows are read several at once, so that vectors have full lanes.
    const std::int64_t fold_, wide_, block_rows_;
    std::vector<std::vector<Bits<T>>> parts_;
};

}  // namespace harpy::kmeans
