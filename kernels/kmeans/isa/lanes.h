// The inner loops themselves, compiled once per instruction set: each lanes_*.cpp sets its target
// and includes this file. Everything is in an unnamed namespace and uses no library template, so
// that no code of one instruction set can be linked into another.
//
// Every score is one fused-multiply-add chain in column order, every distance eight of them and a
// tree, so that vector width and tiling cannot change a bit.

#include <cstdint>

#include "distance/distance_lanes.h"
#include "estep/bounds_lanes.h"
#include "estep/median_lanes.h"
#include "estep/tiles.h"
#include "isa/lane_kernels.h"
#include "seeding/near_lanes.h"
#include "sparse/sparse_lanes.h"

namespace harpy::kmeans {
namespace {

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
