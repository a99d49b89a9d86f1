// The inner loops for NEON, which every aarch64 processor has: 32 registers of 16 bytes.
#include "isa/lane_kernels.h"

#if defined(__aarch64__)

#include "isa/neon.h"
// The loops, over those vectors:
#include "isa/lanes.h"

namespace harpy::kmeans {

const LaneKernels* neon_lane_kernels() noexcept {
    static constexpr LaneKernels kernels = make_lane_kernels("neon");
    return &kernels;
}

}  // namespace harpy::kmeans

#else

namespace harpy::kmeans {
const LaneKernels* neon_lane_kernels() noexcept { return nullptr; }
}  // namespace harpy::kmeans

#endif
