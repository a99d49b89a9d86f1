// Medians of columns, a column a lane: compiled once per instruction set.
#pragma once

#include <cstdint>

#include "isa/lane_kernels.h"

namespace harpy::kmeans {
namespace {

template <class T>
constexpr int kSignBit = 8 * sizeof(T) - 1;
template <class T>
constexpr Bits<T> kLeastKey = sizeof(T) == 4 ? INT32_MIN : static_cast<Bits<T>>(INT64_MIN);

// Bits of a value to a key, in the order of the values, and back.
template <class T>
inline Bits<T> turn_key(Bits<T> bits) {
    return bits ^ ((bits >> kSignBit<T>)&~kLeastKey<T>);
}

// The two middle keys of each lane; for an odd k the upper one is the middle.
template <class T>
struct MiddleKeys {
    alignas(64) Bits<T> lower[kMedianColumns<T>], upper[kMedianColumns<T>];
};

// Sorts the lower half, least key first.
template <class T>
inline void sort_middle(Bits<T>* keys, std::int64_t k, MiddleKeys<T>& middle) {
    constexpr std::int64_t kColumns = kMedianColumns<T>;
    for (std::int64_t first = 0; first <= k / 2; ++first) {
        for (std::int64_t i = k - 1; i > first; --i) {
            Bits<T>*before = keys + (i - 1) * kColumns, *after = keys + i * kColumns;
            for (std::int64_t j = 0; j < kColumns; ++j) {
                const Bits<T> a = before[j], b = after[j];
                before[j] = a < b ? a : b;
                after[j] = a < b ? b : a;
            }
        }
    }
    for (std::int64_t j = 0; j < kColumns; ++j) {
        middle.upper[j] = keys[k / 2 * kColumns + j];
        middle.lower[j] = keys[(k - 1) / 2 * kColumns + j];
    }
}

// Finds the upper key bit by bit: the largest one that no more than k / 2 keys are below.
template <class T>
inline void bisect_middle(const Bits<T>* keys, std::int64_t k, MiddleKeys<T>& middle) {
    constexpr std::int64_t kColumns = kMedianColumns<T>;
    const auto rank = static_cast<Bits<T>>(k / 2);
    alignas(64) Bits<T> upper[kColumns], lower[kColumns], n_below[kColumns];
    for (std::int64_t j = 0; j < kColumns; ++j) upper[j] = lower[j] = kLeastKey<T>;
    for (int bit = kSignBit<T>; bit >= 0; --bit) {
        alignas(64) Bits<T> candidate[kColumns];
        for (std::int64_t j = 0; j < kColumns; ++j) {
            candidate[j] = bit == kSignBit<T> ? 0 : upper[j] | Bits<T>{1} << bit;
            n_below[j] = 0;
        }
        for (std::int64_t i = 0; i < k; ++i) {
            for (std::int64_t j = 0; j < kColumns; ++j) {
                n_below[j] += keys[i * kColumns + j] < candidate[j];
            }
        }
        for (std::int64_t j = 0; j < kColumns; ++j) {
            upper[j] = n_below[j] <= rank ? candidate[j] : upper[j];
        }
    }
    for (std::int64_t j = 0; j < kColumns; ++j) n_below[j] = 0;
    for (std::int64_t i = 0; i < k; ++i) {
        for (std::int64_t j = 0; j < kColumns; ++j) {
            const Bits<T> key = keys[i * kColumns + j];
            n_below[j] += key < upper[j];
            lower[j] = key < upper[j] && key > lower[j] ? key : lower[j];
        }
    }
    for (std::int64_t j = 0; j < kColumns; ++j) {
        middle.upper[j] = upper[j];
        middle.lower[j] = k % 2 == 0 && n_below[j] == rank ? lower[j] : upper[j];
    }
}

template <class T>
inline void find_medians(const T* x, std::int64_t k, std::int64_t stride, std::int64_t n_columns,
                         Bits<T>* keys, T* medians) {
    constexpr std::int64_t kColumns = kMedianColumns<T>;
    constexpr std::int64_t kMaxSorted = 8 * sizeof(T);  // comparisons of k keys: k / 2, or a bit's
    for (std::int64_t i = 0; i < k; ++i) {
        for (std::int64_t j = 0; j < kColumns; ++j) {
            const T value = j < n_columns ? x[i * stride + j] : T{0};
            keys[i * kColumns + j] = turn_key<T>(__builtin_bit_cast(Bits<T>, value));
        }
    }
    MiddleKeys<T> middle;
    if (k <= kMaxSorted) {
        sort_middle<T>(keys, k, middle);
    } else {
        bisect_middle<T>(keys, k, middle);
    }
    for (std::int64_t j = 0; j < n_columns; ++j) {
        const T lower = __builtin_bit_cast(T, turn_key<T>(middle.lower[j]));
        const T upper = __builtin_bit_cast(T, turn_key<T>(middle.upper[j]));
        // Not their mean: beside one far outlier that would be far from both.
        medians[j] = __builtin_fabs(lower) <= __builtin_fabs(upper) ? lower : upper;
    }
}

}  // namespace
}  // namespace harpy::kmeans
