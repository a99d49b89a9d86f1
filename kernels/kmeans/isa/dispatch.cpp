// Which instruction set's inner loops to use, decided at run time.
#include <cstring>

#include "isa/lane_kernels.h"
#include "kmeans.h"

namespace harpy::kmeans {

const LaneKernels* find_lane_kernels(const char* name) noexcept {
    if (std::strcmp(name, "avx512") == 0) return avx512_lane_kernels();
    if (std::strcmp(name, "avx2") == 0) return avx2_lane_kernels();
    if (std::strcmp(name, "neon") == 0) return neon_lane_kernels();
    if (std::strcmp(name, "scalar") == 0) return scalar_lane_kernels();
    return nullptr;
}

const char* lane_kernels_name(const LaneKernels* lanes) noexcept { return lanes->name; }

const LaneKernels* best_lane_kernels() noexcept {
    if (const LaneKernels* lanes = avx512_lane_kernels()) return lanes;
    if (const LaneKernels* lanes = avx2_lane_kernels()) return lanes;
    if (const LaneKernels* lanes = neon_lane_kernels()) return lanes;
    return scalar_lane_kernels();
}

}  // namespace harpy::kmeans
