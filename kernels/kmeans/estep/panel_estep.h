// The E-step for many centers: all rows meet all of them, or once the centers slow down bounds let
// most rows keep theirs unread, and the others search the panels of centers that may be nearer.
// panel_search has the searches, panel_bounds the bounds, panel_policy says when which is worth it.
#pragma once

#include <cstdint>

#include "estep/estep.h"
#include "estep/panel_bounds.h"
#include "estep/panel_policy.h"
#include "estep/panel_search.h"
#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "sums/exact_sums.h"

namespace harpy::kmeans {

// Seconds of a clock that never goes back.
using Clock = double (*)() noexcept;
double steady_seconds() noexcept;

template <class T>
class PanelEStep final : public EStep<T> {
  public:
    PanelEStep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters, int n_thread,
               int bound_bytes, Clock now = steady_seconds);

    std::int64_t assign(const T* centers, const T* offset, std::int32_t* labels,
                        RowSums<T>* sums) override;

  private:
    using EStep<T>::n_thread_;

    bool prefers_near(const T* centers, const std::int32_t* labels);
    void prepare_near(const T* centers, const T* offset);
    void search_near(const PanelCall<T>& call, PanelBatch<T>& batch, std::int64_t begin,
                     std::int64_t end) noexcept;
    void search_batch(const PanelCall<T>& call, PanelBatch<T>& batch) noexcept;
    std::int64_t end_call(bool near, double begun) noexcept;

    const LaneKernels& lanes_;
    const Matrix<T> x_;
    const int bound_bytes_;
    const Clock now_;
    PanelPolicy policy_;
    PanelBounds<T> bounds_;
    PanelSearch<T> search_;
};

}  // namespace harpy::kmeans
