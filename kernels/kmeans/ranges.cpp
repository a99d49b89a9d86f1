// Range of every column, and the first value that is not finite.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kmeans.h"
#include "parallel.h"

namespace harpy::kmeans {

namespace {

constexpr std::int64_t kRangeRows = 1024;

// Raises absmax by the block's values; false when one of them is not finite.
template <class T>
bool raise_ranges(const T* x, std::int64_t n_rows, std::int64_t d, T* __restrict absmax) noexcept {
    bool finite = true;
    for (std::int64_t i = 0; i < n_rows; ++i) {
        for (std::int64_t j = 0; j < d; ++j) {
            const T magnitude = std::fabs(x[i * d + j]);
            // False for NaN, too: a comparison with it never holds.
            const bool in_range = magnitude <= std::numeric_limits<T>::max();
            finite &= in_range;
            absmax[j] = in_range && magnitude > absmax[j] ? magnitude : absmax[j];
        }
    }
    return finite;
}

template <class T>
std::int64_t first_not_finite(const T* x, std::int64_t n_values) noexcept {
    return std::find_if(x, x + n_values, [](T value) { return !std::isfinite(value); }) - x;
}

}  // namespace

template <class T>
Status column_ranges(Matrix<T> x, int n_thread, double* absmax, std::int64_t* first_bad) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        const std::int64_t d = x.n_columns;
        n_thread = useful_threads(x.n_rows, kRangeRows, n_thread);
        std::vector<std::vector<T>> part(n_thread, std::vector<T>(d));
        std::vector<std::int64_t> bad(n_thread, std::numeric_limits<std::int64_t>::max());
        for_row_blocks(
            x.n_rows, kRangeRows, n_thread, [&](int thread, std::int64_t begin, std::int64_t end) {
                const T* rows = x.data + begin * d;
                if (!raise_ranges(rows, end - begin, d, part[thread].data())) {
                    const std::int64_t at = begin * d + first_not_finite(rows, (end - begin) * d);
                    bad[thread] = std::min(bad[thread], at);
                }
            });
        std::fill(absmax, absmax + d, 0.0);
        for (const std::vector<T>& values : part) {
            for (std::int64_t j = 0; j < d; ++j) {
                absmax[j] = std::max(absmax[j], static_cast<double>(values[j]));
            }
        }
        const std::int64_t first = *std::min_element(bad.begin(), bad.end());
        *first_bad = first == std::numeric_limits<std::int64_t>::max() ? -1 : first;
        return Status::ok;
    });
}

void column_exponents(const double* absmax, std::int64_t n_columns,
                      std::int32_t* exponents) noexcept {
    const FloatEnvironment environment;
    for (std::int64_t j = 0; j < n_columns; ++j) {
        exponents[j] = absmax[j] > 0.0 ? std::ilogb(absmax[j]) : 0;
    }
}

template Status column_ranges<float>(Matrix<float>, int, double*, std::int64_t*) noexcept;
template Status column_ranges<double>(Matrix<double>, int, double*, std::int64_t*) noexcept;

}  // namespace harpy::kmeans
