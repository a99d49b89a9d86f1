// The table of inner loops that exist once per instruction set, and the packed centers they read.
#pragma once

#include <cstdint>

namespace harpy::kmeans {

// Panel widths on offer: one, two or three vectors of centers side by side.
constexpr int kPanelWidths = 3;

// Integers as wide as T, so that a row's best score and best index move in step.
template <class T>
struct IndexOf;
template <>
struct IndexOf<float> {
    using type = std::int32_t;
};
template <>
struct IndexOf<double> {
    using type = std::int64_t;
};
template <class T>
using Index = typename IndexOf<T>::type;

template <class T>
struct RowKernels {
    int tile_rows;            // `nearest` takes a multiple of this many rows
    int lanes[kPanelWidths];  // centers per panel of each width, ascending
    int distance_lanes;       // candidates per panel of `distances`

    // Labels of packed rows x (n_rows, d): centers lie in panels (n_panels, d, lanes), half_norms
    // (n_panels, lanes) is +inf beyond the last center; best and index are scratch (n_rows, lanes).
    void (*nearest[kPanelWidths])(const T* x, std::int64_t n_rows, std::int64_t d, const T* panels,
                                  const T* half_norms, std::int64_t n_panels, T* best,
                                  Index<T>* index, std::int32_t* labels);

    // out[i] = squared distance of row i to centers[labels[i]], labels == nullptr means 0.
    void (*label_distances)(const T* x, std::int64_t n_rows, std::int64_t d, const double* centers,
                            const std::int32_t* labels, double* out);

    // out (n_rows, n_panels * distance_lanes) = squared distances to all candidates.
    void (*distances)(const T* x, std::int64_t n_rows, std::int64_t d, const double* panels,
                      std::int64_t n_panels, double* out);

    // Splits each value of a row by its column's magic numbers and adds both words.
    void (*add_split)(const T* row, std::int64_t d, const double* magic_high,
                      const double* magic_low, double* high, double* low);
};

struct LaneKernels {
    const char* name;
    RowKernels<float> single;
    RowKernels<double> dual;
};

template <class T>
const RowKernels<T>& row_kernels(const LaneKernels& lanes) noexcept;
template <>
inline const RowKernels<float>& row_kernels<float>(const LaneKernels& lanes) noexcept {
    return lanes.single;
}
template <>
inline const RowKernels<double>& row_kernels<double>(const LaneKernels& lanes) noexcept {
    return lanes.dual;
}

// nullptr where the processor (or the architecture) has not got it.
const LaneKernels* scalar_lane_kernels() noexcept;
const LaneKernels* avx2_lane_kernels() noexcept;
const LaneKernels* avx512_lane_kernels() noexcept;

}  // namespace harpy::kmeans
