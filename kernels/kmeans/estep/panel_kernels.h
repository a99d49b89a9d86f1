// Searches of chosen panels: what their inner loops, tiles.h, are given.
#pragma once

#include <cstdint>

namespace harpy::kmeans {

// Centers are counted exactly in a float32.
constexpr std::int64_t kMostCenters = std::int64_t{1} << 24;

// Panel widths on offer: one, two or three vectors of centers side by side.
constexpr int kPanelWidths = 3;

// Rows of a batch, less the offset, that look for their nearest centers in chosen panels.
template <class T>
struct Search {
    const T* x;  // (n_rows, d)
    std::int64_t d, stride;
    const std::int32_t* indices;         // (n_panels, lanes): which center a lane holds
    T* best;                             // (n_rows) lowest score so far, +inf at first
    std::int32_t* best_panel;            // (n_rows) where it lies, -1 at first
    T* best_scores;                      // (n_rows, lanes) all scores of that panel
    T* group_low;                        // (n_rows, n_groups) lowest scores outside it, or nullptr
    const std::int32_t* group_of_panel;  // (n_panels)
    std::int64_t n_groups;
};

}  // namespace harpy::kmeans
