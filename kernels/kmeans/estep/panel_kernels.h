// Searches of chosen panels: what their inner loops, tiles.h, are given.
#pragma once

#include <cstdint>

namespace harpy::kmeans {

// Centers are counted exactly in a float32.
constexpr std::int64_t kMaxCenters = std::int64_t{1} << 24;

// Panel widths on offer: one, two or three vectors of centers side by side.
constexpr int kPanelWidths = 3;

// Rows of a batch, less the offset, that look for their nearest centers in chosen panels.
template <class T>
struct Search {
    const T* x;  // IN (n_rows, d)
    std::int64_t d, stride;
    const std::int32_t* indices;         // IN (n_panels, lanes): which center a lane holds
    T* best;                             // INOUT (n_rows) lowest score so far, +inf at first
    std::int32_t* best_panel;            // INOUT (n_rows) where it lies, -1 at first
    T* best_scores;                      // INOUT (n_rows, lanes) all scores of it
    T* group_low;                        // INOUT (n_rows, n_groups) lowest others, or nullptr
    const std::int32_t* group_of_panel;  // IN (n_panels)
    std::int64_t n_groups;
};

}  // namespace harpy::kmeans
