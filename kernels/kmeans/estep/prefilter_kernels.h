// Searches in 16-bit integers: what their inner loops, prefilter_lanes.h, are given, and what they
// find.
#pragma once

#include <cstdint>

namespace harpy::kmeans {

// Nor meets more centers at a time in a prefilter.
constexpr int kMaxPrefilterCenters = 8;

// A row's squares and products with a center stay within int32 while both have this norm.
constexpr float kPrefilterNorm = 31000.0f;
// No score reaches this.
constexpr std::int32_t kPrefilterHighest = 1 << 30;
// Covers the float32 roundings of up to kMaxPrefilterColumns squares.
constexpr float kPrefilterGuard = 1.01f;
constexpr std::int64_t kMaxPrefilterColumns = 1 << 16;
// Rows less than this share of the centers' norm are rounded like those of that length.
constexpr float kPrefilterLeast = 0x1p-20f;

// How centers became integers, and what their scores may be off by. Of (-c', h - middle), where h
// is the half norm, the last value is divided by `one`, which rows have as one more column; all is
// in units of 1 / scale and then multiplied so that the largest norm becomes kPrefilterNorm.
template <class T>
struct PrefilterUnits {
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
struct PrefilterRows {
    const T* const* rows;  // IN each (d)
    std::int64_t n_rows;   // at most those of the kernel
    const void* ahead;     // what is to be prefetched meanwhile
    std::int64_t n_ahead_bytes;
    std::int64_t d;
    const T* offset;              // IN (d)
    const std::int32_t* centers;  // IN (n_panels, n_pairs, centers of the kernel)
    const std::int32_t*
        starts;  // IN (n_panels, centers) 0, kPrefilterHighest beyond the last center
    const std::int32_t* slots;     // IN (n_panels, centers) 0, 1, 2, ...
    const std::int32_t* group_of;  // IN (n_panels)
    std::int64_t n_pairs, n_panels, n_groups;
    PrefilterUnits<T> units;
    std::int32_t* pairs;  // SCRATCH (n_pairs, rows of the kernel)
    std::int32_t* lows;   // OUT (2, n_groups, rows): lowest scores of each group, second lowest
};

// What it finds: scores in integers, their last bits the slot of the center.
template <class T>
struct PrefilterFound {
    std::int32_t* lowest;  // OUT (rows)
    bool* certain;         // OUT (rows) whether that is the nearest center for certain
    float* doubt;          // OUT (rows) what each score may be off by
    float* unit;           // OUT (rows) what PrefilterUnits calls u
    T* most;               // OUT (rows) the lowest one's real score is no higher; may be nullptr
    T* least;              // OUT (n_groups, rows) those of others of the group are no lower
};

template <class T>
struct PrefilterKernels {
    int rows = 0, centers = 0;
    // nullptr where the instruction set has nothing that makes this worth while.
    void (*search)(const PrefilterRows<T>&, const PrefilterFound<T>&) = nullptr;
};

}  // namespace harpy::kmeans
