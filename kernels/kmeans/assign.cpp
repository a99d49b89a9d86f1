// Nearest centers of all rows at once, and the offset their scores are taken from.
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "estep.h"
#include "kmeans.h"
#include "lane_kernels.h"
#include "parallel.h"

namespace harpy::kmeans {

namespace {

// Middle of the values, which are reordered.
template <class T>
T median(T* values, std::int64_t n_values) noexcept {
    T* upper = values + n_values / 2;
    std::nth_element(values, upper, values + n_values);
    if (n_values % 2 == 1) return *upper;
    const T lower = *std::max_element(values, upper);
    // Not their mean: beside one far outlier that would be far from both.
    return std::fabs(lower) <= std::fabs(*upper) ? lower : *upper;
}

}  // namespace

template <class T>
Status center_offset(Matrix<T> centers, int n_thread, T* offset) noexcept {
    return guarded([&]() -> Status {
        constexpr std::int64_t kCacheLine = 64 / sizeof(T);  // so many columns are read together
        constexpr std::int64_t kBlockValues = 1 << 14;       // fewer are no work for a thread
        const std::int64_t k = centers.n_rows, d = centers.n_columns;
        const std::int64_t block = (kBlockValues / k / kCacheLine + 1) * kCacheLine;
        n_thread = useful_threads(d, block, n_thread);
        std::vector<T> columns(n_thread * kCacheLine * k);
        for_row_blocks(d, block, n_thread, [&](int thread, std::int64_t begin, std::int64_t end) {
            T* some = columns.data() + thread * kCacheLine * k;
            for (; begin < end; begin += kCacheLine) {
                const std::int64_t n_columns = std::min(kCacheLine, end - begin);
                for (std::int64_t c = 0; c < k; ++c) {
                    const T* row = centers.data + c * d + begin;
                    for (std::int64_t j = 0; j < n_columns; ++j) some[j * k + c] = row[j];
                }
                for (std::int64_t j = 0; j < n_columns; ++j) {
                    offset[begin + j] = median(some + j * k, k);
                }
            }
        });
        return Status::ok;
    });
}

template <class T>
Status assign(const LaneKernels* lanes, Matrix<T> x, Matrix<T> centers, const T* offset,
              int n_thread, int bound_bytes, std::int32_t* labels, std::int64_t* n_changed,
              double* absmax, std::int64_t* first_bad) noexcept {
    return guarded([&]() -> Status {
        if (!sizes_fit(centers.n_rows, centers.n_columns)) return Status::too_large;
        // Nobody would read the rows' bounds again.
        const int only_lists = std::min(bound_bytes, kLeastBoundBytes - 1);
        const auto estep = make_estep(*lanes, x, centers.n_rows, n_thread, only_lists);
        std::optional<ColumnRanges<T>> ranges;
        if (absmax != nullptr) {
            ranges.emplace(*lanes, x, estep->n_thread());
            estep->measure(&*ranges);
        }
        *n_changed = estep->assign(centers.data, offset, labels, nullptr);
        if (ranges) *first_bad = ranges->finish(absmax);
        return Status::ok;
    });
}

template Status center_offset<float>(Matrix<float>, int, float*) noexcept;
template Status center_offset<double>(Matrix<double>, int, double*) noexcept;
template Status assign<float>(const LaneKernels*, Matrix<float>, Matrix<float>, const float*, int,
                              int, std::int32_t*, std::int64_t*, double*, std::int64_t*) noexcept;
template Status assign<double>(const LaneKernels*, Matrix<double>, Matrix<double>, const double*,
                               int, int, std::int32_t*, std::int64_t*, double*,
                               std::int64_t*) noexcept;

}  // namespace harpy::kmeans
