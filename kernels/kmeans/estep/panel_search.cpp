#include "estep/panel_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace harpy::kmeans {

namespace {

// The distance of a typical row is taken from the first rows of each thread.
constexpr std::int64_t kMeasuredRows = 256;

// The prefilter saves time where centers are many beside the work of rounding a row, and rows
// beside that of rounding the centers.
constexpr std::int64_t kPrefilteredCenters = 32, kPrefilteredRows = 256;
// With bounds, rows are prefiltered that have more than this share of the groups in reach: panels
// are searched at the rate of T's own products.
template <class T>
constexpr float kPrefilteredShare = sizeof(T) == sizeof(float) ? 0.2f : 0.1f;

}  // namespace

template <class T>
PanelSearch<T>::PanelSearch(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters,
                            int n_thread, bool may_prefilter, bool measures)
    : kernels_(row_kernels<T>(lanes).tiles),
      x_(x),
      n_clusters_(n_clusters),
      n_thread_(n_thread),
      measures_(measures),
      all_(n_clusters, x.n_columns, kernels_.scan_centers) {
    const PrefilterKernels<T>& kernels = row_kernels<T>(lanes).prefilter;
    if (kernels.search != nullptr && may_prefilter && n_clusters >= kPrefilteredCenters &&
        x.n_rows >= kPrefilteredRows && x.n_columns <= kMaxPrefilterColumns) {
        integers_ =
            std::make_unique<IntegerCenters<T>>(row_kernels<T>(lanes), n_clusters, x.n_columns);
    }
    batches_.reserve(n_thread);
    for (int t = 0; t < n_thread; ++t) {
        batches_.emplace_back(x.n_columns, kernels_.scan_rows, t);
        if (integers_ != nullptr) {
            batches_[t].prepare_prefilter(kernels, x.n_columns, kernels_.scan_rows);
        }
    }
}

template <class T>
void PanelSearch<T>::pack(const T* centers, const T* offset) {
    all_.pack(kernels_, {centers, n_clusters_, x_.n_columns}, offset, n_thread_);
    if (integers_ == nullptr) return;
    integers_->pack(all_, centers, nullptr, integers_->plain_groups(), n_thread_);
}

template <class T>
void PanelSearch<T>::pack(const T* centers, const PanelBounds<T>& bounds) {
    if (integers_ == nullptr) return;
    integers_->pack(bounds.packed(), centers, bounds.group_of_panel(), bounds.n_groups(),
                    n_thread_);
}

template <class T>
void PanelSearch<T>::search_all(const PanelCall<T>& call, PanelBatch<T>& batch, std::int64_t begin,
                                std::int64_t end) const noexcept {
    if (integers_ != nullptr) {
        prefilter(call, batch, begin, end);
    } else {
        scan(call, batch, begin, end);
    }
}

template <class T>
void PanelSearch<T>::scan(const PanelCall<T>& call, PanelBatch<T>& batch, std::int64_t begin,
                          std::int64_t end) const noexcept {
    std::int32_t nearest[kMaxScanRows];
    T best[kMaxScanRows];
    for (std::int64_t row = begin; row < end; row += kernels_.scan_rows) {
        const std::int64_t n = std::min<std::int64_t>(kernels_.scan_rows, end - row);
        const std::int64_t n_ahead =
            std::min<std::int64_t>(kernels_.scan_rows, x_.n_rows - row - n);
        scan_block(call, batch, x_.data + row * x_.n_columns, n, n_ahead, nearest, best);
        if (measures_ && batch.n_measured < kMeasuredRows) {
            measure(batch, best, n);
        }
        for (std::int64_t i = 0; i < n; ++i) call.relabel(batch, row + i, nearest[i]);
    }
}

// Searches all centers for a block of n rows.
template <class T>
void PanelSearch<T>::scan_block(const PanelCall<T>& call, PanelBatch<T>& batch, const T* rows,
                                std::int64_t n, std::int64_t n_ahead, std::int32_t* nearest,
                                T* best) const noexcept {
    kernels_.exhaustive_scan({rows, n, n_ahead, x_.n_columns, call.offset, all_.panels.data(),
                              all_.half_norms.data(), all_.n_panels, batch.columns.data()},
                             nearest, best);
}

// Rows whose nearest center integers cannot tell are gathered for an exact search.
template <class T>
void PanelSearch<T>::prefilter(const PanelCall<T>& call, PanelBatch<T>& batch, std::int64_t begin,
                               std::int64_t end) const noexcept {
    const std::int64_t d = x_.n_columns, step = integers_->block_rows();
    std::int64_t row = begin + (measures_ ? std::min(kMeasuredRows, end - begin) : 0);
    scan(call, batch, begin, row);
    for (; row < end && batch.prefilters(); row += step) {
        const std::int64_t n = std::min(step, end - row);
        const T* first = x_.data + row * d;
        for (std::int64_t i = 0; i < n; ++i) batch.prefiltered->rows[i] = first + i * d;
        integers_->search(*batch.prefiltered, n, call.offset, false, first + n * d,
                          std::min(step, x_.n_rows - row - n) * d);
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int32_t slot = batch.prefiltered->slot[i];
            batch.count_prefiltered(slot >= 0);
            if (slot >= 0) {
                call.relabel(batch, row + i, slot);
                continue;
            }
            std::copy_n(first + i * d, d, batch.uncertain.data() + batch.n_uncertain * d);
            batch.uncertain_rows[batch.n_uncertain++] = row + i;
            if (batch.n_uncertain == kernels_.scan_rows) scan_uncertain(call, batch);
        }
    }
    scan_uncertain(call, batch);
    scan(call, batch, std::min(row, end), end);
}

template <class T>
void PanelSearch<T>::scan_uncertain(const PanelCall<T>& call, PanelBatch<T>& batch) const noexcept {
    if (batch.n_uncertain == 0) return;
    std::int32_t nearest[kMaxScanRows];
    T best[kMaxScanRows];
    scan_block(call, batch, batch.uncertain.data(), batch.n_uncertain, 0, nearest, best);
    for (std::int64_t i = 0; i < batch.n_uncertain; ++i) {
        call.relabel(batch, batch.uncertain_rows[i], nearest[i]);
    }
    batch.n_uncertain = 0;
}

// Adds up the distances of rows that were scanned.
template <class T>
void PanelSearch<T>::measure(PanelBatch<T>& batch, const T* best, std::int64_t n) const noexcept {
    for (std::int64_t i = 0; i < n; ++i) {
        double squared = 2.0 * best[i];
        for (std::int64_t j = 0; j < x_.n_columns; ++j) {
            const double value = batch.columns[j * kernels_.scan_rows + i];
            squared += value * value;
        }
        batch.distances += std::sqrt(std::max(squared, 0.0));
    }
    batch.n_measured += n;
}

// Rows with many groups in reach meet all centers as integers; the others, and what integers cannot
// decide, the panels in reach and that of their old center.
template <class T>
void PanelSearch<T>::search_near(const PanelCall<T>& call, PanelBatch<T>& batch,
                                 const PanelBounds<T>& bounds, bool first) const noexcept {
    const PackedCenters<T>& centers = bounds.packed();
    const std::int64_t stride = bounds.group_stride();
    const std::int64_t n = batch.n_rows, n_panels = centers.n_panels;
    std::fill(batch.best.begin(), batch.best.begin() + n, std::numeric_limits<T>::infinity());
    std::fill(batch.best_panel.begin(), batch.best_panel.begin() + n, -1);
    std::fill(batch.group_low.begin(), batch.group_low.begin() + n * stride,
              std::numeric_limits<T>::infinity());
    if (first) std::fill_n(batch.lower.begin(), n * stride, kFar);
    batch.to_prefilter.clear();
    const bool may_prefilter = batch.prefilters();
    for (std::int64_t i = 0; i < n; ++i) {
        batch.n_in_reach[i] = __builtin_popcountll(batch.in_reach[i]);
        if (may_prefilter && batch.n_in_reach[i] > kPrefilteredShare<T> * bounds.n_groups()) {
            batch.to_prefilter.push_back(static_cast<std::int32_t>(i));
        } else {
            enlist(call, batch, bounds, i);
        }
    }
    prefilter_some(call, batch, bounds);
    for (const std::int32_t i : batch.to_prefilter) enlist(call, batch, bounds, i);
    const Search<T> search{batch.x.data(),
                           x_.n_columns,
                           batch.stride,
                           centers.indices.data(),
                           batch.best.data(),
                           batch.best_panel.data(),
                           batch.best_scores.data(),
                           batch.group_low.data(),
                           bounds.group_of_panel(),
                           stride};
    for (std::int64_t p = 0; p < n_panels; ++p) {
        if (batch.n_waiting[p] == 0) continue;
        kernels_.search[bounds.width()](search, static_cast<std::int32_t>(p),
                                        centers.panels.data() + p * centers.lanes * x_.n_columns,
                                        centers.half_norms.data() + p * centers.lanes,
                                        batch.waiting.data() + p * batch.capacity,
                                        batch.n_waiting[p]);
        batch.n_waiting[p] = 0;
    }
    kernels_.select_lanes[bounds.width()](search, n, batch.slots.data(), batch.second.data());
    // The panel of the best one also counts for its group.
    for (std::int64_t i = 0; i < n; ++i) {
        T& own = batch.group_low[i * stride + bounds.group_of_panel()[batch.best_panel[i]]];
        own = std::min(own, batch.second[i]);
    }
}

// Row i of a batch waits for the panels in reach and that of its old center.
template <class T>
void PanelSearch<T>::enlist(const PanelCall<T>& call, PanelBatch<T>& batch,
                            const PanelBounds<T>& bounds, std::int64_t i) noexcept {
    const PackedCenters<T>& centers = bounds.packed();
    const std::int32_t own = centers.slots[call.labels[batch.rows[i]]] / centers.lanes;
    const auto wait_for = [&](std::int64_t panel) {
        batch.waiting[panel * batch.capacity + batch.n_waiting[panel]++] =
            static_cast<std::int32_t>(i);
    };
    wait_for(own);
    for (std::uint64_t groups = batch.in_reach[i]; groups != 0; groups &= groups - 1) {
        const int g = __builtin_ctzll(groups);
        for (std::int64_t p = bounds.first_panel(g); p < bounds.first_panel(g + 1); ++p) {
            if (p != own) wait_for(p);
        }
    }
}

// Decides what it can of batch.to_prefilter, and leaves the others there.
template <class T>
void PanelSearch<T>::prefilter_some(const PanelCall<T>& call, PanelBatch<T>& batch,
                                    const PanelBounds<T>& bounds) const noexcept {
    std::size_t n_left = 0;
    const auto n_rows = batch.to_prefilter.size();
    for (std::size_t begin = 0; begin < n_rows;) {
        const auto n = std::min<std::size_t>(integers_->block_rows(), n_rows - begin);
        for (std::size_t r = 0; r < n; ++r) {
            batch.prefiltered->rows[r] =
                x_.data + batch.rows[batch.to_prefilter[begin + r]] * x_.n_columns;
        }
        integers_->search(*batch.prefiltered, static_cast<std::int64_t>(n), call.offset, true,
                          nullptr, 0);
        for (std::size_t r = 0; r < n; ++r) {
            const std::int32_t i = batch.to_prefilter[begin + r];
            const bool certain = keep_prefiltered(batch, bounds, static_cast<std::int64_t>(r), i);
            batch.count_prefiltered(certain);
            if (!certain) batch.to_prefilter[n_left++] = i;
        }
        begin += n;
    }
    batch.to_prefilter.resize(n_left);
}

// What the prefilter found out about row i of a batch, as if all panels had been searched for it.
template <class T>
bool PanelSearch<T>::keep_prefiltered(PanelBatch<T>& batch, const PanelBounds<T>& bounds,
                                      std::int64_t block_row, std::int64_t i) const noexcept {
    const int lanes = bounds.packed().lanes;
    const std::int64_t stride = bounds.group_stride();
    const PrefilterBlock<T>& block = *batch.prefiltered;
    const std::int32_t slot = block.slot[block_row];
    if (slot < 0) return false;
    batch.n_in_reach[i] = bounds.n_groups();
    std::fill_n(batch.lower.data() + i * stride, stride, kFar);
    T* low = batch.group_low.data() + i * stride;
    for (int g = 0; g < bounds.n_groups(); ++g)
        low[g] = block.least[g * integers_->block_rows() + block_row];
    batch.best[i] = block.most[block_row];
    batch.best_panel[i] = slot / lanes;
    T* scores = batch.best_scores.data() + i * lanes;
    std::fill_n(scores, lanes, std::numeric_limits<T>::infinity());
    scores[slot % lanes] = batch.best[i];
    return true;
}

template class PanelSearch<float>;
template class PanelSearch<double>;

}  // namespace harpy::kmeans
