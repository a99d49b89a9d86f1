// Nearest centers of all rows at once, and the offset their scores are taken from.
#include <algorithm>
#include <optional>

#include "estep/estep.h"
#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "threads/buffer.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

template <class T>
Status center_offset(const LaneKernels* lanes, Matrix<T> centers, int n_thread,
                     T* offset) noexcept {
    return guarded([&]() -> Status {
        constexpr std::int64_t kBlockValues = 1 << 14;  // fewer are no work for a thread
        constexpr std::int64_t kColumns = kMedianColumns<T>;
        const std::int64_t k = centers.n_rows, d = centers.n_columns;
        const std::int64_t block = (kBlockValues / k / kColumns + 1) * kColumns;
        n_thread = useful_threads(d, block, n_thread);
        Buffer<Bits<T>> keys(n_thread * kColumns * k);
        for_row_blocks(d, block, n_thread, [&](int thread, std::int64_t begin, std::int64_t end) {
            for (; begin < end; begin += kColumns) {
                row_kernels<T>(*lanes).medians(centers.data + begin, k, d,
                                               std::min(kColumns, end - begin),
                                               keys.data() + thread * kColumns * k, offset + begin);
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

template Status center_offset<float>(const LaneKernels*, Matrix<float>, int, float*) noexcept;
template Status center_offset<double>(const LaneKernels*, Matrix<double>, int, double*) noexcept;
template Status assign<float>(const LaneKernels*, Matrix<float>, Matrix<float>, const float*, int,
                              int, std::int32_t*, std::int64_t*, double*, std::int64_t*) noexcept;
template Status assign<double>(const LaneKernels*, Matrix<double>, Matrix<double>, const double*,
                               int, int, std::int32_t*, std::int64_t*, double*,
                               std::int64_t*) noexcept;

}  // namespace harpy::kmeans
