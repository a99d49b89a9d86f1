// Square blocks of vectors, transposed so that their columns become vectors: first quads of
// S::kQuad rows each on their own, then the vectors of the same number of all quads together.
#pragma once

namespace harpy::kmeans {
namespace {

// Inlined by force: a call would pass the block through memory.
template <class S>
[[gnu::always_inline]] inline void transpose(typename S::Vector (&v)[S::kLanes]) {
    constexpr int Q = S::kQuad, G = S::kLanes / Q;
#pragma GCC unroll 8
    for (int first = 0; first < S::kLanes; first += Q) {
        typename S::Vector quad[Q];
        for (int r = 0; r < Q; ++r) quad[r] = v[first + r];
        S::transpose_quad(quad);
        for (int r = 0; r < Q; ++r) v[first + r] = quad[r];
    }
#pragma GCC unroll 8
    for (int c = 0; c < Q; ++c) {
        typename S::Vector joined[G];
        for (int q = 0; q < G; ++q) joined[q] = v[q * Q + c];
        S::join_quads(joined);
        for (int q = 0; q < G; ++q) v[q * Q + c] = joined[q];
    }
}

}  // namespace
}  // namespace harpy::kmeans
