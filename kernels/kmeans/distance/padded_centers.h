// Centers in float64 as the distance kernels read them.
#pragma once

#include <cstdint>
#include <vector>

#include "kmeans.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

// Rows of whole cache lines, zeros beyond the last column. Throws std::bad_alloc.
class PaddedCenters {
  public:
    template <class C>
    explicit PaddedCenters(Matrix<C> centers)
        : lines_per_row_(count_blocks(centers.n_columns, 8)),
          lines_(centers.n_rows * lines_per_row_) {
        for (std::int64_t c = 0; c < centers.n_rows; ++c) {
            double* row = &lines_[c * lines_per_row_].values[0];
            for (std::int64_t j = 0; j < centers.n_columns; ++j) {
                row[j] = static_cast<double>(centers.data[c * centers.n_columns + j]);
            }
        }
    }
    const double* data() const noexcept { return &lines_.data()->values[0]; }
    std::int64_t stride() const noexcept { return 8 * lines_per_row_; }

  private:
    struct alignas(64) Line {
        double values[8] = {};
    };
    std::int64_t lines_per_row_;
    std::vector<Line> lines_;
};

}  // namespace harpy::kmeans
