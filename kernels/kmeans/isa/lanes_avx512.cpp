// The inner loops for AVX-512 (x86-64-v4): 32 registers of 64 bytes.
#include <cstdint>

#include "isa/lane_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)

#if defined(__clang__)
#pragma clang attribute push( \
    __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#endif
#include "isa/avx512.h"
// The loops, over those vectors:
#include "isa/lanes.h"

namespace harpy::kmeans {

const LaneKernels* avx512_lane_kernels() noexcept {
    static const LaneKernels kernels = [] {
        LaneKernels made = make_lane_kernels("avx512");
        add_avx512_prefilters(&made);
        return made;
    }();
    const bool present = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return present ? &kernels : nullptr;
}

}  // namespace harpy::kmeans

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else

namespace harpy::kmeans {
const LaneKernels* avx512_lane_kernels() noexcept { return nullptr; }
}  // namespace harpy::kmeans

#endif
