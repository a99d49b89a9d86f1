// The table of inner loops that exist once per instruction set. What they are given is described in
// the *_kernels.h of each idea. Pointers to const are IN, others OUT unless INOUT or SCRATCH stands
// beside them.
#pragma once

#include <cstdint>

#include "distance/distance_kernels.h"
#include "estep/bounds_kernels.h"
#include "estep/exhaustive_kernels.h"
#include "estep/few_kernels.h"
#include "estep/margins.h"
#include "estep/neighbour_kernels.h"
#include "estep/panel_kernels.h"
#include "estep/prefilter_kernels.h"
#include "ranges/magnitudes.h"
#include "seeding/value_kernels.h"
#include "sparse/sparse_kernels.h"
#include "sums/sum_kernels.h"

namespace harpy::kmeans {

// Centers lie in panels (n_panels, d, lanes); half_norms (n_panels, lanes) is +inf, and the index
// INT32_MAX, beyond the last center.
template <class T>
struct TileKernels {
    int lanes[kPanelWidths];  // centers per panel of each width, ascending

    // One panel against rows of a batch.
    void (*search[kPanelWidths])(const Search<T>&, std::int32_t panel, const T* centers,
                                 const T* half_norms, const std::int32_t* rows,
                                 std::int64_t n_rows);

    // slots[i] = panel * lanes + lane of row i's best; second (may be nullptr) = lowest score of
    // the other lanes of that panel.
    void (*select_lanes[kPanelWidths])(const Search<T>&, std::int64_t n_rows, std::int32_t* slots,
                                       T* second);

    // nearest[i] = nearest of all centers to row i of a block; best[i] = its score.
    int scan_rows, scan_centers;
    void (*exhaustive_scan)(const ExhaustiveScan<T>&, std::int32_t* nearest, T* best);

    // scores[l] = that of x[l] and centers[l], both less the offset; as many as a vector has lanes.
    int n_pairs;
    void (*score_pairs)(const T* const* x, const T* const* centers, const T* offset,
                        const T* half_norms, std::int64_t d, T* scores);

    // lows (n_rows, n_panels) = lowest score of each row in each panel; row i is the center of slot
    // first_slot + i, which is left out.
    void (*panel_lows[kPanelWidths])(const T* rows, std::int64_t stride, std::int64_t n_rows,
                                     std::int64_t d, const T* panels, const T* half_norms,
                                     std::int64_t n_panels, std::int64_t first_slot, T* lows);

    // For 1, 2, … columns: nearest[i] = index of the nearest center of row i. centers (n_centers,
    // 1 + d): half norms and columns less the offset.
    void (*scan[kFewColumns])(const T* x, std::int64_t n_rows, const T* offset, const T* centers,
                              std::int64_t n_centers, std::int32_t* nearest);

    // Scores the chunk of each row's place and moves the row to its next place; rows == nullptr is
    // the first step of all n_rows, from `label`. Writes the rows that are not done to `open`,
    // which may be `rows`; returns their number.
    std::int64_t (*walk)(const Walk<T>&, const std::int32_t* rows, std::int64_t n_rows,
                         std::int32_t* open);

    // out[c] ~ squared distance of center `from` to center c; columns (d, n).
    void (*squared_gaps)(const T* columns, std::int64_t n, std::int64_t d, std::int64_t from,
                         T* out);

    // out[i] = x[rows[i]] - offset; squared[i] (may be nullptr) ~ its squared norm, for bounds.
    void (*shift_rows)(const T* x, const std::int64_t* rows, std::int64_t n_rows, std::int64_t d,
                       const T* offset, T* out, std::int64_t stride, T* squared);

    // Fills a panel and its half norms from n_centers centers; norms = their squared norms.
    void (*pack_panel)(const T* centers, const std::int32_t* indices, int n_centers, int lanes,
                       std::int64_t d, const T* offset, T* panel, T* half_norms, double* norms);

    // Splits each of the d values of a row in two words and adds both (INOUT). With a weight (else
    // nullptr) it is the values times the weight, and the weight itself as one value more.
    void (*add_split)(const T* row, const T* weight, std::int64_t d, const Quanta&, double* high,
                      double* low);
    void (*move_split)(const T* row, const T* weight, std::int64_t d, const Quanta&,
                       double* high_from, double* low_from, double* high_to, double* low_to);

    // Searches of up to kFewGroups groups among up to kFewStep, 2 * kFewStep, … most_few centers.
    // `rows` goes on with the kFewAhead that follow. `highest` (INOUT), if given and no bounds are
    // kept, is raised to the magnitude of the rows' columns: (d), to a whole kFewRows.
    int most_few;
    void (*search_few[kFewSizes])(const FewSearch<T>&, const T* const* rows, int n_groups,
                                  T* highest, FewNearest&);
};

// Columns whose medians are found together: a cache line of them.
template <class T>
constexpr std::int64_t kMedianColumns = 64 / sizeof(T);

template <class T>
struct RowKernels {
    TileKernels<T> tiles;

    // Medians of up to kMedianColumns columns of k finite rows that begin `stride` values apart; of
    // two middle values the one of lesser magnitude. keys: SCRATCH (k, kMedianColumns).
    void (*medians)(const T* x, std::int64_t k, std::int64_t stride, std::int64_t n_columns,
                    Bits<T>* keys, T* medians);

    // Squared distance, to within d + 3 roundings and what underflows.
    T (*squared_distance)(const T* x, const T* center, std::int64_t d);

    void (*write_record)(const Margins<T>&, const Finding<T>&, const RecordFormat&,
                         std::uint8_t* record);

    DistanceKernels<T> distance;
    SparseKernels<T> sparse;
    PrefilterKernels<T> prefilter;
};

struct LaneKernels {
    const char* name;
    RowKernels<float> single;
    RowKernels<double> dual;
    // may_move[i]: row begin + i might have another nearest center. Returns how many rows keep
    // theirs for no other reason than the gap around it.
    std::int64_t (*test_bounds)(const BoundsTest&, std::int64_t begin, std::int64_t n_rows,
                                std::uint8_t* may_move);
    // Bit g: group g might hold a center nearer than `upper`, the row's distance to its own as it
    // is now. lower[g]: no other center of the group is nearer than that; kFar where the bit is
    // set.
    std::uint64_t (*groups_in_reach)(const BoundsTest&, std::int64_t row, float upper, float radius,
                                     float* lower);
    // may_move has room for n_rows rounded up to kFewRows.
    void (*test_few)(const FewTest&, std::int64_t begin, std::int64_t n_rows,
                     std::uint8_t* may_move);
    ValueKernels values;
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
const LaneKernels* neon_lane_kernels() noexcept;

// Prefilters with AVX-512's integer products, which not every processor with AVX-512 has.
void add_avx512_prefilters(LaneKernels* kernels) noexcept;

}  // namespace harpy::kmeans
