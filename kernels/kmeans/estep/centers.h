// Centers as the tiles read them: less the offset, in panels of neighbours, with what bounds need
// to know about them.
#pragma once

#include <cstdint>
#include <vector>

#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "threads/buffer.h"

namespace harpy::kmeans {

template <class T>
struct PackedCenters {
    // Throws std::bad_alloc. `panels` are to be packed before anything is searched.
    PackedCenters(std::int64_t n_clusters, std::int64_t n_columns, int lanes);

    // Which slot (panel, lane) holds which center: ascending, or neighbours side by side, and
    // within a panel always ascending.
    void keep_order();
    void put_neighbours_together(Matrix<T> centers);

    void pack(const TileKernels<T>& kernels, Matrix<T> centers, const T* offset, int n_thread);

    std::int64_t n_clusters, n_columns, n_panels;
    int lanes;                          // centers per panel
    std::vector<std::int32_t> indices;  // (n_panels, lanes): the center of a slot, or INT32_MAX
    std::vector<std::int32_t> slots;    // (n_clusters): the slot of a center
    Buffer<T> panels;                   // (n_panels, n_columns, lanes)
    Buffer<T> half_norms;               // (n_panels, lanes), +inf where there is no center
    std::vector<double> norms;          // (n_clusters) by slot: squared norms less the offset
};

}  // namespace harpy::kmeans
