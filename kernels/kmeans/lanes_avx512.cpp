// The inner loops for AVX-512 (x86-64-v4): 32 registers of 64 bytes.
#include <cstdint>

#include "lane_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)

#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#include "eight_avx512.h"
#include "simd_avx512.h"
// The loops, over those vectors:
#include "lanes.h"

namespace harpy::kmeans {

const LaneKernels* avx512_lane_kernels() noexcept {
    static constexpr LaneKernels kernels = make_lane_kernels("avx512");
    const bool present = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return present ? &kernels : nullptr;
}

}  // namespace harpy::kmeans

#else

namespace harpy::kmeans {
const LaneKernels* avx512_lane_kernels() noexcept { return nullptr; }
}  // namespace harpy::kmeans

#endif
