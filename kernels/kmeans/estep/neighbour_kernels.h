// Searches along lists of neighbours: what their inner loops, few_columns.h, are given.
#pragma once

#include <cstdint>

namespace harpy::kmeans {

// Searches along lists of neighbours are there for so many columns.
constexpr int kFewColumns = 8;
// A center's neighbours lie in chunks of so many, whatever the width of a vector.
constexpr int kChunk = 16;

// Rows that walk from center to nearer center. A row's place is chunk * n_clusters + center.
template <class T>
struct Walk {
    const T* x;       // IN (n_rows, d)
    const T* offset;  // IN (d)
    std::int64_t d, n_clusters;
    const T* chunks;  // IN (n_chunks, n_clusters, d + 1, kChunk): half norms, then columns; a
                      // center is the first one of its own chunk 0
    const std::int32_t* members;  // IN (n_chunks, n_clusters, kChunk), n_clusters beyond the last
    const T* limits;              // IN (n_chunks, n_clusters): a row of smaller squared distance to
                                  // the center has no nearer one in the chunks that follow
    std::int32_t* label;          // INOUT (n_rows) best center so far
    T* best;                      // INOUT (n_rows) its score
    std::int32_t* place;          // INOUT (n_rows)
};

}  // namespace harpy::kmeans
