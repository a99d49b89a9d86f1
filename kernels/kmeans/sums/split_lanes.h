// Rows split into words of exact sums: compiled once per instruction set, by the compiler's own
// vectors. docs/numerics.md has the proof that nothing is lost.
#pragma once

#include <cstdint>

#include "sums/sum_kernels.h"

namespace harpy::kmeans {
namespace {

// A number of columns that the compiler knows.
template <int N>
struct Columns {
    constexpr operator int() const { return N; }
};
// This many values are examined before they are split.
using Look = Columns<64>;

// Whether the first words of all values are the values themselves.
inline bool whole(Look n, const float* row, const float* whole_from) {
    const int end = n;
    int parts = 0;
#pragma omp simd reduction(| : parts)
    for (int j = 0; j < end; ++j) {
        parts |= (__builtin_fabsf(row[j]) < whole_from[j]) & (row[j] != 0.0f);
    }
    return parts == 0;
}
template <class N, class T>
inline bool whole(N, const T*, const float*) {
    return false;
}

// Both words of a row's values, on their way into the sums; where kMoves, they are also taken away
// from elsewhere.
template <bool kMoves>
struct Words {
    double *high, *low, *high_less, *low_less;

    Words from(std::int64_t first) const {
        return {high + first, low + first, kMoves ? high_less + first : nullptr,
                kMoves ? low_less + first : nullptr};
    }
};

// Splits n values by their columns' magic numbers.
template <bool kMoves, class Value, class N>
inline void split_values(N n, const Value& value_of, const Quanta& quanta, std::int64_t first,
                         const Words<kMoves>& words) {
    const int end = n;
    const double* __restrict magic_high = quanta.magic_high + first;
    const double* __restrict magic_low = quanta.magic_low + first;
    double* __restrict high = words.high, * __restrict low = words.low;
    double* __restrict high_less = words.high_less, * __restrict low_less = words.low_less;
#pragma omp simd
    for (int j = 0; j < end; ++j) {
        const double value = value_of(j);
        const double upper = (value + magic_high[j]) - magic_high[j];
        const double lower = ((value - upper) + magic_low[j]) - magic_low[j];
        high[j] += upper;
        low[j] += lower;
        if (kMoves) {
            high_less[j] -= upper;
            low_less[j] -= lower;
        }
    }
}

// The same for n values of a row, those that are whole as they are.
template <bool kMoves, class T, class N>
inline void split_some(N n, const T* __restrict x, const Quanta& quanta, std::int64_t first,
                       const Words<kMoves>& words) {
    const int end = n;
    if (whole(n, x, quanta.whole_from + first)) {
        double* __restrict high = words.high, * __restrict high_less = words.high_less;
#pragma omp simd
        for (int j = 0; j < end; ++j) {
            const double value = static_cast<double>(x[j]);
            high[j] += value;
            if (kMoves) high_less[j] -= value;
        }
        return;
    }
    const auto value = [x](int j) { return static_cast<double>(x[j]); };
    split_values(n, value, quanta, first, words);
}

// Calls split(n, first) for as long stretches of d columns as the compiler knows.
template <class Split>
inline void for_stretches(std::int64_t d, const Split& split) {
    using Some = Columns<8>;
    std::int64_t j = 0;
    for (; d - j >= Look{}; j += Look{}) split(Look{}, j);
    for (; d - j >= Some{}; j += Some{}) split(Some{}, j);
    if (j < d) split(static_cast<int>(d - j), j);
}

// All columns of a row.
template <bool kMoves, class T>
inline void split_row(const T* row, std::int64_t d, const Quanta& quanta,
                      const Words<kMoves>& words) {
    for_stretches(d, [&](auto n, std::int64_t first) {
        split_some(n, row + first, quanta, first, words.from(first));
    });
}

// The same times a weight, and the weight.
template <bool kMoves, class T>
inline void split_weighted(const T* row, double weight, std::int64_t d, const Quanta& quanta,
                           const Words<kMoves>& words) {
    for_stretches(d, [&](auto n, std::int64_t first) {
        const T* x = row + first;
        const auto product = [x, weight](int j) { return weight * static_cast<double>(x[j]); };
        split_values(n, product, quanta, first, words.from(first));
    });
    const auto itself = [weight](int) { return weight; };
    split_values(Columns<1>{}, itself, quanta, d, words.from(d));
}

// Added to one cluster.
template <class T>
void add_split(const T* row, const T* weight, std::int64_t d, const Quanta& quanta, double* high,
               double* low) {
    const Words<false> words{high, low, nullptr, nullptr};
    if (weight == nullptr) {
        split_row(row, d, quanta, words);
    } else {
        split_weighted(row, static_cast<double>(*weight), d, quanta, words);
    }
}

// The same, and taken away from another.
template <class T>
void move_split(const T* row, const T* weight, std::int64_t d, const Quanta& quanta,
                double* high_from, double* low_from, double* high_to, double* low_to) {
    const Words<true> words{high_to, low_to, high_from, low_from};
    if (weight == nullptr) {
        split_row(row, d, quanta, words);
    } else {
        split_weighted(row, static_cast<double>(*weight), d, quanta, words);
    }
}

}  // namespace
}  // namespace harpy::kmeans
