// Centers as 16-bit integers: a search of all of them at twice the rate of float32 that decides the
// rows whose nearest center is certain, and those where exact scores of a few centers decide.
// docs/numerics.md has the proof.
#pragma once

#include <cstdint>
#include <vector>

#include "estep/centers.h"
#include "isa/lane_kernels.h"
#include "threads/buffer.h"

namespace harpy::kmeans {

// What a thread needs for its searches, and what it found in the last one.
template <class T>
struct PrefilterBlock {
    PrefilterBlock(const PrefilterKernels<T>& kernels, std::int64_t d, std::int64_t most_groups);

    const T* rows[kMaxScanRows];
    std::int32_t slot[kMaxScanRows];  // of the nearest center, or -1 where that is not certain
    T most[kMaxScanRows];             // that center's real score is no higher
    Buffer<T> least;                  // (n_groups, rows) those of others of a group are no lower

    Buffer<std::int32_t> pairs, lows;   // as in PrefilterRows
    std::int32_t lowest[kMaxScanRows];  // and in PrefilterFound
    bool certain[kMaxScanRows];
    float doubt[kMaxScanRows], unit[kMaxScanRows];

    // Centers that integers cannot tell apart, until their exact scores do.
    struct Candidate {
        std::int32_t row, group, slot;
        T score;
    };
    std::vector<Candidate> candidates;
};

template <class T>
class IntegerCenters {
  public:
    // Throws std::bad_alloc.
    IntegerCenters(const RowKernels<T>& kernels, std::int64_t n_clusters, std::int64_t d);

    // centers, which are `exact` in rows, and both are to stay as they are during the searches;
    // panels of `exact` are to be as wide as those of the kernels, or a multiple of that.
    // group_of_panel: of the panels of `exact`, or nullptr for n_groups of about the same size.
    // Throws std::bad_alloc.
    void pack(const PackedCenters<T>& exact, const T* centers, const std::int32_t* group_of_panel,
              std::int64_t n_groups, int n_thread);

    int block_rows() const noexcept { return kernels_.rows; }
    // Groups that are worth their while where nobody asks for bounds.
    std::int64_t plain_groups() const noexcept;

    // Searches for block.rows, of which there are n_rows, less the offset. with_bounds: whether to
    // fill `most` and `least`, too. Meanwhile prefetches what lies `ahead`.
    void search(PrefilterBlock<T>& block, std::int64_t n_rows, const T* offset, bool with_bounds,
                const T* ahead, std::int64_t n_ahead) const noexcept;

  private:
    void find_candidates(PrefilterBlock<T>& block, std::int64_t n_rows) const noexcept;
    void score_candidates(PrefilterBlock<T>& block, const T* offset) const noexcept;
    void choose_candidates(PrefilterBlock<T>& block, bool with_bounds) const noexcept;
    std::int32_t slot_of(std::int32_t lowest) const noexcept {
        return lowest & ((1 << units_.tag_bits) - 1);
    }

    const TileKernels<T>& tiles_;
    const PrefilterKernels<T>& kernels_;
    const std::int64_t n_clusters_, d_, n_pairs_;
    const PackedCenters<T>* exact_ = nullptr;
    const T* centers_ = nullptr;
    std::int64_t n_panels_ = 0, n_groups_ = 1;
    Buffer<std::int32_t> pairs_;                // (n_panels, n_pairs, kernels.centers)
    std::vector<std::int32_t> starts_, slots_;  // (n_panels, kernels.centers)
    std::vector<std::int32_t> group_of_;        // (n_panels)
    std::vector<double> errors_;                // (n_panels)
    PrefilterUnits<T> units_{};
};

}  // namespace harpy::kmeans
