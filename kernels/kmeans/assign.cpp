// The E-step: the nearest center of every row, alone or fused with the exact sums of the M-step.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "exact_sums.h"
#include "kmeans.h"
#include "lane_kernels.h"
#include "parallel.h"

namespace harpy::kmeans {

namespace {

// Centers less the offset, in panels (panel, column, lane), with their half squared norms.
template <class T>
struct PackedCenters {
    int width = 0;  // which of RowKernels::lanes
    std::int64_t lanes = 0, n_panels = 0;
    std::vector<T> panels, half_norms;
};

// The width that pads least; among equals the widest, which loads each row value least often.
template <class T>
int choose_width(const RowKernels<T>& kernels, std::int64_t n_clusters) noexcept {
    int chosen = 0;
    std::int64_t least = std::numeric_limits<std::int64_t>::max();
    for (int width = 0; width < kPanelWidths; ++width) {
        const std::int64_t lanes = kernels.lanes[width];
        const std::int64_t padded = count_blocks(n_clusters, lanes) * lanes;
        if (padded <= least) {
            least = padded;
            chosen = width;
        }
    }
    return chosen;
}

template <class T>
PackedCenters<T> pack(const RowKernels<T>& kernels, Matrix<T> centers, const T* offset) {
    const std::int64_t d = centers.n_columns;
    PackedCenters<T> packed;
    packed.width = choose_width(kernels, centers.n_rows);
    packed.lanes = kernels.lanes[packed.width];
    packed.n_panels = count_blocks(centers.n_rows, packed.lanes);
    packed.panels.assign(packed.n_panels * d * packed.lanes, T{0});
    packed.half_norms.assign(packed.n_panels * packed.lanes, std::numeric_limits<T>::infinity());
    for (std::int64_t c = 0; c < centers.n_rows; ++c) {
        T* panel = packed.panels.data() + c / packed.lanes * d * packed.lanes + c % packed.lanes;
        double norm = 0.0;
        for (std::int64_t j = 0; j < d; ++j) {
            const T shifted = centers.data[c * d + j] - offset[j];
            panel[j * packed.lanes] = shifted;
            norm = std::fma(static_cast<double>(shifted), static_cast<double>(shifted), norm);
        }
        packed.half_norms[c] = static_cast<T>(0.5 * norm);
    }
    return packed;
}

// What one thread needs besides its rows.
template <class T>
struct Scratch {
    Scratch(std::int64_t d, std::int64_t lanes)
        : x(kBlockRows * d), best(kBlockRows * lanes), index(kBlockRows * lanes) {}

    std::vector<T> x, best;
    std::vector<Index<T>> index;
    std::int32_t labels[kBlockRows] = {};
    std::int64_t n_changed = 0;
};

// Labels of at most kBlockRows rows into scratch.labels.
template <class T>
void label_block(const RowKernels<T>& kernels, const PackedCenters<T>& centers, const T* x,
                 std::int64_t n_rows, std::int64_t d, const T* offset,
                 Scratch<T>& scratch) noexcept {
    const std::int64_t n_tiled = count_blocks(n_rows, kernels.tile_rows) * kernels.tile_rows;
    for (std::int64_t i = 0; i < n_rows; ++i) {
        for (std::int64_t j = 0; j < d; ++j) scratch.x[i * d + j] = x[i * d + j] - offset[j];
    }
    std::fill(scratch.x.begin() + n_rows * d, scratch.x.begin() + n_tiled * d, T{0});
    kernels.nearest[centers.width](scratch.x.data(), n_tiled, d, centers.panels.data(),
                                   centers.half_norms.data(), centers.n_panels, scratch.best.data(),
                                   scratch.index.data(), scratch.labels);
}

static_assert(kBlockRows % 8 == 0, "a padded block must not outgrow its scratch");

template <class T>
bool sizes_fit(Matrix<T> centers, std::int64_t most_lanes) noexcept {
    std::int64_t product;
    return centers.n_rows <= std::numeric_limits<std::int32_t>::max() - most_lanes &&
           checked_product(centers.n_rows + most_lanes, centers.n_columns, &product) &&
           checked_product(kBlockRows, centers.n_columns, &product);
}

// Middle of the values, which are reordered.
template <class T>
T median(std::vector<T>& values) noexcept {
    const auto upper = values.begin() + values.size() / 2;
    std::nth_element(values.begin(), upper, values.end());
    if (values.size() % 2 == 1) return *upper;
    const T lower = *std::max_element(values.begin(), upper);
    // Not their mean: beside one far outlier that would be far from both.
    return std::fabs(lower) <= std::fabs(*upper) ? lower : *upper;
}

}  // namespace

template <class T>
Status center_offset(Matrix<T> centers, T* offset) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        std::vector<T> column(centers.n_rows);
        for (std::int64_t j = 0; j < centers.n_columns; ++j) {
            for (std::int64_t c = 0; c < centers.n_rows; ++c) {
                column[c] = centers.data[c * centers.n_columns + j];
            }
            offset[j] = median(column);
        }
        return Status::ok;
    });
}

template <class T>
Status assign(const LaneKernels* lanes, Matrix<T> x, Matrix<T> centers, const T* offset,
              const std::int32_t* exponents, int n_thread, std::int32_t* labels,
              std::int64_t* n_changed, std::int64_t* limbs, std::int64_t* counts) noexcept {
    return guarded([&]() -> Status {
        const RowKernels<T>& kernels = row_kernels<T>(*lanes);
        if (!sizes_fit(centers, kernels.lanes[kPanelWidths - 1])) return Status::too_large;
        const FloatEnvironment environment;
        const std::int64_t d = x.n_columns;
        n_thread = useful_threads(x.n_rows, kBlockRows, n_thread);
        const PackedCenters<T> packed = pack(kernels, centers, offset);
        std::vector<Scratch<T>> scratch(n_thread, Scratch<T>(d, packed.lanes));
        const bool adding = exponents != nullptr;
        ExactSums sums(adding ? centers.n_rows : 0, adding ? d : 0, exponents);
        std::vector<ExactSums::Part> parts(adding ? n_thread : 0, ExactSums::Part(sums));

        const auto label_and_add = [&](int thread, std::int64_t begin, std::int64_t end) {
            Scratch<T>& own = scratch[thread];
            label_block(kernels, packed, x.data + begin * d, end - begin, d, offset, own);
            for (std::int64_t i = begin; i < end; ++i) {
                own.n_changed += labels[i] != own.labels[i - begin];
                labels[i] = own.labels[i - begin];
            }
            if (!adding) return;
            ExactSums::Part& part = parts[thread];
            if (part.full_after(end - begin)) {
#pragma omp critical(harpy_exact_sums)
                sums.flush(part);
            }
            for (std::int64_t i = begin; i < end; ++i) part.add(kernels, x.data + i * d, labels[i]);
        };
        for_row_blocks(x.n_rows, kBlockRows, n_thread, label_and_add);

        *n_changed = 0;
        for (const Scratch<T>& own : scratch) *n_changed += own.n_changed;
        for (ExactSums::Part& part : parts) sums.flush(part);
        if (adding) sums.store(limbs, counts);
        return Status::ok;
    });
}

template Status center_offset<float>(Matrix<float>, float*) noexcept;
template Status center_offset<double>(Matrix<double>, double*) noexcept;
template Status assign<float>(const LaneKernels*, Matrix<float>, Matrix<float>, const float*,
                              const std::int32_t*, int, std::int32_t*, std::int64_t*, std::int64_t*,
                              std::int64_t*) noexcept;
template Status assign<double>(const LaneKernels*, Matrix<double>, Matrix<double>, const double*,
                               const std::int32_t*, int, std::int32_t*, std::int64_t*,
                               std::int64_t*, std::int64_t*) noexcept;

}  // namespace harpy::kmeans
