// Squared distances from direct differences in float64: inertia, relocation, transform, shift.
#include <algorithm>
#include <cmath>
#include <vector>

#include "distance/padded_centers.h"
#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "sums/exact_scalar.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

template <class T>
Status squared_distances(const LaneKernels* lanes, Matrix<T> x, Matrix<double> centers,
                         const std::int32_t* labels, int n_thread, double* out) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        const DistanceKernels<T>& kernels = row_kernels<T>(*lanes).distance;
        const PaddedCenters padded(centers);
        for_row_blocks(x.n_rows, kBlockRows, useful_threads(x.n_rows, kBlockRows, n_thread),
                       [&](int, std::int64_t begin, std::int64_t end) {
                           kernels.to_own(x.data + begin * x.n_columns, end - begin, x.n_columns,
                                          padded.data(), padded.stride(),
                                          labels == nullptr ? nullptr : labels + begin,
                                          out + begin);
                       });
        return Status::ok;
    });
}

template <class T, class W>
Status squared_distance_sum(const LaneKernels* lanes, Matrix<T> x, Matrix<double> centers,
                            const std::int32_t* labels, const W* weights, int n_thread,
                            std::int64_t* limbs) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        const DistanceKernels<T>& kernels = row_kernels<T>(*lanes).distance;
        const PaddedCenters padded(centers);
        n_thread = useful_threads(x.n_rows, kScalarBlock, n_thread);
        std::vector<ExactScalar> parts(n_thread);
        for_row_blocks(x.n_rows, kScalarBlock, n_thread,
                       [&](int thread, std::int64_t begin, std::int64_t end) {
                           double distances[kScalarBlock];
                           kernels.to_own(x.data + begin * x.n_columns, end - begin, x.n_columns,
                                          padded.data(), padded.stride(),
                                          labels == nullptr ? nullptr : labels + begin, distances);
                           if (weights != nullptr) {
                               for (std::int64_t i = begin; i < end; ++i) {
                                   distances[i - begin] *= static_cast<double>(weights[i]);
                               }
                           }
                           parts[thread].add_block(*lanes, distances, end - begin);
                       });
        ExactScalar total;
        for (ExactScalar& part : parts) total.add(part);
        total.store(limbs);
        return Status::ok;
    });
}

template <class T>
Status transform(const LaneKernels* lanes, Matrix<T> x, Matrix<double> centers, int n_thread,
                 T* out) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        const DistanceKernels<T>& kernels = row_kernels<T>(*lanes).distance;
        const PaddedCenters padded(centers);
        const std::int64_t k = centers.n_rows, d = x.n_columns;
        for_row_blocks(x.n_rows, kBlockRows, useful_threads(x.n_rows, kBlockRows, n_thread),
                       [&](int, std::int64_t begin, std::int64_t end) {
                           // As many centers at once as a small buffer of squares has room for.
                           constexpr std::int64_t kCenters = 32;
                           double squares[kBlockRows * kCenters];
                           for (std::int64_t c = 0; c < k; c += kCenters) {
                               const std::int64_t n_centers = std::min(kCenters, k - c);
                               kernels.to_all(x.data + begin * d, d, nullptr, end - begin,
                                              padded.data() + c * padded.stride(), padded.stride(),
                                              n_centers, nullptr, squares, kCenters);
                               for (std::int64_t i = begin; i < end; ++i) {
                                   const double* square = squares + (i - begin) * kCenters;
                                   for (std::int64_t l = 0; l < n_centers; ++l) {
                                       out[i * k + c + l] = static_cast<T>(std::sqrt(square[l]));
                                   }
                               }
                           }
                       });
        return Status::ok;
    });
}

void widen(const float* values, std::int64_t n_values, double* out) noexcept {
    const FloatEnvironment environment;
    std::copy(values, values + n_values, out);
}

template <class T>
double center_shift(Matrix<T> before, Matrix<T> after) noexcept {
    constexpr std::int64_t kChains = 8;
    const FloatEnvironment environment;
    const std::int64_t d = before.n_columns, whole = d / kChains * kChains;
    const auto square = [](T a, T b) {
        const double moved = static_cast<double>(b) - static_cast<double>(a);
        return moved * moved;
    };
    double total = 0.0;
    for (std::int64_t c = 0; c < before.n_rows; ++c) {
        const T *a = before.data + c * d, *b = after.data + c * d;
        double chains[kChains] = {};
        for (std::int64_t j = 0; j < whole; j += kChains) {
            for (std::int64_t l = 0; l < kChains; ++l) chains[l] += square(a[j + l], b[j + l]);
        }
        for (std::int64_t j = whole; j < d; ++j) chains[j - whole] += square(a[j], b[j]);
        for (std::int64_t l = 1; l < kChains; ++l) chains[0] += chains[l];
        total += chains[0];
    }
    return total;
}

#define HARPY_INSTANTIATE(T)                                                                       \
    template Status squared_distances<T>(const LaneKernels*, Matrix<T>, Matrix<double>,            \
                                         const std::int32_t*, int, double*) noexcept;              \
    template Status squared_distance_sum<T, double>(const LaneKernels*, Matrix<T>, Matrix<double>, \
                                                    const std::int32_t*, const double*, int,       \
                                                    std::int64_t*) noexcept;                       \
    template Status squared_distance_sum<T, float>(const LaneKernels*, Matrix<T>, Matrix<double>,  \
                                                   const std::int32_t*, const float*, int,         \
                                                   std::int64_t*) noexcept;                        \
    template Status transform<T>(const LaneKernels*, Matrix<T>, Matrix<double>, int, T*) noexcept; \
    template double center_shift<T>(Matrix<T>, Matrix<T>) noexcept;
HARPY_INSTANTIATE(float)
HARPY_INSTANTIATE(double)
#undef HARPY_INSTANTIATE

}  // namespace harpy::kmeans
