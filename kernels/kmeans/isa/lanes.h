// The inner loops themselves, compiled once per instruction set: each lanes_*.cpp sets its target
// and includes this file. Everything is in an unnamed namespace and uses no library template, so
// that no code of one instruction set can be linked into another.
//
// Every score is one fused-multiply-add chain in column order, every distance eight of them and a
// tree, so that vector width and tiling cannot change a bit.

#include <cstdint>

#include "distance/distance_lanes.h"
#include "estep/bounds_lanes.h"
#include "estep/exhaustive_lanes.h"
#include "estep/few_columns.h"
#include "estep/few_lanes.h"
#include "estep/median_lanes.h"
#include "estep/packing_lanes.h"
#include "estep/tiles.h"
#include "isa/lane_kernels.h"
#include "seeding/near_lanes.h"
#include "sparse/sparse_lanes.h"
#include "sums/split_lanes.h"

namespace harpy::kmeans {
namespace {

// Searches among few centers, as many as the registers hold.
template <class S, int K>
constexpr auto few() {
    if constexpr (K <= S::kMaxFew) {
        return search_few<S, K>;
    } else {
        return nullptr;
    }
}

template <class S>
constexpr TileKernels<typename S::Scalar> make_tile_kernels() {
    using T = typename S::Scalar;
    return TileKernels<T>{
        {S::kLanes, 2 * S::kLanes, 3 * S::kLanes},
        {search_panel<S, 1>, search_panel<S, 2>, search_panel<S, 3>},
        {select_lanes<S, 1>, select_lanes<S, 2>, select_lanes<S, 3>},
        ScanShape<S>::kRows,
        ScanShape<S>::kCenters,
        exhaustive_scan<S>,
        S::kLanes,
        score_pairs<S>,
        {panel_lows<S, 1>, panel_lows<S, 2>, panel_lows<S, 3>},
        {scan<S, 1>, scan<S, 2>, scan<S, 3>, scan<S, 4>, scan<S, 5>, scan<S, 6>, scan<S, 7>,
         scan<S, 8>},
        walk<S>,
        squared_gaps<T>,
        shift_rows<S>,
        pack_panel<T>,
        add_split<T>,
        move_split<T>,
        S::kMaxFew,
        {few<S, 2>(), few<S, 4>(), few<S, 6>(), few<S, 8>(), few<S, 10>(), few<S, 12>(),
         few<S, 14>(), few<S, 16>(), few<S, 18>(), few<S, 20>(), few<S, 22>(), few<S, 24>()},
    };
}

template <class S>
constexpr RowKernels<typename S::Scalar> make_row_kernels() {
    using T = typename S::Scalar;
    RowKernels<T> kernels{make_tile_kernels<S>(),
                          find_medians<T>,
                          squared_distance<T>,
                          write_record<T>,
                          make_distance_kernels<T>(),
                          make_sparse_kernels<S, SimdDouble>(),
                          {}};
    if constexpr (sizeof(T) == sizeof(float)) kernels.distance.keep_near = keep_near<S>;
    return kernels;
}

constexpr LaneKernels make_lane_kernels(const char* name) {
    return LaneKernels{name,
                       make_row_kernels<SimdFloat>(),
                       make_row_kernels<SimdDouble>(),
                       test_bounds,
                       groups_in_reach,
                       test_few,
                       ValueKernels{add_gains, add_words}};
}

}  // namespace
}  // namespace harpy::kmeans
