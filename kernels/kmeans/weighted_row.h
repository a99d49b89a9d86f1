// A row times its weight, with the weight as one column more: what weighted sums are made of.
#pragma once

#include <cstdint>
#include <vector>

namespace harpy::kmeans {

// Room for one such row; one for each thread.
class WeightedRow {
  public:
    explicit WeightedRow(std::int64_t n_columns) : values_(n_columns) {}

    // Products are exact for float32 and rounded once for float64.
    template <class T>
    const double* of(const T* row, T weight) noexcept {
        const double factor = static_cast<double>(weight);
        const std::int64_t last = static_cast<std::int64_t>(values_.size()) - 1;
        double* values = values_.data();
        for (std::int64_t j = 0; j < last; ++j) values[j] = factor * static_cast<double>(row[j]);
        values[last] = factor;
        return values;
    }

  private:
    std::vector<double> values_;
};

}  // namespace harpy::kmeans
