// Range of every column, and the first value that is not finite.
#include "ranges/ranges.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

// Columns of the rows that are read at once.
constexpr std::int64_t kWideColumns = 256;
constexpr std::int64_t kBlockValues = std::int64_t{1} << 16;

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
ColumnRanges<T>::ColumnRanges(const LaneKernels& lanes, Matrix<T> x, int n_thread)
    : kernels_(row_kernels<T>(lanes).distance),
      x_(x),
      fold_(count_blocks(kWideColumns, x.n_columns)),
      wide_(fold_ * x.n_columns),
      block_rows_(fold_ * count_blocks(kBlockValues, wide_)),
      parts_(n_thread, std::vector<Bits<T>>(wide_)) {}

template <class T>
void ColumnRanges<T>::look(int thread, std::int64_t begin, std::int64_t end) noexcept {
    const T* rows = x_.data + begin * x_.n_columns;
    const std::int64_t n_wide = (end - begin) / fold_;
    kernels_.raise_magnitudes(rows, n_wide, wide_, parts_[thread].data());
    kernels_.raise_magnitudes(rows + n_wide * wide_, end - begin - n_wide * fold_, x_.n_columns,
                              parts_[thread].data());
}

template <class T>
void ColumnRanges<T>::look_at(int thread, const T* highest) noexcept {
    kernels_.raise_magnitudes(highest, 1, x_.n_columns, parts_[thread].data());
}

template <class T>
std::int64_t ColumnRanges<T>::finish(double* absmax) const noexcept {
    bool finite = true;
    for (std::int64_t j = 0; j < x_.n_columns; ++j) {
        Bits<T> highest = 0;
        for (const std::vector<Bits<T>>& part : parts_) {
            for (std::int64_t at = j; at < wide_; at += x_.n_columns) {
                highest = std::max(highest, part[at]);
            }
        }
        T magnitude;
        std::memcpy(&magnitude, &highest, sizeof magnitude);
        finite &= std::isfinite(magnitude);
        absmax[j] = static_cast<double>(magnitude);
    }
    return finite ? -1 : ranges_of_bad_rows(x_, absmax);
}

template <class T>
Status column_ranges(const LaneKernels* lanes, Matrix<T> x, int n_thread, double* absmax,
                     std::int64_t* first_bad) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        ColumnRanges<T> ranges(*lanes, x, std::max(n_thread, 1));
        n_thread = useful_threads(x.n_rows, ranges.block_rows(), n_thread);
        for_row_blocks(x.n_rows, ranges.block_rows(), n_thread,
                       [&](int thread, std::int64_t begin, std::int64_t end) {
                           ranges.look(thread, begin, end);
                       });
        *first_bad = ranges.finish(absmax);
        return Status::ok;
    });
}

template <class T>
Status weighted_ranges(Matrix<T> x, const T* weights, int n_thread, double* absmax) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        const std::int64_t n_wide = x.n_columns + 1;
        n_thread = useful_threads(x.n_rows, kBlockRows, n_thread);
        std::vector<std::vector<double>> largest(n_thread, std::vector<double>(n_wide));
        for_row_blocks(x.n_rows, kBlockRows, n_thread,
                       [&](int thread, std::int64_t begin, std::int64_t end) {
                           double* most = largest[thread].data();
                           for (std::int64_t i = begin; i < end; ++i) {
                               const T* row = x.data + i * x.n_columns;
                               const double weight = static_cast<double>(weights[i]);
                               for (std::int64_t j = 0; j < x.n_columns; ++j) {
                                   const double value = weight * static_cast<double>(row[j]);
                                   most[j] = std::max(most[j], std::fabs(value));
                               }
                               most[x.n_columns] = std::max(most[x.n_columns], std::fabs(weight));
                           }
                       });
        for (const std::vector<double>& part : largest) {
            for (std::int64_t j = 0; j < n_wide; ++j) absmax[j] = std::max(absmax[j], part[j]);
        }
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

template class ColumnRanges<float>;
template class ColumnRanges<double>;
template Status column_ranges<float>(const LaneKernels*, Matrix<float>, int, double*,
                                     std::int64_t*) noexcept;
template Status column_ranges<double>(const LaneKernels*, Matrix<double>, int, double*,
                                      std::int64_t*) noexcept;
template Status weighted_ranges<float>(Matrix<float>, const float*, int, double*) noexcept;
template Status weighted_ranges<double>(Matrix<double>, const double*, int, double*) noexcept;

}  // namespace harpy::kmeans
