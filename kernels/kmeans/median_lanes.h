// Medians of columns, a column a lane: compiled once per instruction set.
#pragma once

#include <cstdint>

#include "lane_kernels.h"

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

// The value of rank k / 2 has its key found bit by bit: the largest one that no more than k / 2
// keys are below.
template <class T>
inline void find_medians(const T* x, std::int64_t k, std::int64_t stride, std::int64_t n_columns,
                         Bits<T>* keys, T* medians) {
    constexpr std::int64_t kColumns = kMedianColumns<T>;
    for (std::int64_t i = 0; i < k; ++i) {
        for (std::int64_t j = 0; j < kColumns; ++j) {
            keys[i * kColumns + j] =
                j < n_columns ? turn_key<T>(__builtin_bit_cast(Bits<T>, x[i * stride + j])) : 0;
        }
    }
    const auto middle = static_cast<Bits<T>>(k / 2);
    alignas(64) Bits<T> upper[kColumns];
    for (std::int64_t j = 0; j < kColumns; ++j) upper[j] = kLeastKey<T>;
    for (int bit = kSignBit<T>; bit >= 0; --bit) {
        alignas(64) Bits<T> candidate[kColumns], n_below[kColumns] = {};
        for (std::int64_t j = 0; j < kColumns; ++j) {
            candidate[j] = upper[j] ^ (bit < kSignBit<T> ? Bits<T>{1} << bit : upper[j]);
        }
        for (std::int64_t i = 0; i < k; ++i) {
            for (std::int64_t j = 0; j < kColumns; ++j) {
                n_below[j] += keys[i * kColumns + j] < candidate[j];
            }
        }
        for (std::int64_t j = 0; j < kColumns; ++j) {
            upper[j] = n_below[j] <= middle ? candidate[j] : upper[j];
        }
    }
    alignas(64) Bits<T> n_below[kColumns] = {}, lower[kColumns];
    for (std::int64_t j = 0; j < kColumns; ++j) lower[j] = kLeastKey<T>;
    for (std::int64_t i = 0; i < k; ++i) {
        for (std::int64_t j = 0; j < kColumns; ++j) {
            const Bits<T> key = keys[i * kColumns + j];
            n_below[j] += key < upper[j];
            lower[j] = key < upper[j] && key > lower[j] ? key : lower[j];
        }
    }
    for (std::int64_t j = 0; j < n_columns; ++j) {
        const T above = __builtin_bit_cast(T, turn_key<T>(upper[j]));
        const T below = n_below[j] == middle ? __builtin_bit_cast(T, turn_key<T>(lower[j])) : above;
        // Not their mean: beside one far outlier that would be far from both.
        const T least = __builtin_fabs(below) <= __builtin_fabs(above) ? below : above;
        medians[j] = k % 2 == 1 ? above : least;
    }
}

}  // namespace
}  // namespace harpy::kmeans
