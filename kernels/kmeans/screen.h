// Centers as 16-bit integers: a search of all of them at twice the rate of float32, that settles
// the rows whose nearest center is certain. docs/numerics.md has the proof.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "centers.h"
#include "lane_kernels.h"

namespace harpy::kmeans {

// What a thread needs for its searches, and what it found in the last one.
template <class T>
struct ScreenBlock {
    ScreenBlock(const ScreenKernels<T>& kernels, std::int64_t d, std::int64_t most_groups);

    const T* rows[kMostSweepRows];
    std::int32_t slot[kMostSweepRows];   // of the nearest center, or -1 where integers cannot tell
    std::uint64_t open[kMostSweepRows];  // as in ScreenFound
    T most[kMostSweepRows];
    Buffer<T> least;  // (n_groups, rows) likewise
    Buffer<std::int32_t> pairs, lows;
};

template <class T>
class IntegerCenters {
  public:
    // Throws std::bad_alloc. n_slots: as many as any of the centers to come have.
    IntegerCenters(const ScreenKernels<T>& kernels, std::int64_t n_slots, std::int64_t d);

    // Panels of `exact` are to be as wide as those of the kernels, or a multiple of that.
    // group_of_panel: of the panels of `exact`, or nullptr for one group. Throws std::bad_alloc.
    void pack(const PackedCenters<T>& exact, const std::int32_t* group_of_panel,
              std::int64_t n_groups, int n_thread);

    int block_rows() const noexcept { return kernels_.rows; }

    // Searches for block.rows, of which there are n_rows, less the offset. with_bounds: whether to
    // fill `open`, `most` and `least`, too. Meanwhile fetches what lies `ahead`.
    void search(ScreenBlock<T>& block, std::int64_t n_rows, const T* offset, bool with_bounds,
                const T* ahead, std::int64_t n_ahead) const noexcept;

  private:
    const ScreenKernels<T>& kernels_;
    const std::int64_t d_, n_pairs_;
    std::int64_t n_panels_ = 0, n_groups_ = 1;
    Buffer<std::int32_t> pairs_;                // (n_panels, n_pairs, kernels.centers)
    std::vector<std::int32_t> starts_, slots_;  // (n_panels, kernels.centers)
    std::vector<std::int32_t> group_of_;        // (n_panels)
    std::vector<double> errors_;                // (n_panels)
    ScreenUnits<T> units_{};
};

}  // namespace harpy::kmeans
