// The bits of magnitudes: integers in their order, NaN above infinity. Integers see subnormals
// whatever the environment.
#pragma once

#include <cstdint>
#include <type_traits>

namespace harpy::kmeans {

// Integers as wide as T: bits of magnitudes are in the order of the magnitudes.
template <class T>
using Bits = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

namespace {

template <class T>
inline Bits<T> magnitude_bits(T value) {
    Bits<T> bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits & static_cast<Bits<T>>(~(Bits<T>{1} << (8 * sizeof(T) - 1)));
}

}  // namespace
}  // namespace harpy::kmeans
