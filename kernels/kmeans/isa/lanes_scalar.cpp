// The portable build of the inner loops. Where the baseline has no fused multiply-add (x86-64
// before 2013) the C library's correctly rounded fma is called: slow, and the same bits.
#include "isa/scalar.h"
// The loops, over those vectors:
#include "estep/prefilter_lanes.h"
#include "isa/lanes.h"

namespace harpy::kmeans {

const LaneKernels* scalar_lane_kernels() noexcept {
    static constexpr LaneKernels kernels = with_prefilters<Ints>(make_lane_kernels("scalar"));
    return &kernels;
}

}  // namespace harpy::kmeans
