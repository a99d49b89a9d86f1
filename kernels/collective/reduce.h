// Element-wise reductions over raw buffers.
#pragma once

#include <cstddef>

#include "frame.h"

namespace harpy::collective {

// accumulator[i] = lower[i] op upper[i]; `accumulator` is one of the two. The order of operands is
// the callers' promise that every rank computes the same bits.
using Combine = void (*)(void* accumulator, const void* lower, const void* upper,
                         std::size_t count);

Combine combine_for(DType dtype, Reduction reduction);

}  // namespace harpy::collective
