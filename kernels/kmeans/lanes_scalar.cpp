// The portable build of the inner loops. Where the baseline has no fused multiply-add (x86-64
// before 2013) the C library's correctly rounded fma is called: slow, and the same bits.
#include "simd_scalar.h"
#include "lanes.h"

namespace harpy::kmeans {

const LaneKernels* scalar_lane_kernels() noexcept {
    static constexpr LaneKernels kernels = make_lane_kernels<16>("scalar");
    return &kernels;
}

}  // namespace harpy::kmeans
