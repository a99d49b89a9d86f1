// The E-step by tiles of rows against panels of centers, with bounds that let most rows keep their
// center unread once the centers slow down.
#pragma once

#include <cstdint>
#include <vector>

#include "buffer.h"
#include "centers.h"
#include "estep.h"
#include "exact_sums.h"
#include "kmeans.h"
#include "lane_kernels.h"

namespace harpy::kmeans {

template <class T>
class PanelEStep final : public EStep<T> {
  public:
    PanelEStep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters, int n_thread,
               int bound_bytes);
    ~PanelEStep() override;

    std::int64_t assign(const T* centers, const T* offset, std::int32_t* labels,
                        std::vector<ExactSums::Part>* sums) override;

  private:
    using EStep<T>::n_thread_;
    struct Batch;  // one thread's rows on their way through a search
    struct NearPanel {
        float half_gap;  // rows nearer than this to the center find nothing nearer in the panel
        std::int32_t panel;
    };

    bool prefers_near(const T* centers, const std::int32_t* labels);
    void start_bounds(const T* centers, const T* offset);
    void add_moves() noexcept;
    void measure_gaps(const T* centers, const T* offset);
    void search_range(Batch& batch, std::int64_t begin, std::int64_t end, bool near) noexcept;
    void finish(Batch& batch, bool near) noexcept;
    void search_all(Batch& batch) noexcept;
    void search_near(Batch& batch) noexcept;
    void keep_bounds(Batch& batch, std::int64_t i, std::int32_t before,
                     std::int32_t label) noexcept;

    float upper_distance(T score, T squared, T norm) const noexcept;
    float lower_distance(T score, T squared, T norm) const noexcept;
    float slack(float upper, float radius, float other_radius) const noexcept;
    std::uint64_t groups_in_reach(std::int64_t row, float upper, float radius) const noexcept;
    std::uint16_t lower_code(float distance, std::int64_t group) const noexcept;
    std::uint16_t* lower(std::int64_t row) noexcept;
    const std::uint16_t* lower(std::int64_t row) const noexcept;

    const LaneKernels& lanes_;
    const TileKernels<T>& kernels_;
    const Matrix<T> x_;
    const std::int64_t n_clusters_;
    int n_groups_;  // 0: no bounds
    PackedCenters<T> packed_;
    std::vector<Batch> batches_;

    // Of the call in progress.
    const T* offset_ = nullptr;
    std::int32_t* labels_ = nullptr;
    std::vector<ExactSums::Part>* sums_ = nullptr;

    // Bounds hold for the centers of the last call while bounded_; distances in units of 1 /
    // scale_.
    bool bounded_ = false;
    T scale_ = 1;
    T score_error_, shift_error_, underflow_;
    float score_slack_, shift_slack_, floor_ = 0, quantum_ = 0;
    Buffer<float> upper_;
    Buffer<std::uint16_t> lower_;
    std::vector<std::int32_t> group_of_panel_;
    std::vector<NearPanel> near_panels_;  // (n_clusters, n_panels), ascending half gaps
    std::vector<T> previous_, norm_, group_norm_;
    std::vector<double> moves_, moved_sum_, group_moved_sum_;
    std::vector<float> moved_, radius_, half_gap_, group_moved_, group_radius_;
    double mean_move_ = 0, failed_move_ = 0;
};

}  // namespace harpy::kmeans
