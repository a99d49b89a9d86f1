// What is known of rows from call to call in the E-step for many centers: how near their own
// center is at most, and each group of other centers at least. docs/numerics.md has the proof.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "estep/centers.h"
#include "estep/panel_batch.h"
#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "threads/buffer.h"

namespace harpy::kmeans {

template <class T>
class PanelBounds {
  public:
    PanelBounds(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters, int n_thread);

    // Memory for at most bound_bytes a row, once. Throws std::bad_alloc.
    void prepare(int bound_bytes, std::vector<PanelBatch<T>>& batches);

    // How far the centers moved since the last call, on average; keeps the new ones.
    double measure_moves(const T* centers);
    // Keeps the centers of a call that had none before.
    void remember(const T* centers);
    bool remembers() const noexcept { return !last_centers_.empty(); }

    // All rows' bounds are about to be written anew.
    void start(const T* offset);
    // Adds the last moves to those of centers and groups, and notes the sums as those of this
    // call's stamp. mean_distance: of a row to its center.
    void add_moves(double mean_distance) noexcept;
    // Packs the centers, and measures how far each is from the offset.
    void pack(const T* offset);
    // How far each center is from the nearest center of each panel.
    // first: records start anew; mean_distance as above.
    void measure_gaps(const T* offset, bool first, double mean_distance,
                      std::vector<PanelBatch<T>>& batches);
    void end_call() noexcept { ++stamp_; }

    BoundsTest test(const std::int32_t* labels, int thread) const noexcept;

    // The groups that may hold a nearer center than the row's own, now that the distance to that is
    // measured; what they were bounded by becomes `lower` of the batch's next row.
    std::uint64_t groups_in_reach(PanelBatch<T>& batch, const BoundsTest& test,
                                  std::int64_t row) noexcept;

    // Writes what a search found out about row i of a batch, whose label is known now. first: there
    // are no bounds from before.
    void keep(const PanelBatch<T>& batch, std::int64_t i, std::int32_t label, bool first) noexcept;

    const PackedCenters<T>& packed() const noexcept { return *packed_; }
    int width() const noexcept { return width_; }
    // Groups of panels; rows' values for groups lie group_stride() apart.
    int n_groups() const noexcept { return n_groups_; }
    int group_stride() const noexcept { return format_.n_groups; }
    std::uint64_t all_groups() const noexcept { return all_groups_; }
    const std::int32_t* group_of_panel() const noexcept { return group_of_panel_.data(); }
    std::int64_t first_panel(int group) const noexcept { return first_panel_[group]; }

  private:
    std::int64_t record_at(int thread, std::int64_t row) const noexcept;
    void choose_codes(std::vector<double>& gap_sums, double mean_distance);

    const LaneKernels& lanes_;
    const TileKernels<T>& kernels_;
    const Matrix<T> x_;
    const std::int64_t n_clusters_;
    const int n_thread_;
    std::unique_ptr<PackedCenters<T>> packed_;  // neighbours side by side
    int width_ = 0;                             // of its panels, in vectors less one
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
};

}  // namespace harpy::kmeans
