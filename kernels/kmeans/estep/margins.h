// How far computed scores may be from distances: what every bound allows for. docs/numerics.md has
// the proof. In an unnamed namespace, as every instruction set compiles it anew.
#pragma once

#include <cstdint>

namespace harpy::kmeans {

// Covers the few float32 roundings of a bound's own arithmetic.
constexpr float kGuard = 1.0f + 0x1p-18f;
constexpr float kFar = 1e30f;

// Errors in units of a row's and a center's norms less the offset; scale: a power of two that
// brings the norms of the centers to about 1, so that bounds can be float32.
template <class T>
struct Margins {
    T score_error, shift_error, underflow, scale;
    float score_slack, shift_slack, floor;
};

template <class T>
Margins<T> make_margins(std::int64_t n_columns) noexcept;
// largest: of the |c'_j| of all centers.
template <class T>
void choose_scale(Margins<T>& margins, T largest, std::int64_t n_columns) noexcept;

// At least the distance between two centers, in units of 1 / scale so that no square underflows.
template <class T>
double upper_move(const T* before, const T* after, std::int64_t n_columns, T scale) noexcept;

namespace {

inline float round_up(double value) {
    return static_cast<float>(value + __builtin_fabs(value) * 0x1p-22);
}

inline float square_root(float x) { return __builtin_sqrtf(x); }
inline double square_root(double x) { return __builtin_sqrt(x); }

// Bounds on the scaled distance of the unrounded row and center, from a score of the rounded ones
// and their norms.
template <class T>
inline float upper_distance(const Margins<T>& margins, T score, T squared, T norm) {
    const T reach = square_root(squared) + norm;
    const T most = 2 * score + squared + margins.score_error * reach * reach + margins.underflow;
    const T distance = square_root(most > 0 ? most : T{0}) + margins.shift_error * reach;
    return static_cast<float>(distance * margins.scale) * kGuard;
}

template <class T>
inline float lower_distance(const Margins<T>& margins, T score, T row_norm, T norm) {
    const T reach = row_norm + norm;
    const T least =
        2 * score + row_norm * row_norm - margins.score_error * reach * reach - margins.underflow;
    const T distance = square_root(least > 0 ? least : T{0}) - margins.shift_error * reach;
    const float scaled = static_cast<float>(distance * margins.scale) * (2.0f - kGuard);
    return scaled < 0 ? 0.0f : scaled < kFar ? scaled : kFar;
}

// How much the squared distance of another center must exceed that of a row's own so that its
// score, as computed, is certainly higher.
template <class M>
inline float score_slack(const M& margins, float upper, float radius, float other_radius) {
    const float reach = upper + radius, radii = radius + other_radius;
    return margins.score_slack * radii * (radii + 2.0f * reach) +
           margins.shift_slack * reach * (reach + radii) + margins.floor;
}

// Rows nearer to a center than this have no nearer one among those that are at least `gap` from it.
template <class T>
inline float half_gap(const Margins<T>& margins, float gap, float radius, float other_radius) {
    if (!(gap > 0)) return 0.0f;
    if (!(gap < kFar)) return kFar;
    const float slack = score_slack(margins, 0.5f * gap, radius, other_radius);
    const float half = 0.5f * (gap - slack * kGuard / gap) * (2.0f - kGuard * kGuard);
    return half > 0 ? half : 0.0f;
}

}  // namespace
}  // namespace harpy::kmeans
