// Distances of compressed sparse rows in float64: inertia, relocation, seeding, transform.
#include <algorithm>
#include <cmath>
#include <vector>

#include "isa/lane_kernels.h"
#include "sparse/sparse.h"
#include "sparse/sparse_rows.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

constexpr std::int64_t kDistanceRows = 256;

std::vector<double> squared_norms_of(const LaneKernels* lanes, Matrix<double> centers) {
    std::vector<double> norms(centers.n_rows);
    const FloatEnvironment environment;
    row_kernels<double>(*lanes).sparse.squared_norms(centers.data, centers.n_rows,
                                                     centers.n_columns, norms.data());
    return norms;
}

// Calls use(begin, end, block, stride): block (end - begin, stride) holds the squared distances.
template <class T, class Use>
Status for_distance_blocks(const LaneKernels* lanes, CsrMatrix<T> x, Matrix<double> candidates,
                           int n_thread, const Use& use) {
    const SparseKernels<T>& kernels = row_kernels<T>(*lanes).sparse;
    const std::int64_t d = candidates.n_columns, k = candidates.n_rows;
    const std::int64_t vectors = count_blocks(k, kernels.distance_lanes);
    const std::int64_t n_panels = count_blocks(vectors, kSparseDistanceWidths);
    const std::int64_t width = count_blocks(vectors, n_panels);
    const std::int64_t panel_lanes = width * kernels.distance_lanes;
    const std::int64_t stride = n_panels * panel_lanes;
    std::int64_t n_values;
    if (!checked_product(stride, std::max(d, kDistanceRows), &n_values)) return Status::too_large;
    std::vector<double> norms = squared_norms_of(lanes, candidates);
    norms.resize(stride);
    std::vector<double> panels(stride * d);
    for (std::int64_t c = 0; c < k; ++c) {
        double* panel = panels.data() + c / panel_lanes * d * panel_lanes + c % panel_lanes;
        for (std::int64_t j = 0; j < d; ++j) panel[j * panel_lanes] = candidates.data[c * d + j];
    }
    const SparseShares shares(x, n_thread);
    std::vector<std::vector<double>> blocks(shares.n_thread(),
                                            std::vector<double>(kDistanceRows * stride));
    shares.for_blocks(kDistanceRows, [&](int thread, std::int64_t begin, std::int64_t end) {
        double* block = blocks[thread].data();
        for (std::int64_t p = 0; p < n_panels; ++p) {
            kernels.distances[width - 1](x, begin, end, panels.data() + p * d * panel_lanes,
                                         norms.data() + p * panel_lanes, block + p * panel_lanes,
                                         stride);
        }
        use(begin, end, block, stride);
    });
    return Status::ok;
}

}  // namespace

template <class T>
Status sparse_squared_distances(const LaneKernels* lanes, CsrMatrix<T> x, Matrix<double> centers,
                                const std::int32_t* labels, int n_thread, double* out) noexcept {
    return guarded([&]() -> Status {
        const SparseKernels<T>& kernels = row_kernels<T>(*lanes).sparse;
        const std::vector<double> norms = squared_norms_of(lanes, centers);
        const SparseShares shares(x, n_thread);
        shares.for_blocks(kDistanceRows, [&](int, std::int64_t begin, std::int64_t end) {
            kernels.label_distances(x, begin, end, centers.data, norms.data(), labels, out + begin);
        });
        return Status::ok;
    });
}

template <class T>
Status sparse_closest_distances(const LaneKernels* lanes, CsrMatrix<T> x, Matrix<double> candidates,
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
Status sparse_transform(const LaneKernels* lanes, CsrMatrix<T> x, Matrix<double> centers,
                        int n_thread, T* out) noexcept {
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

#define HARPY_INSTANTIATE(T)                                                                      \
    template Status sparse_squared_distances<T>(const LaneKernels*, CsrMatrix<T>, Matrix<double>, \
                                                const std::int32_t*, int, double*) noexcept;      \
    template Status sparse_closest_distances<T>(const LaneKernels*, CsrMatrix<T>, Matrix<double>, \
                                                const double*, int, double*) noexcept;            \
    template Status sparse_transform<T>(const LaneKernels*, CsrMatrix<T>, Matrix<double>, int,    \
                                        T*) noexcept;
HARPY_INSTANTIATE(float)
HARPY_INSTANTIATE(double)
#undef HARPY_INSTANTIATE

}  // namespace harpy::kmeans
