// Exhaustive searches: what their inner loops, exhaustive_lanes.h, are given.
#pragma once

#include <cstdint>

namespace harpy::kmeans {

// No instruction set scans more rows at a time.
constexpr int kMaxScanRows = 48;

// A block of rows that meets all centers, a row a lane.
template <class T>
struct ExhaustiveScan {
    const T* x;            // IN (n_rows, d)
    std::int64_t n_rows;   // at most scan_rows
    std::int64_t n_ahead;  // rows behind these that are to be prefetched meanwhile
    std::int64_t d;
    const T* offset;      // IN (d)
    const T* centers;     // IN (n_panels, d, scan_centers) less the offset, in ascending order
    const T* half_norms;  // IN (n_panels, scan_centers), +inf beyond the last center
    std::int64_t n_panels;
    T* columns;  // SCRATCH (d, scan_rows)
};

}  // namespace harpy::kmeans
