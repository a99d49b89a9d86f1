// Range of every column, and the first value that is not finite.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kmeans.h"
#include "lane_kernels.h"
#include "parallel.h"

namespace harpy::kmeans {

namespace {

// Narrow rows are read several at once, so that vectors have full lanes.
constexpr std::int64_t kWideColumns = 256;

// For data that will be refused: finite magnitudes, and the first other value.
template <class T>
std::int64_t ranges_of_bad_rows(Matrix<T> x, double* absmax) noexcept {
    std::int64_t first_bad = -1;
    std::fill(absmax, absmax + x.n_columns, 0.0);
    for (std::int64_t i = 0; i < x.n_rows; ++i) {
        for (std::int64_t j = 0; j < x.n_columns; ++j) {
            const T value = x.data[i * x.n_columns + j];
            if (std::isfinite(value)) {
                absmax[j] = std::max(absmax[j], static_cast<double>(std::fabs(value)));
            } else if (first_bad < 0) {
                first_bad = i * x.n_columns + j;
            }
        }
    }
    return first_bad;
}

}  // namespace

template <class T>
Status column_ranges(const LaneKernels* lanes, Matrix<T> x, int n_thread, double* absmax,
                     std::int64_t* first_bad) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        const DistanceKernels<T>& kernels = row_kernels<T>(*lanes).distance;
        const std::int64_t d = x.n_columns;
        const std::int64_t fold = count_blocks(kWideColumns, d), wide = fold * d;
        // About 256 KiB, and whole wide rows but for the last block.
        const std::int64_t block_rows = fold * count_blocks(std::int64_t{1} << 16, wide);
        n_thread = useful_threads(x.n_rows, block_rows, n_thread);
        std::vector<std::vector<Bits<T>>> part(n_thread, std::vector<Bits<T>>(wide));
        for_row_blocks(
            x.n_rows, block_rows, n_thread, [&](int thread, std::int64_t begin, std::int64_t end) {
                const T* rows = x.data + begin * d;
                const std::int64_t n_wide = (end - begin) / fold;
                kernels.raise_magnitudes(rows, n_wide, wide, part[thread].data());
                kernels.raise_magnitudes(rows + n_wide * wide, end - begin - n_wide * fold, d,
                                         part[thread].data());
            });
        bool finite = true;
        for (std::int64_t j = 0; j < d; ++j) {
            Bits<T> highest = 0;
            for (const std::vector<Bits<T>>& values : part) {
                for (std::int64_t at = j; at < wide; at += d) {
                    highest = std::max(highest, values[at]);
                }
            }
            T magnitude;
            std::memcpy(&magnitude, &highest, sizeof magnitude);
            finite &= std::isfinite(magnitude);
            absmax[j] = static_cast<double>(magnitude);
        }
        *first_bad = finite ? -1 : ranges_of_bad_rows(x, absmax);
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

template Status column_ranges<float>(const LaneKernels*, Matrix<float>, int, double*,
                                     std::int64_t*) noexcept;
template Status column_ranges<double>(const LaneKernels*, Matrix<double>, int, double*,
                                      std::int64_t*) noexcept;

}  // namespace harpy::kmeans
