// The inner loops for AVX2 with FMA: 16 registers of 32 bytes.
#include <cstdint>

#include "isa/lane_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "isa/avx2.h"
// The loops, over those vectors:
#include "estep/prefilter_lanes.h"
#include "isa/lanes.h"

namespace harpy::kmeans {

const LaneKernels* avx2_lane_kernels() noexcept {
    static constexpr LaneKernels kernels = with_prefilters<Ints>(make_lane_kernels("avx2"));
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kernels : nullptr;
}

}  // namespace harpy::kmeans

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else

namespace harpy::kmeans {
const LaneKernels* avx2_lane_kernels() noexcept { return nullptr; }
}  // namespace harpy::kmeans

#endif
