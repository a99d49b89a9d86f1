// The searches of the E-step for many centers: all of them, or for each row the panels in reach;
// first in integers where those may decide. Which rows, and when, others decide.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "estep/centers.h"
#include "estep/panel_batch.h"
#include "estep/panel_bounds.h"
#include "estep/prefilter.h"
#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "sums/exact_sums.h"

namespace harpy::kmeans {

// What one call of the E-step is given.
template <class T>
struct PanelCall {
    const T* offset;
    std::int32_t* labels;  // IN the old ones, OUT the nearest centers
    RowSums<T>* sums;      // INOUT, or nullptr

    // Gives a row its label and moves it in the sums.
    void relabel(PanelBatch<T>& batch, std::int64_t row, std::int32_t label) const noexcept {
        const std::int32_t before = labels[row];
        if (label == before) return;
        labels[row] = label;
        ++batch.n_changed;
        if (sums != nullptr) sums->move(batch.thread, row, before, label);
    }
};

template <class T>
class PanelSearch {
  public:
    // may_prefilter: whether integers may be tried; measures: whether typical distances are wanted.
    // Throws std::bad_alloc.
    PanelSearch(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters, int n_thread,
                bool may_prefilter, bool measures);

    // The centers of search_all, or besides those that `bounds` packed the ones of search_near.
    void pack(const T* centers, const T* offset);
    void pack(const T* centers, const PanelBounds<T>& bounds);

    // Finds the nearest of all centers for rows begin to end.
    void search_all(const PanelCall<T>& call, PanelBatch<T>& batch, std::int64_t begin,
                    std::int64_t end) const noexcept;

    // Finds the nearest centers of a batch's rows (slots, best) among the groups in reach and those
    // of their old centers' panels, and what bounds are made of. first: there are none from before.
    void search_near(const PanelCall<T>& call, PanelBatch<T>& batch, const PanelBounds<T>& bounds,
                     bool first) const noexcept;

    std::vector<PanelBatch<T>>& batches() noexcept { return batches_; }

  private:
    void scan(const PanelCall<T>& call, PanelBatch<T>& batch, std::int64_t begin,
              std::int64_t end) const noexcept;
    void scan_block(const PanelCall<T>& call, PanelBatch<T>& batch, const T* rows, std::int64_t n,
                    std::int64_t n_ahead, std::int32_t* nearest, T* best) const noexcept;
    void prefilter(const PanelCall<T>& call, PanelBatch<T>& batch, std::int64_t begin,
                   std::int64_t end) const noexcept;
    void scan_uncertain(const PanelCall<T>& call, PanelBatch<T>& batch) const noexcept;
    void measure(PanelBatch<T>& batch, const T* best, std::int64_t n) const noexcept;
    static void enlist(const PanelCall<T>& call, PanelBatch<T>& batch, const PanelBounds<T>& bounds,
                       std::int64_t i) noexcept;
    void prefilter_some(const PanelCall<T>& call, PanelBatch<T>& batch,
                        const PanelBounds<T>& bounds) const noexcept;
    bool keep_prefiltered(PanelBatch<T>& batch, const PanelBounds<T>& bounds,
                          std::int64_t block_row, std::int64_t i) const noexcept;

    const TileKernels<T>& kernels_;
    const Matrix<T> x_;
    const std::int64_t n_clusters_;
    const int n_thread_;
    const bool measures_;
    PackedCenters<T> all_;                         // for exhaustive searches
    std::unique_ptr<IntegerCenters<T>> integers_;  // the same, or those of the bounds
    std::vector<PanelBatch<T>> batches_;           // of the threads
};

}  // namespace harpy::kmeans
