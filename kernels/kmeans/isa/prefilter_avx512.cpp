// The integer prefilter of AVX-512 with VNNI, whose products of 16-bit pairs run at twice the rate
// of float32 ones.
#include <cstdint>

#include "isa/lane_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)

#if defined(__clang__)
#pragma clang attribute push(                                                          \
    __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), \
    apply_to = function)
#else
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,prefer-vector-width=512")
#endif
#include "isa/avx512_vnni.h"
// The loops, over those vectors:
#include "estep/prefilter_lanes.h"

namespace harpy::kmeans {

void add_avx512_prefilters(LaneKernels* kernels) noexcept {
    if (!__builtin_cpu_supports("avx512vnni")) return;
    add_prefilters<Ints>(*kernels);
}

}  // namespace harpy::kmeans

#if defined(__clang__)
#pragma clang attribute pop
#endif

#else

namespace harpy::kmeans {
void add_avx512_prefilters(LaneKernels*) noexcept {}
}  // namespace harpy::kmeans

#endif
