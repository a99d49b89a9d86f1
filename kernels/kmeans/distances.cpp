// Distances from direct differences in float64: inertia, seeding, relocation, transform, shift.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kmeans.h"
#include "lane_kernels.h"
#include "parallel.h"

namespace harpy::kmeans {

namespace {

struct Panels {
    std::int64_t lanes, n_panels;
    std::vector<double> values;  // (panel, column, lane), zeros beyond the last candidate
};

Panels pack(Matrix<double> candidates, std::int64_t lanes) {
    const std::int64_t d = candidates.n_columns;
    Panels packed{lanes, count_blocks(candidates.n_rows, lanes), {}};
    packed.values.assign(packed.n_panels * d * lanes, 0.0);
    for (std::int64_t c = 0; c < candidates.n_rows; ++c) {
        double* panel = packed.values.data() + c / lanes * d * lanes + c % lanes;
        for (std::int64_t j = 0; j < d; ++j) panel[j * lanes] = candidates.data[c * d + j];
    }
    return packed;
}

// Calls use(begin, end, block): block (end - begin, stride) holds the squared distances.
template <class T, class Use>
Status for_distance_blocks(const LaneKernels* lanes, Matrix<T> x, Matrix<double> candidates,
                           int n_thread, const Use& use) {
    const RowKernels<T>& kernels = row_kernels<T>(*lanes);
    std::int64_t padded;
    if (!checked_product(candidates.n_rows + kernels.distance_lanes,
                         std::max(candidates.n_columns, kBlockRows), &padded)) {
        return Status::too_large;
    }
    const Panels packed = pack(candidates, kernels.distance_lanes);
    const std::int64_t stride = packed.n_panels * packed.lanes;
    n_thread = useful_threads(x.n_rows, kBlockRows, n_thread);
    std::vector<std::vector<double>> blocks(n_thread, std::vector<double>(kBlockRows * stride));
    for_row_blocks(x.n_rows, kBlockRows, n_thread,
                   [&](int thread, std::int64_t begin, std::int64_t end) {
                       double* block = blocks[thread].data();
                       kernels.distances(x.data + begin * x.n_columns, end - begin, x.n_columns,
                                         packed.values.data(), packed.n_panels, block);
                       use(begin, end, block, stride);
                   });
    return Status::ok;
}

}  // namespace

template <class T>
Status squared_distances(const LaneKernels* lanes, Matrix<T> x, Matrix<double> centers,
                         const std::int32_t* labels, int n_thread, double* out) noexcept {
    return guarded([&]() -> Status {
        const RowKernels<T>& kernels = row_kernels<T>(*lanes);
        for_row_blocks(x.n_rows, kBlockRows, useful_threads(x.n_rows, kBlockRows, n_thread),
                       [&](int, std::int64_t begin, std::int64_t end) {
                           kernels.label_distances(
                               x.data + begin * x.n_columns, end - begin, x.n_columns, centers.data,
                               labels == nullptr ? nullptr : labels + begin, out + begin);
                       });
        return Status::ok;
    });
}

template <class T>
Status closest_distances(const LaneKernels* lanes, Matrix<T> x, Matrix<double> candidates,
                         const double* closest, int n_thread, double* out) noexcept {
    return guarded([&]() -> Status {
        return for_distance_blocks(
            lanes, x, candidates, n_thread,
            [&](std::int64_t begin, std::int64_t end, const double* block, std::int64_t stride) {
                for (std::int64_t c = 0; c < candidates.n_rows; ++c) {
                    for (std::int64_t i = begin; i < end; ++i) {
                        const double distance = block[(i - begin) * stride + c];
                        out[c * x.n_rows + i] =
                            closest == nullptr ? distance : std::min(closest[i], distance);
                    }
                }
            });
    });
}

template <class T>
Status transform(const LaneKernels* lanes, Matrix<T> x, Matrix<double> centers, int n_thread,
                 T* out) noexcept {
    return guarded([&]() -> Status {
        return for_distance_blocks(
            lanes, x, centers, n_thread,
            [&](std::int64_t begin, std::int64_t end, const double* block, std::int64_t stride) {
                for (std::int64_t i = begin; i < end; ++i) {
                    for (std::int64_t c = 0; c < centers.n_rows; ++c) {
                        out[i * centers.n_rows + c] =
                            static_cast<T>(std::sqrt(block[(i - begin) * stride + c]));
                    }
                }
            });
    });
}

void widen(const float* values, std::int64_t n_values, double* out) noexcept {
    const FloatEnvironment environment;
    std::copy(values, values + n_values, out);
}

template <class T>
double center_shift(Matrix<T> before, Matrix<T> after) noexcept {
    const FloatEnvironment environment;
    double total = 0.0;
    for (std::int64_t c = 0; c < before.n_rows; ++c) {
        double squared = 0.0;
        for (std::int64_t j = 0; j < before.n_columns; ++j) {
            const std::int64_t at = c * before.n_columns + j;
            const double moved =
                static_cast<double>(after.data[at]) - static_cast<double>(before.data[at]);
            squared = std::fma(moved, moved, squared);
        }
        total += squared;
    }
    return total;
}

#define HARPY_INSTANTIATE(T)                                                                       \
    template Status squared_distances<T>(const LaneKernels*, Matrix<T>, Matrix<double>,            \
                                         const std::int32_t*, int, double*) noexcept;              \
    template Status closest_distances<T>(const LaneKernels*, Matrix<T>, Matrix<double>,            \
                                         const double*, int, double*) noexcept;                    \
    template Status transform<T>(const LaneKernels*, Matrix<T>, Matrix<double>, int, T*) noexcept; \
    template double center_shift<T>(Matrix<T>, Matrix<T>) noexcept;
HARPY_INSTANTIATE(float)
HARPY_INSTANTIATE(double)
#undef HARPY_INSTANTIATE

}  // namespace harpy::kmeans
