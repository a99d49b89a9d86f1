// Bounds of rows on groups of centers: their form in memory, and what bounds_lanes.h is given.
#pragma once

#include <cstdint>

namespace harpy::kmeans {

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
    static constexpr std::int32_t kMaxCode = 255, kShift = 19;  // of a code within a float32
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

}  // namespace harpy::kmeans
