// The E-step of Lloyd's iteration: every row's nearest center. Several methods give the same bits;
// docs/numerics.md proves what they leave out.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "ranges/ranges.h"
#include "sums/exact_sums.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

template <class T>
class EStep {
  public:
    virtual ~EStep() = default;

    // labels: in those of the last call (-1 before the first one), out the nearest centers. Rows
    // whose label changed are moved in `sums` (one part a thread), if given; returns their number.
    // Throws std::bad_alloc.
    virtual std::int64_t assign(const T* centers, const T* offset, std::int32_t* labels,
                                RowSums<T>* sums) = 0;

    int n_thread() const noexcept { return n_thread_; }

    // Calls to come also look at the ranges of the rows, while these are still in the cache: all
    // rows, so only where no bounds are kept. Values that are not finite do no harm but to their
    // rows' labels.
    void measure(ColumnRanges<T>* ranges) noexcept { ranges_ = ranges; }

  protected:
    // least_rows: for a block of fewer the search's ends would cost more than reading rows again.
    EStep(int n_thread, std::int64_t least_rows) noexcept
        : n_thread_(n_thread), least_rows_(least_rows) {}

    // Calls search(thread, begin, end) for all n_rows in blocks of at most block_rows; n_rows: one
    // for each thread.
    template <class Search>
    void for_searches(std::int64_t n_rows, std::int64_t block_rows, const Search& search) noexcept {
        if (ranges_ != nullptr) {
            const std::int64_t n_least = count_blocks(ranges_->block_rows(), least_rows_);
            block_rows = std::min(block_rows, n_least * least_rows_);
        }
        for_row_blocks(n_rows, block_rows, n_thread_,
                       [&](int thread, std::int64_t begin, std::int64_t end) {
                           search(thread, begin, end);  // it prefetches rows
                           if (ranges_ != nullptr) ranges_->look(thread, begin, end);
                       });
    }

    const int n_thread_;

    ColumnRanges<T>* ranges_ = nullptr;

  private:
    const std::int64_t least_rows_;
};

// Whether so many centers can be packed and their sums be numbered.
inline bool sizes_fit(std::int64_t n_clusters, std::int64_t n_columns) noexcept {
    constexpr std::int64_t kMaxLanes = 64;
    std::int64_t product;
    return n_clusters <= kMaxCenters &&
           checked_product(n_clusters + kMaxLanes, n_columns, &product);
}

// The least memory in which rows can have bounds, in bytes a row.
constexpr int kLeastBoundBytes = 2 * sizeof(float);

// The method that suits the shape. bound_bytes: memory for bounds, in bytes a row; 0 means that
// every search is exhaustive. Throws std::bad_alloc.
template <class T>
std::unique_ptr<EStep<T>> make_estep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters,
                                     int n_thread, int bound_bytes);

}  // namespace harpy::kmeans
