#include "estep/panel_estep.h"

#include <chrono>

#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

// Rows that are searched at least before they are read again by others (see EStep).
constexpr std::int64_t kLeastRows = std::int64_t{1} << 14;
// Rows whose bounds are tested at a time.
constexpr std::int64_t kTestRows = 64;
static_assert(kTestRows <= PanelBatch<float>::kLeastRows);

}  // namespace

double steady_seconds() noexcept {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

template <class T>
PanelEStep<T>::PanelEStep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters,
                          int n_thread, int bound_bytes, Clock now)
    : EStep<T>(n_thread, kLeastRows),
      lanes_(lanes),
      x_(x),
      // Gaps between centers would cost as much as the search where rows are few.
      bound_bytes_(x.n_rows < 4 * n_clusters ? 0 : bound_bytes),
      now_(now),
      policy_(static_cast<double>(n_clusters) * static_cast<double>(x.n_columns)),
      bounds_(lanes, x, n_clusters, n_thread_),
      search_(lanes, x, n_clusters, n_thread_, bound_bytes > 0, bound_bytes_ >= kLeastBoundBytes) {}

template <class T>
std::int64_t PanelEStep<T>::assign(const T* centers, const T* offset, std::int32_t* labels,
                                   RowSums<T>* sums) {
    if (x_.n_rows == 0) return 0;
    const FloatEnvironment environment;
    const double begun = now_();
    const bool near = prefers_near(centers, labels);
    if (bound_bytes_ >= kLeastBoundBytes) bounds_.remember(centers);
    if (near) {
        prepare_near(centers, offset);
    } else {
        search_.pack(centers, offset);
    }
    const PanelCall<T> call{offset, labels, sums};
    this->for_searches(x_.n_rows, x_.n_rows, [&](int thread, std::int64_t begin, std::int64_t end) {
        PanelBatch<T>& batch = search_.batches()[thread];
        if (near) {
            search_near(call, batch, begin, end);
        } else {
            search_.search_all(call, batch, begin, end);
        }
    });
    return end_call(near, begun);
}

template <class T>
bool PanelEStep<T>::prefers_near(const T* centers, const std::int32_t* labels) {
    if (bound_bytes_ < kLeastBoundBytes || !bounds_.remembers() || labels[0] < 0) return false;
    return policy_.prefers_near(bounds_.measure_moves(centers));
}

// Bounds become those for the centers of this call.
template <class T>
void PanelEStep<T>::prepare_near(const T* centers, const T* offset) {
    const bool first = !policy_.bounded();
    bounds_.prepare(bound_bytes_, search_.batches());
    if (first) {
        bounds_.start(offset);
    } else {
        bounds_.add_moves(policy_.mean_distance());
    }
    bounds_.pack(offset);
    search_.pack(centers, bounds_);
    if (policy_.measures_gaps()) {
        bounds_.measure_gaps(offset, first, policy_.mean_distance(), search_.batches());
    }
}

// Adds up what the threads counted, and tells the policy; returns how many labels changed.
template <class T>
std::int64_t PanelEStep<T>::end_call(bool near, double begun) noexcept {
    std::int64_t n_changed = 0, n_kept_by_gap = 0, n_measured = 0;
    double distances = 0;
    for (PanelBatch<T>& batch : search_.batches()) {
        n_changed += batch.n_changed;
        n_kept_by_gap += batch.n_kept_by_gap;
        distances += batch.distances;
        n_measured += batch.n_measured;
        batch.n_changed = batch.n_kept_by_gap = batch.n_in_vain = batch.n_measured = 0;
        batch.distances = 0;
    }
    const double seconds = now_() - begun;
    if (near) {
        policy_.searched_near(seconds,
                              static_cast<double>(n_kept_by_gap) / static_cast<double>(x_.n_rows));
        bounds_.end_call();
    } else {
        policy_.scanned(seconds, distances / std::max(static_cast<double>(n_measured), 1.0));
    }
    return n_changed;
}

// Collects the rows that may have another nearest center: all of them before there are bounds.
template <class T>
void PanelEStep<T>::search_near(const PanelCall<T>& call, PanelBatch<T>& batch, std::int64_t begin,
                                std::int64_t end) noexcept {
    const bool bounded = policy_.bounded();
    const BoundsTest test = bounds_.test(call.labels, batch.thread);
    std::uint8_t may_move[kTestRows];
    batch.n_rows = 0;
    for (std::int64_t first = begin; first < end; first += kTestRows) {
        const std::int64_t n = std::min(kTestRows, end - first);
        if (batch.n_rows + n > batch.capacity) search_batch(call, batch);
        if (bounded) batch.n_kept_by_gap += lanes_.test_bounds(test, first, n, may_move);
        for (std::int64_t row = first; row < first + n; ++row) {
            if (bounded && !may_move[row - first]) continue;
            const std::uint64_t groups =
                bounded ? bounds_.groups_in_reach(batch, test, row) : bounds_.all_groups();
            if (groups == 0) continue;
            batch.rows[batch.n_rows] = row;
            batch.in_reach[batch.n_rows++] = groups;
        }
    }
    search_batch(call, batch);
}

template <class T>
void PanelEStep<T>::search_batch(const PanelCall<T>& call, PanelBatch<T>& batch) noexcept {
    if (batch.n_rows == 0) return;
    const bool first = !policy_.bounded();
    row_kernels<T>(lanes_).tiles.shift_rows(x_.data, batch.rows.data(), batch.n_rows, x_.n_columns,
                                            call.offset, batch.x.data(), batch.stride,
                                            batch.squared.data());
    search_.search_near(call, batch, bounds_, first);
    for (std::int64_t i = 0; i < batch.n_rows; ++i) {
        const std::int32_t label = bounds_.packed().indices[batch.slots[i]];
        bounds_.keep(batch, i, label, first);
        call.relabel(batch, batch.rows[i], label);
    }
    batch.n_rows = 0;
}

template class PanelEStep<float>;
template class PanelEStep<double>;

}  // namespace harpy::kmeans
