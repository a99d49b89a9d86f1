// Searches among few centers: what their inner loops, few_lanes.h, are given, and what they find.
#pragma once

#include <cstdint>

#include "estep/margins.h"

namespace harpy::kmeans {

// A search among few centers takes groups of so many rows, which their bounds are padded to; some
// groups at a time.
constexpr int kFewRows = 16, kFewGroups = 4, kFewRowsAtOnce = kFewGroups * kFewRows;
// While it searches a row, the one so far behind it is prefetched.
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
    std::int32_t label[kFewRowsAtOnce];                  // OUT, as all of it
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

}  // namespace harpy::kmeans
