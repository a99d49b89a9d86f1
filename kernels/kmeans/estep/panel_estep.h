// The E-step for many centers: all rows meet all of them, or once the centers slow down bounds let
// most rows keep theirs unread, and the others search the panels of centers that may be nearer.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "estep/centers.h"
#include "estep/estep.h"
#include "estep/screen.h"
#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "sums/exact_sums.h"
#include "threads/buffer.h"

namespace harpy::kmeans {

template <class T>
class PanelEStep final : public EStep<T> {
  public:
    PanelEStep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters, int n_thread,
               int bound_bytes);
    ~PanelEStep() override;

    std::int64_t assign(const T* centers, const T* offset, std::int32_t* labels,
                        RowSums<T>* sums) override;

  private:
    using EStep<T>::n_thread_;
    struct Batch;  // one thread's rows on their way through a search

    bool prefers_near(const T* centers, const std::int32_t* labels);
    void prepare_near();
    void start_bounds(const T* centers, const T* offset);
    void add_moves() noexcept;
    void measure_gaps(const T* centers, const T* offset);
    void measure_radii() noexcept;
    void search_all(Batch& batch, std::int64_t begin, std::int64_t end) noexcept;
    void sweep(Batch& batch, const T* rows, std::int64_t n, std::int64_t n_ahead,
               std::int32_t* nearest, T* best) const noexcept;
    void screen_all(Batch& batch, std::int64_t begin, std::int64_t end) noexcept;
    void search_unsettled(Batch& batch) noexcept;
    bool screens(const Batch& batch) const noexcept;
    void screen_batch(Batch& batch) noexcept;
    bool keep_screened(Batch& batch, std::int64_t block_row, std::int64_t i) noexcept;
    void measure(Batch& batch, const T* best, std::int64_t n) noexcept;
    void search_near(Batch& batch, std::int64_t begin, std::int64_t end) noexcept;
    std::uint64_t groups_in_reach(Batch& batch, const BoundsTest& test, std::int64_t row) noexcept;
    void search_batch(Batch& batch) noexcept;
    void search_panels(Batch& batch) noexcept;
    void relabel(Batch& batch, std::int64_t row, std::int32_t label) noexcept;
    void keep_bounds(Batch& batch, std::int64_t i, std::int32_t label) noexcept;

    std::int64_t record_at(const Batch& batch, std::int64_t row) const noexcept;
    BoundsTest bounds_test(const Batch& batch) const noexcept;

    const LaneKernels& lanes_;
    const TileKernels<T>& kernels_;
    const Matrix<T> x_;
    const std::int64_t n_clusters_;
    const int bound_bytes_;
    PackedCenters<T> all_;                       // for exhaustive searches
    std::unique_ptr<IntegerCenters<T>> screen_;  // the same, where that may settle rows
    std::unique_ptr<PackedCenters<T>> near_;     // neighbours side by side
    int width_ = 0;                              // of its panels, in vectors less one
    std::vector<Batch> batches_;

    // Of the call in progress.
    const T* offset_ = nullptr;
    std::int32_t* labels_ = nullptr;
    RowSums<T>* sums_ = nullptr;

    // Bounds hold for the centers of the last call while bounded_.
    bool bounded_ = false, with_gaps_ = true;
    int n_groups_ = 0;
    std::int64_t stamp_ = 0;  // calls since the bounds were started
    RecordFormat format_{};
    bool stale_[kStamps] = {};  // records of that stamp are to be renewed
    Margins<T> margins_{};
    Buffer<float> upper_;
    Buffer<std::uint8_t> records_;
    std::vector<std::int32_t> group_of_panel_;
    std::vector<std::int64_t> first_panel_;  // (n_groups + 1)
    std::uint64_t all_groups_ = 0;           // bit g: group g has panels
    std::vector<CenterBounds> centers_;
    std::vector<T> last_centers_, norm_, group_norm_;
    std::vector<double> moves_, moved_, group_moved_;  // of the last call; summed since the start
    std::vector<double> group_moved_before_;           // (kStamps, n_groups)
    std::vector<float> group_moves_, group_radius_;
    double mean_move_ = 0, failed_move_ = 0, mean_distance_ = 0;
    double lost_seconds_ = 0;  // by bounds that did not pay, less what they saved since
    double exhaustive_seconds_ = std::numeric_limits<double>::infinity();  // the quickest so far
};

}  // namespace harpy::kmeans
