// The table of inner loops that exist once per instruction set, and the packed centers they read.
#pragma once

#include <cstdint>
#include <type_traits>

#include "estep/margins.h"
#include "sparse/sparse_kernels.h"

namespace harpy::kmeans {

// Integers as wide as T: bits of magnitudes are in the order of the magnitudes.
template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

// Panel widths on offer: one, two or three vectors of centers side by side.
constexpr int kPanelWidths = 3;

// Centers are counted exactly in a float32.
constexpr std::int64_t kMostCenters = std::int64_t{1} << 24;

// No instruction set sweeps more rows at a time.
constexpr int kMostSweepRows = 48;
// Nor meets more centers at a time in a screen.
constexpr int kMostScreenCenters = 8;

// A block of rows that meets all centers, a row a lane.
template <class T>
struct Sweep {
    const T* x;            // (n_rows, d)
    std::int64_t n_rows;   // at most sweep_rows
    std::int64_t n_ahead;  // rows behind these that are to be fetched meanwhile
    std::int64_t d;
    const T* offset;      // (d)
    const T* centers;     // (n_panels, d, sweep_centers) less the offset, in ascending order
    const T* half_norms;  // (n_panels, sweep_centers), +inf beyond the last center
    std::int64_t n_panels;
    T* columns;  // (d, sweep_rows) scratch
};

// A row's squares and products with a center stay within int32 while both have this norm.
constexpr float kScreenNorm = 31000.0f;
// No score reaches this.
constexpr std::int32_t kScreenHighest = 1 << 30;
// Covers the float32 roundings of up to kMostScreenColumns squares.
constexpr float kScreenGuard = 1.01f;
constexpr std::int64_t kMostScreenColumns = 1 << 16;
// Rows less than this share of the centers' norm are rounded like those of that length.
constexpr float kScreenLeast = 0x1p-20f;

// How centers became integers, and what their scores may be off by. Of (-c', h - middle), where h
// is the half norm, the last value is divided by `one`, which rows have as one more column; all is
// in units of 1 / scale and then multiplied so that the largest norm becomes kScreenNorm.
template <class T>
struct ScreenUnits {
    T scale;            // a power of two that brings the centers' norms to about 1
    float one;          // value of the rows' last column
    float norm;         // at least that of every center
    float error;        // at least the norm of what rounding took from any center
    float half_norm;    // at least every h
    float chain_error;  // of the defined score, in units of half norm and product of norms
    float underflow;
    int tag_bits;  // enough for every center's number
    // A sum of products s of a row multiplied with u stands for the score
    // s / u * unit / scale / scale + middle.
    float unit;
    T middle;

    T real_score(float sum, float u) const noexcept {
        const T down = 1 / scale;
        return static_cast<T>(sum / u * unit) * down * down + middle;
    }
};

// A block of rows that meets all centers as pairs of 16-bit integers, a row a lane.
template <class T>
struct Screen {
    const T* const* rows;  // each (d)
    std::int64_t n_rows;   // at most those of the kernel
    const void* ahead;     // what is to be fetched meanwhile
    std::int64_t n_ahead_bytes;
    std::int64_t d;
    const T* offset;               // (d)
    const std::int32_t* centers;   // (n_panels, n_pairs, centers of the kernel)
    const std::int32_t* starts;    // (n_panels, centers) 0, kScreenHighest beyond the last center
    const std::int32_t* slots;     // (n_panels, centers) 0, 1, 2, ...
    const std::int32_t* group_of;  // (n_panels)
    std::int64_t n_pairs, n_panels, n_groups;
    ScreenUnits<T> units;
    std::int32_t* pairs;  // (n_pairs, rows of the kernel) scratch
    std::int32_t* lows;   // (2, n_groups, rows) out: lowest scores of each group, second lowest
};

// What it finds: scores in integers, their last bits the slot of the center.
template <class T>
struct ScreenFound {
    std::int32_t* lowest;  // (rows)
    bool* settled;         // (rows) whether that is the nearest center for certain
    float* doubt;          // (rows) what each score may be off by
    float* unit;           // (rows) what ScreenUnits calls u
    T* most;               // (rows) the lowest one's real score is no higher; may be nullptr
    T* least;              // (n_groups, rows) those of others of the group are no lower
};

template <class T>
struct ScreenKernels {
    int rows = 0, centers = 0;
    // nullptr where the instruction set has nothing that makes this worth while.
    void (*search)(const Screen<T>&, const ScreenFound<T>&) = nullptr;
};

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

// A search among few centers takes groups of so many rows, which their bounds are padded to; some
// groups at a time.
constexpr int kFewRows = 16, kFewGroups = 4, kFewRowsAtOnce = kFewGroups * kFewRows;
// While it searches a row, the one so far behind it is fetched.
constexpr int kFewAhead = 2 * kFewRows;
// Numbers of centers that such a search exists for: multiples of kFewStep.
constexpr int kFewStep = 2, kFewSizes = 12;
// Tables of one value a center that are looked up by lanes.
constexpr int kFewTable = 32;

// A search of rows among few centers, one row a lane.
template <class T>
struct FewSearch {
    const T* centers;     // (d, n) less the offset, n the size of the search
    const T* half_norms;  // (n), +inf beyond the last center
    bool keeps_bounds;    // whether those of FewNearest are wanted
    const T* offset;
    std::int64_t d;
    Margins<T> margins;
    T norm;                     // at least that of every center
    const float* moved;         // (kFewTable) per center, as in FewTest
    const float* others_moved;  // (kFewTable)
};

// What it finds.
struct FewNearest {
    std::int32_t label[kFewRowsAtOnce];
    float upper[kFewRowsAtOnce], lower[kFewRowsAtOnce];  // as FewTest reads them
};

// Bounds on distances of rows to few centers, in the units of BoundsTest.
struct FewTest {
    const std::int32_t* labels;
    const float* upper;         // distance to the label's center, less what it had moved by then
    const float* lower;         // to all others, plus what others had moved by then
    const float* moved;         // (kFewTable) per center, summed over the iterations so far
    const float* others_moved;  // (kFewTable) largest move of each iteration of any other, summed
    const float* half_gap;      // (kFewTable) rows nearer than this have no nearer center
    float radius;               // largest distance of a center from the offset
    float score_slack, shift_slack, floor;
};

// Per column, how values are split for exact sums.
struct Quanta {
    const double* magic_high;  // (x + magic) - magic rounds to the quantum
    const double* magic_low;
    const float* whole_from;  // float32 values that are not below this, and zeros, are multiples
                              // of the first quantum
};

// Searches along lists of neighbours are there for so many columns.
constexpr int kFewColumns = 8;
// A center's neighbours lie in chunks of so many, whatever the width of a vector.
constexpr int kChunk = 16;

// Rows that walk from center to nearer center. A row's place is chunk * n_clusters + center.
template <class T>
struct Walk {
    const T* x;       // (n_rows, d)
    const T* offset;  // (d)
    std::int64_t d, n_clusters;
    const T* chunks;  // (n_chunks, n_clusters, d + 1, kChunk): half norms, then columns; a center
                      // is the first one of its own chunk 0
    const std::int32_t* members;  // (n_chunks, n_clusters, kChunk), n_clusters beyond the last
    const T* limits;              // (n_chunks, n_clusters): a row of smaller squared distance to
                                  // the center has no nearer one in the chunks that follow
    std::int32_t* label;          // (n_rows) best center so far
    T* best;                      // (n_rows) its score
    std::int32_t* place;          // (n_rows)
};

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
    void (*settle[kPanelWidths])(const Search<T>&, std::int64_t n_rows, std::int32_t* slots,
                                 T* second);

    // nearest[i] = nearest of all centers to row i of a block; best[i] = its score.
    int sweep_rows, sweep_centers;
    void (*sweep)(const Sweep<T>&, std::int32_t* nearest, T* best);

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

    // Splits each of the d values of a row in two words and adds both. With a weight (else nullptr)
    // it is the values times the weight, and the weight itself as one value more.
    void (*add_split)(const T* row, const T* weight, std::int64_t d, const Quanta&, double* high,
                      double* low);
    void (*move_split)(const T* row, const T* weight, std::int64_t d, const Quanta&,
                       double* high_from, double* low_from, double* high_to, double* low_to);

    // Searches of up to kFewGroups groups among up to kFewStep, 2 * kFewStep, … most_few centers.
    // `rows` goes on with the kFewAhead that follow. `highest`, if given and no bounds are kept, is
    // raised to the magnitude of the rows' columns: (d), to a whole kFewRows.
    int most_few;
    void (*search_few[kFewSizes])(const FewSearch<T>&, const T* const* rows, int n_groups,
                                  T* highest, FewNearest&);
};

// Iterations whose moves are remembered: a row's record is renewed after so many at the latest.
constexpr int kStamps = 64;
// Loops over groups run over so many at a time.
constexpr int kGroupLanes = 16;
// A row's groups in reach are the bits of one word.
constexpr int kMaxGroups = 64;

// A row's record: the stamp of an iteration, a base and a code for each group of centers. Base plus
// margin (what the code stands for) bounds the distance to the group's centers but the row's own,
// as they stood in that iteration. A code is the leading bits of a float32. Loops go on to the end
// of a block of kGroupLanes: what they read beyond the record belongs to groups that are never in
// reach.
struct RecordFormat {
    std::int32_t bias;  // added to a code
    float base_unit;
    int n_groups;  // a multiple of kGroupLanes
    int n_bytes;

    static constexpr int kHeader = 2;
    static constexpr std::int32_t kMostCode = 255, kShift = 19;  // of a code within a float32
};

struct CenterBounds {
    float moved;     // summed over all iterations, rounded up
    float radius;    // distance from the offset
    float half_gap;  // rows nearer than this have no nearer center
};

// Distances are in units that bring the norms of the centers to about 1.
struct BoundsTest {
    const std::int32_t* labels;
    const float* upper;  // distance to the row's center less what that had moved by then
    const std::uint8_t* records;
    RecordFormat format;
    const CenterBounds* centers;
    const float* group_moves;   // (kStamps, n_groups): largest moves in a group since each stamp
    const float* group_radius;  // (n_groups)
    float score_slack, shift_slack, floor;
};

// What a search found out about a row, for its record.
template <class T>
struct Finding {
    const T* group_low;        // (n_groups) lowest scores but that of the row's own center
    const T* group_norm;       // (n_groups) largest norms of centers
    const float* lower;        // (n_groups) bounds from before, kFar for groups that were searched
    T squared;                 // squared norm of the row
    float upper;               // distance to its own center
    const float* group_moves;  // (n_groups) moves since the record's stamp, if that is to stay
    std::uint8_t stamp;        // the new stamp otherwise
};

// Values to integers in units of 1 / (first * second), truncated. Two factors, because the units
// reach beyond what one float64 can invert; truncation does not depend on the rounding mode.
struct UnitScale {
    double first, second;
    std::int64_t operator()(double value) const noexcept {
        return static_cast<std::int64_t>(value * first * second);
    }
};

// Squared distances, each eight chains and a tree (docs/numerics.md). Rows of centers lie
// center_stride values apart, a multiple of 8, with zeros beyond column d.
template <class T>
struct DistanceKernels {
    // out (n_rows, out_stride) = those of rows[i] (of row i where rows is nullptr) to all centers.
    // Where a row's distances all reach bounds[i] some lesser number that reaches it will do;
    // bounds may be nullptr. out_stride is a multiple of 8: what lies beyond the last center of a
    // row is overwritten.
    void (*to_all)(const T* x, std::int64_t d, const std::int32_t* rows, std::int64_t n_rows,
                   const double* centers, std::int64_t center_stride, std::int64_t n_centers,
                   const double* bounds, double* out, std::int64_t out_stride);

    // out[i] = that of row i to centers[labels[i]], labels == nullptr means 0.
    void (*to_own)(const T* x, std::int64_t n_rows, std::int64_t d, const double* centers,
                   std::int64_t center_stride, const std::int32_t* labels, double* out);

    // Keeps those of `rows` that may be nearer than their limit to some candidate, measured in T to
    // within d + 3 roundings; returns their number. candidates (n_candidates, stride), a multiple
    // of 4 candidates and of 16 values, zeros beyond column d. nullptr where T would save nothing.
    std::int64_t (*keep_near)(const T* x, std::int64_t d, std::int32_t* rows, std::int64_t n_rows,
                              const T* candidates, std::int64_t stride, std::int64_t n_candidates,
                              const T* limits);

    // Raises highest[j] to the bits of the magnitudes of column j.
    void (*raise_magnitudes)(const T* x, std::int64_t n_rows, std::int64_t d, Bits<T>* highest);
};

// Passes over float64 values, whatever X's dtype.
struct ValueKernels {
    // Adds to (low, high), words of 32 bits, what each of n_candidates takes off the
    // potentials of n rows; marks in lowered[i] the candidates that lower row i: c in bit c, those
    // from 7 on in bit 7. stride is a multiple of 8; so many of low and high are written, and so
    // many distances of a row are read: none may be negative.
    void (*add_gains)(const double* distances, std::int64_t n_rows, std::int64_t stride,
                      int n_candidates, const double* potentials, const double* weights,
                      UnitScale scale, std::int64_t* low, std::int64_t* high,
                      std::uint8_t* lowered);

    // Adds both words of n values, a multiple of 8, to words (2, 8); false where two words are not
    // enough for some value.
    bool (*add_words)(const double* values, std::int64_t n, double magic_high, double magic_low,
                      double* words);
};

// Columns whose medians are found together: a cache line of them.
template <class T>
constexpr std::int64_t kMedianColumns = 64 / sizeof(T);

template <class T>
struct RowKernels {
    TileKernels<T> tiles;

    // Medians of up to kMedianColumns columns of k finite rows that begin `stride` values apart; of
    // two middle values the one of lesser magnitude. keys: (k, kMedianColumns) scratch.
    void (*medians)(const T* x, std::int64_t k, std::int64_t stride, std::int64_t n_columns,
                    Bits<T>* keys, T* medians);

    // Squared distance, to within d + 3 roundings and what underflows.
    T (*squared_distance)(const T* x, const T* center, std::int64_t d);

    void (*write_record)(const Margins<T>&, const Finding<T>&, const RecordFormat&,
                         std::uint8_t* record);

    DistanceKernels<T> distance;
    SparseKernels<T> sparse;
    ScreenKernels<T> screen;
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

// Screens with AVX-512's integer products, which not every processor with AVX-512 has.
void add_avx512_screens(LaneKernels* kernels) noexcept;

}  // namespace harpy::kmeans
