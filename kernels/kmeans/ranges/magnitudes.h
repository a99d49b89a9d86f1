// The bits of magnitudes: integers in their order, NaN above infinity. Integers see subnormals
// whatever the environment.
#pragma once

#include "isa/lane_kernels.h"

namespace harpy::kmeans {
namespace {

template <class T>
inline Bits<T> magnitude_bits(T value) {
    Bits<T> bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits & static_cast<Bits<T>>(~(Bits<T>{1} << (8 * sizeof(T) - 1)));
}

}  // namespace
}  // namespace harpy::kmeans
