#include "estep/panel_estep.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

// Rows less the offset that a thread works on at a time should stay in its second-level cache, and
// come in whole blocks of a screen.
constexpr std::int64_t kBatchBytes = 256 << 10;
constexpr std::int64_t kMaxBatchRows = 480, kMinBatchRows = 144;
// Rows that are searched at least before they are read again by others (see EStep).
constexpr std::int64_t kLeastRows = std::int64_t{1} << 14;
// The distance of a typical row is taken from the first rows of each thread.
constexpr std::int64_t kMeasuredRows = 256;
// Rows whose bounds are tested at a time.
constexpr std::int64_t kTestRows = 64;
static_assert(kTestRows <= kMinBatchRows);
// A record keeps its stamp until its groups have moved by this share of a typical row's distance.
constexpr double kStaleMove = 0.05;
// Bounds are worth starting when centers move less than this share of a row's distance, where an
// exhaustive search is so much work (in multiply-adds a row); with less work, proportionally later.
constexpr double kSlowMove = 0.03;
constexpr double kMuchWork = 75000;
// They are given up when they have cost so much of such a search more than they saved.
constexpr double kMostLost = 0.5;

// Screens save time where centers are many beside the work of rounding a row, and rows beside that
// of rounding the centers.
constexpr std::int64_t kScreenedCenters = 32, kScreenedRows = 256;
// With bounds, rows are screened that have more than this share of the groups in reach: panels are
// searched at the rate of T's own products.
template <class T>
constexpr float kScreenedShare = sizeof(T) == sizeof(float) ? 0.2f : 0.1f;
// A thread that has of late screened so many more rows in vain than others stops it for the call.
constexpr std::int64_t kScreenedInVain = 480;

template <class T>
std::int64_t batch_rows(std::int64_t d) noexcept {
    const std::int64_t rows = kBatchBytes / static_cast<std::int64_t>(sizeof(T)) / d;
    return std::clamp(rows / kMostSweepRows * kMostSweepRows, kMinBatchRows, kMaxBatchRows);
}

// Values from one row of a batch to the next. Rows a multiple of kCrowded bytes apart would share a
// few lines of the first-level cache among them.
template <class T>
std::int64_t row_stride(std::int64_t d) noexcept {
    constexpr std::int64_t kCrowded = 2048, kCacheLine = 64;
    const std::int64_t value_bytes = sizeof(T);
    return d * value_bytes % kCrowded == 0 ? d + kCacheLine / value_bytes : d;
}

}  // namespace

template <class T>
struct PanelEStep<T>::Batch {
    Batch(std::int64_t d, int sweep_rows, int thread)
        : thread(thread),
          capacity(batch_rows<T>(d)),
          stride(row_stride<T>(d)),
          columns(d * sweep_rows) {}

    // What a search near the old centers needs.
    void prepare_near(std::int64_t n_panels, int lanes, int n_groups) {
        rows = Buffer<std::int64_t>(capacity);
        x = Buffer<T>(capacity * stride);
        squared = Buffer<T>(capacity);
        best = Buffer<T>(capacity);
        slots = Buffer<std::int32_t>(capacity);
        best_scores = Buffer<T>(capacity * lanes);
        best_panel = Buffer<std::int32_t>(capacity);
        second = Buffer<T>(capacity);
        group_low = Buffer<T>(capacity * n_groups);
        lower = Buffer<float>(capacity * n_groups);
        n_in_reach = Buffer<std::int32_t>(capacity);
        waiting = Buffer<std::int32_t>(n_panels * capacity);
        n_waiting.assign(n_panels, 0);
        to_screen.reserve(capacity);
        in_reach.resize(capacity);
    }

    int thread;
    std::int64_t capacity, stride, n_rows = 0;
    Buffer<T> columns;  // of a search of all centers

    // Of a screen: rows that are still to be searched, and their numbers.
    std::unique_ptr<ScreenBlock<T>> screen;
    std::int64_t n_in_vain = 0;  // rows screened in vain less others, of late
    void count_screened(bool settled) noexcept {
        n_in_vain = settled ? std::max(n_in_vain - 1, -kScreenedInVain) : n_in_vain + 1;
    }
    Buffer<T> unsettled;
    std::int64_t unsettled_rows[kMostSweepRows];
    std::int64_t n_unsettled = 0;

    // Of a search near the old ones.
    Buffer<std::int64_t> rows;
    Buffer<T> x, squared, best;
    Buffer<std::int32_t> slots;
    Buffer<T> best_scores, second, group_low;
    Buffer<std::int32_t> best_panel;
    Buffer<float> lower;              // (capacity, n_groups) bounds from before
    Buffer<std::int32_t> n_in_reach;  // groups
    Buffer<std::int32_t> waiting;     // (n_panels, capacity): rows to search a panel for
    std::vector<std::int32_t> n_waiting;
    std::vector<std::int32_t> to_screen;  // rows
    std::vector<std::uint64_t> in_reach;  // (capacity) groups, of rows to screen

    std::int64_t n_changed = 0, n_kept_by_gap = 0;
    double distances = 0;  // of n_measured rows to their centers
    std::int64_t n_measured = 0;
};

template <class T>
PanelEStep<T>::PanelEStep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters,
                          int n_thread, int bound_bytes)
    : EStep<T>(n_thread, kLeastRows),
      lanes_(lanes),
      kernels_(row_kernels<T>(lanes).tiles),
      x_(x),
      n_clusters_(n_clusters),
      // Gaps between centers would cost as much as the search where rows are few.
      bound_bytes_(x.n_rows < 4 * n_clusters ? 0 : bound_bytes),
      all_(n_clusters, x.n_columns, kernels_.sweep_centers) {
    batches_.reserve(n_thread_);
    for (int t = 0; t < n_thread_; ++t) batches_.emplace_back(x.n_columns, kernels_.sweep_rows, t);
    margins_ = make_margins<T>(x.n_columns);
    const ScreenKernels<T>& screens = row_kernels<T>(lanes).screen;
    if (screens.search != nullptr && bound_bytes > 0 && n_clusters >= kScreenedCenters &&
        x.n_rows >= kScreenedRows && x.n_columns <= kMostScreenColumns) {
        screen_ =
            std::make_unique<IntegerCenters<T>>(row_kernels<T>(lanes), n_clusters, x.n_columns);
        for (Batch& batch : batches_) {
            batch.screen = std::make_unique<ScreenBlock<T>>(screens, x.n_columns, kMaxGroups);
            batch.unsettled = Buffer<T>(kernels_.sweep_rows * x.n_columns);
        }
    }
}

template <class T>
PanelEStep<T>::~PanelEStep() = default;

template <class T>
std::int64_t PanelEStep<T>::assign(const T* centers, const T* offset, std::int32_t* labels,
                                   RowSums<T>* sums) {
    if (x_.n_rows == 0) return 0;
    const FloatEnvironment environment;
    const auto begun = std::chrono::steady_clock::now();
    offset_ = offset;
    labels_ = labels;
    sums_ = sums;
    const bool near = prefers_near(centers, labels);
    if (bound_bytes_ >= kLeastBoundBytes) {
        last_centers_.assign(centers, centers + n_clusters_ * x_.n_columns);
    }
    if (near) {
        prepare_near();
        if (bounded_) {
            add_moves();
        } else {
            start_bounds(centers, offset);
        }
    }
    (near ? *near_ : all_).pack(kernels_, {centers, n_clusters_, x_.n_columns}, offset, n_thread_);
    if (screen_ != nullptr) {
        if (near) {
            screen_->pack(*near_, centers, group_of_panel_.data(), n_groups_, n_thread_);
        } else {
            screen_->pack(all_, centers, nullptr, screen_->plain_groups(), n_thread_);
        }
    }
    if (near) {
        measure_radii();
        if (with_gaps_ || !bounded_) measure_gaps(centers, offset);
    }
    this->for_searches(x_.n_rows, x_.n_rows, [&](int thread, std::int64_t begin, std::int64_t end) {
        if (near) {
            search_near(batches_[thread], begin, end);
        } else if (screen_ != nullptr) {
            screen_all(batches_[thread], begin, end);
        } else {
            search_all(batches_[thread], begin, end);
        }
    });
    std::int64_t n_changed = 0, n_kept_by_gap = 0;
    double distances = 0, measured = 0;
    for (Batch& batch : batches_) {
        n_changed += batch.n_changed;
        n_kept_by_gap += batch.n_kept_by_gap;
        distances += batch.distances;
        measured += static_cast<double>(batch.n_measured);
        batch.n_changed = batch.n_kept_by_gap = batch.n_in_vain = 0;
        batch.n_measured = 0;
        batch.distances = 0;
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
    if (near) {
        lost_seconds_ = bounded_ ? std::max(0.0, lost_seconds_ + seconds - exhaustive_seconds_) : 0;
        const bool paid = lost_seconds_ < kMostLost * exhaustive_seconds_;
        if (!paid) failed_move_ = mean_move_;
        if (bounded_) {
            with_gaps_ = 20 * n_kept_by_gap > x_.n_rows;
        }
        bounded_ = paid;
        ++stamp_;
    } else {
        mean_distance_ = distances / std::max(measured, 1.0);
        exhaustive_seconds_ = std::min(exhaustive_seconds_, seconds);
    }
    return n_changed;
}

// Measures how far the centers moved, and whether to begin at the rows' old centers. Where that did
// not pay, it is tried again when the moves have halved.
template <class T>
bool PanelEStep<T>::prefers_near(const T* centers, const std::int32_t* labels) {
    if (bound_bytes_ < kLeastBoundBytes || last_centers_.empty() || labels[0] < 0) return false;
    const std::int64_t d = x_.n_columns;
    moves_.resize(n_clusters_);
    for_row_blocks(n_clusters_, 1, useful_threads(n_clusters_, 16, n_thread_),
                   [&](int, std::int64_t begin, std::int64_t end) {
                       for (std::int64_t c = begin; c < end; ++c) {
                           moves_[c] = upper_move(last_centers_.data() + c * d, centers + c * d, d,
                                                  margins_.scale);
                       }
                   });
    mean_move_ = 0;
    for (const double move : moves_)
        mean_move_ += move / static_cast<double>(n_clusters_) / margins_.scale;
    if (bounded_) return true;
    if (failed_move_ > 0) return mean_move_ < 0.5 * failed_move_;
    const double work = static_cast<double>(n_clusters_) * static_cast<double>(d);
    return mean_move_ < kSlowMove * std::min(1.0, work / kMuchWork) * mean_distance_;
}

// Memory for bounds, as much of it as the caller allows: the finer the groups the better.
template <class T>
void PanelEStep<T>::prepare_near() {
    if (near_ != nullptr) return;
    while (width_ + 1 < kPanelWidths &&
           n_clusters_ > kernels_.lanes[width_] * (width_ == 0 ? 20 : 40)) {
        ++width_;
    }
    near_ = std::make_unique<PackedCenters<T>>(n_clusters_, x_.n_columns, kernels_.lanes[width_]);
    const std::int64_t n_panels = near_->n_panels;
    // An upper bound of 4 bytes, stamp and base.
    const int affordable = std::min(bound_bytes_ - 6, kMaxGroups);
    n_groups_ = static_cast<int>(std::min<std::int64_t>(n_panels, affordable));
    format_.n_bytes = RecordFormat::kHeader + n_groups_;
    format_.n_groups = count_blocks(n_groups_, kGroupLanes) * kGroupLanes;
    upper_ = Buffer<float>(x_.n_rows);
    records_ = Buffer<std::uint8_t>(x_.n_rows * format_.n_bytes + n_thread_ * kGroupLanes);
    centers_.resize(n_clusters_);
    norm_.resize(n_clusters_);
    group_norm_.resize(format_.n_groups);
    group_radius_.resize(format_.n_groups);
    group_moves_.resize(kStamps * format_.n_groups);
    group_moved_before_.resize(kStamps * format_.n_groups);
    all_groups_ = ~std::uint64_t{0} >> (kMaxGroups - n_groups_);
    for (std::int32_t g = 0; g <= n_groups_; ++g) first_panel_.push_back(g * n_panels / n_groups_);
    for (std::int32_t g = 0; g < n_groups_; ++g) {
        group_of_panel_.insert(group_of_panel_.end(), first_panel_[g + 1] - first_panel_[g], g);
    }
    for (Batch& batch : batches_) batch.prepare_near(n_panels, near_->lanes, format_.n_groups);
}

template <class T>
void PanelEStep<T>::start_bounds(const T* centers, const T* offset) {
    T largest = 0;
    for (std::int64_t c = 0; c < n_clusters_; ++c) {
        for (std::int64_t j = 0; j < x_.n_columns; ++j) {
            largest = std::max(largest, std::fabs(centers[c * x_.n_columns + j] - offset[j]));
        }
    }
    choose_scale(margins_, largest, x_.n_columns);
    near_->put_neighbours_together({centers, n_clusters_, x_.n_columns});
    moved_.assign(n_clusters_, 0.0);
    group_moved_.assign(format_.n_groups, 0.0);
    std::fill(group_moved_before_.begin(), group_moved_before_.end(), 0.0);
    for (CenterBounds& center : centers_) center = {};
    stamp_ = 0;
}

// Adds the moves since the last call to those of centers and groups, and notes the sums as those
// of this call's stamp.
template <class T>
void PanelEStep<T>::add_moves() noexcept {
    const std::int64_t now = stamp_ % kStamps;
    std::vector<double> largest(format_.n_groups);
    for (std::int64_t slot = 0; slot < n_clusters_; ++slot) {
        const std::int32_t c = near_->indices[slot];
        double& of_group = largest[group_of_panel_[slot / near_->lanes]];
        of_group = std::max(of_group, moves_[c]);
        moved_[c] += moves_[c];
        centers_[c].moved = round_up(moved_[c]);
    }
    for (int g = 0; g < format_.n_groups; ++g) {
        group_moved_[g] += largest[g];
        group_moved_before_[now * format_.n_groups + g] = group_moved_[g];
    }
    const double stale = kStaleMove * mean_distance_ * margins_.scale;
    for (std::int64_t stamp = 0; stamp < kStamps; ++stamp) {
        double sum = 0;
        for (int g = 0; g < format_.n_groups; ++g) {
            const std::int64_t at = stamp * format_.n_groups + g;
            const double moves = group_moved_[g] - group_moved_before_[at];
            sum += moves;
            group_moves_[at] = round_up(moves) * kGuard;
        }
        // A stamp comes round again: rows that still carry it have to be renewed before.
        const bool last = stamp == (now + 1) % kStamps;
        stale_[stamp] = last || sum > stale * n_groups_;
        for (int g = 0; g < format_.n_groups; ++g) {
            float& moves = group_moves_[stamp * format_.n_groups + g];
            if (!(all_groups_ >> g & 1)) {
                moves = -kFar;
            } else if (last) {
                moves = kFar;
            }
        }
    }
}

// How far each center is from the offset.
template <class T>
void PanelEStep<T>::measure_radii() noexcept {
    std::fill(group_norm_.begin(), group_norm_.end(), T{0});
    for (std::int64_t slot = 0; slot < n_clusters_; ++slot) {
        const std::int32_t c = near_->indices[slot];
        const double norm = std::sqrt(near_->norms[slot]) * (1.0 + 0x1p-22);
        norm_[c] = static_cast<T>(norm);
        centers_[c].radius = round_up(norm * margins_.scale);
        centers_[c].half_gap = 0;
        T& largest = group_norm_[group_of_panel_[slot / near_->lanes]];
        largest = std::max(largest, norm_[c]);
    }
    for (int g = 0; g < format_.n_groups; ++g) {
        group_radius_[g] = round_up(static_cast<double>(group_norm_[g]) * margins_.scale);
    }
}

// How far each center is from the nearest center of each panel.
template <class T>
void PanelEStep<T>::measure_gaps(const T* centers, const T* offset) {
    const std::int64_t d = x_.n_columns, n_panels = near_->n_panels, lanes = near_->lanes;
    const std::int64_t step = std::min(batches_[0].capacity, lanes);
    const int n_thread = useful_threads(n_panels, 1, n_thread_);
    std::vector<double> gap_sums(n_clusters_);
    std::vector<std::vector<T>> lows_of(n_thread, std::vector<T>(step * n_panels));
    for_row_blocks(n_panels, 1, n_thread, [&](int thread, std::int64_t begin, std::int64_t end) {
        Batch& scratch = batches_[thread];
        std::vector<T>& lows = lows_of[thread];
        const std::int64_t last = std::min(end * lanes, n_clusters_);
        for (std::int64_t slot = begin * lanes; slot < last; slot += step) {
            const std::int64_t n = std::min(step, last - slot);
            for (std::int64_t i = 0; i < n; ++i) scratch.rows[i] = near_->indices[slot + i];
            kernels_.shift_rows(centers, scratch.rows.data(), n, d, offset, scratch.x.data(),
                                scratch.stride, scratch.squared.data());
            kernels_.panel_lows[width_](scratch.x.data(), scratch.stride, n, d,
                                        near_->panels.data(), near_->half_norms.data(), n_panels,
                                        slot, lows.data());
            for (std::int64_t i = 0; i < n; ++i) {
                const std::int32_t c = near_->indices[slot + i];
                float least = kFar;
                const T norm = std::sqrt(scratch.squared[i]);
                const float radius = centers_[c].radius;
                for (std::int64_t p = 0; p < n_panels; ++p) {
                    const std::int32_t g = group_of_panel_[p];
                    const float gap =
                        lower_distance(margins_, lows[i * n_panels + p], norm, group_norm_[g]);
                    if (gap < kFar) gap_sums[c] += gap;
                    least = std::min(least, half_gap(margins_, gap, radius, group_radius_[g]));
                }
                centers_[c].half_gap = least;
            }
        }
    });
    if (bounded_) return;
    // Codes reach up to the distance between typical centers; larger margins are cut off, safely.
    const auto middle = gap_sums.begin() + n_clusters_ / 2;
    std::nth_element(gap_sums.begin(), middle, gap_sums.end());
    const float typical =
        std::max(static_cast<float>(*middle / static_cast<double>(n_panels)), 1e-20f);
    std::int32_t bits;
    std::memcpy(&bits, &typical, sizeof bits);
    format_.bias = (bits >> RecordFormat::kShift) - RecordFormat::kMostCode;
    format_.base_unit =
        static_cast<float>(mean_distance_) * static_cast<float>(margins_.scale) / 100;
    if (!(format_.base_unit > 0)) format_.base_unit = typical / 100;
}

// A thread's tests read up to kGroupLanes bytes beyond its last record: not from the next thread's
// first.
template <class T>
std::int64_t PanelEStep<T>::record_at(const Batch& batch, std::int64_t row) const noexcept {
    return row * format_.n_bytes + batch.thread * kGroupLanes;
}

template <class T>
BoundsTest PanelEStep<T>::bounds_test(const Batch& batch) const noexcept {
    return {labels_,
            upper_.data(),
            records_.data() + record_at(batch, 0),
            format_,
            centers_.data(),
            group_moves_.data(),
            group_radius_.data(),
            margins_.score_slack,
            margins_.shift_slack,
            margins_.floor};
}

// Gives a row its label and moves it in the sums.
template <class T>
void PanelEStep<T>::relabel(Batch& batch, std::int64_t row, std::int32_t label) noexcept {
    const std::int32_t before = labels_[row];
    if (label == before) return;
    labels_[row] = label;
    ++batch.n_changed;
    if (sums_ != nullptr) sums_->move(batch.thread, row, before, label);
}

template <class T>
void PanelEStep<T>::search_all(Batch& batch, std::int64_t begin, std::int64_t end) noexcept {
    std::int32_t nearest[kMostSweepRows];
    T best[kMostSweepRows];
    for (std::int64_t row = begin; row < end; row += kernels_.sweep_rows) {
        const std::int64_t n = std::min<std::int64_t>(kernels_.sweep_rows, end - row);
        const std::int64_t n_ahead =
            std::min<std::int64_t>(kernels_.sweep_rows, x_.n_rows - row - n);
        sweep(batch, x_.data + row * x_.n_columns, n, n_ahead, nearest, best);
        if (bound_bytes_ >= kLeastBoundBytes && batch.n_measured < kMeasuredRows) {
            measure(batch, best, n);
        }
        for (std::int64_t i = 0; i < n; ++i) relabel(batch, row + i, nearest[i]);
    }
}

// Searches all centers for a block of n rows.
template <class T>
void PanelEStep<T>::sweep(Batch& batch, const T* rows, std::int64_t n, std::int64_t n_ahead,
                          std::int32_t* nearest, T* best) const noexcept {
    kernels_.sweep({rows, n, n_ahead, x_.n_columns, offset_, all_.panels.data(),
                    all_.half_norms.data(), all_.n_panels, batch.columns.data()},
                   nearest, best);
}

// Rows whose nearest center integers cannot tell are gathered for an exact search.
template <class T>
void PanelEStep<T>::screen_all(Batch& batch, std::int64_t begin, std::int64_t end) noexcept {
    const std::int64_t d = x_.n_columns, step = screen_->block_rows();
    const bool measures = bound_bytes_ >= kLeastBoundBytes;
    std::int64_t row = begin + (measures ? std::min(kMeasuredRows, end - begin) : 0);
    search_all(batch, begin, row);
    for (; row < end && screens(batch); row += step) {
        const std::int64_t n = std::min(step, end - row);
        const T* first = x_.data + row * d;
        for (std::int64_t i = 0; i < n; ++i) batch.screen->rows[i] = first + i * d;
        screen_->search(*batch.screen, n, offset_, false, first + n * d,
                        std::min(step, x_.n_rows - row - n) * d);
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int32_t slot = batch.screen->slot[i];
            batch.count_screened(slot >= 0);
            if (slot >= 0) {
                relabel(batch, row + i, slot);
                continue;
            }
            std::copy_n(first + i * d, d, batch.unsettled.data() + batch.n_unsettled * d);
            batch.unsettled_rows[batch.n_unsettled++] = row + i;
            if (batch.n_unsettled == kernels_.sweep_rows) search_unsettled(batch);
        }
    }
    search_unsettled(batch);
    search_all(batch, std::min(row, end), end);
}

template <class T>
void PanelEStep<T>::search_unsettled(Batch& batch) noexcept {
    if (batch.n_unsettled == 0) return;
    std::int32_t nearest[kMostSweepRows];
    T best[kMostSweepRows];
    sweep(batch, batch.unsettled.data(), batch.n_unsettled, 0, nearest, best);
    for (std::int64_t i = 0; i < batch.n_unsettled; ++i) {
        relabel(batch, batch.unsettled_rows[i], nearest[i]);
    }
    batch.n_unsettled = 0;
}

// Adds up the distances of rows that were swept.
template <class T>
void PanelEStep<T>::measure(Batch& batch, const T* best, std::int64_t n) noexcept {
    for (std::int64_t i = 0; i < n; ++i) {
        double squared = 2.0 * best[i];
        for (std::int64_t j = 0; j < x_.n_columns; ++j) {
            const double value = batch.columns[j * kernels_.sweep_rows + i];
            squared += value * value;
        }
        batch.distances += std::sqrt(std::max(squared, 0.0));
    }
    batch.n_measured += n;
}

// Collects the rows that may have another nearest center: all of them before there are bounds.
template <class T>
void PanelEStep<T>::search_near(Batch& batch, std::int64_t begin, std::int64_t end) noexcept {
    const BoundsTest test = bounds_test(batch);
    std::uint8_t may_move[kTestRows];
    batch.n_rows = 0;
    for (std::int64_t first = begin; first < end; first += kTestRows) {
        const std::int64_t n = std::min(kTestRows, end - first);
        if (batch.n_rows + n > batch.capacity) search_batch(batch);
        if (bounded_) batch.n_kept_by_gap += lanes_.test_bounds(test, first, n, may_move);
        for (std::int64_t row = first; row < first + n; ++row) {
            if (bounded_ && !may_move[row - first]) continue;
            const std::uint64_t groups = bounded_ ? groups_in_reach(batch, test, row) : all_groups_;
            if (groups == 0) continue;
            batch.rows[batch.n_rows] = row;
            batch.in_reach[batch.n_rows++] = groups;
        }
    }
    search_batch(batch);
}

// The groups that may hold a nearer center than the row's own, now that the distance to that is
// measured; what they were bounded by becomes that of the batch's next row.
template <class T>
std::uint64_t PanelEStep<T>::groups_in_reach(Batch& batch, const BoundsTest& test,
                                             std::int64_t row) noexcept {
    const std::int64_t d = x_.n_columns;
    const std::int32_t label = labels_[row];
    const double squared = row_kernels<T>(lanes_).squared_distance(
        x_.data + row * d, last_centers_.data() + label * d, d);
    const double n_roundings = 1.1 * static_cast<double>(d + 8);
    const double most = squared * (1.0 + n_roundings * std::numeric_limits<T>::epsilon()) +
                        n_roundings * std::numeric_limits<T>::denorm_min();
    const double distance = std::sqrt(most) * (1.0 + 0x1p-30) * margins_.scale;
    const float upper = round_up(distance);
    upper_[row] = round_up(distance - moved_[label]);
    if (upper * kGuard < centers_[label].half_gap) return 0;
    return lanes_.groups_in_reach(test, row, upper, centers_[label].radius,
                                  batch.lower.data() + batch.n_rows * format_.n_groups);
}

template <class T>
void PanelEStep<T>::search_batch(Batch& batch) noexcept {
    if (batch.n_rows == 0) return;
    kernels_.shift_rows(x_.data, batch.rows.data(), batch.n_rows, x_.n_columns, offset_,
                        batch.x.data(), batch.stride, batch.squared.data());
    search_panels(batch);
    for (std::int64_t i = 0; i < batch.n_rows; ++i) {
        const std::int32_t label = near_->indices[batch.slots[i]];
        keep_bounds(batch, i, label);
        relabel(batch, batch.rows[i], label);
    }
    batch.n_rows = 0;
}

// Rows with many groups in reach meet all centers as integers; the others, and what integers cannot
// settle, the panels in reach and that of their old center.
template <class T>
void PanelEStep<T>::search_panels(Batch& batch) noexcept {
    const std::int64_t n = batch.n_rows, n_panels = near_->n_panels;
    std::fill(batch.best.begin(), batch.best.begin() + n, std::numeric_limits<T>::infinity());
    std::fill(batch.best_panel.begin(), batch.best_panel.begin() + n, -1);
    std::fill(batch.group_low.begin(), batch.group_low.begin() + n * format_.n_groups,
              std::numeric_limits<T>::infinity());
    if (!bounded_) std::fill_n(batch.lower.begin(), n * format_.n_groups, kFar);
    const auto enlist = [&](std::int64_t i) {
        const std::int32_t own = near_->slots[labels_[batch.rows[i]]] / near_->lanes;
        const auto wait_for = [&](std::int64_t panel) {
            batch.waiting[panel * batch.capacity + batch.n_waiting[panel]++] =
                static_cast<std::int32_t>(i);
        };
        wait_for(own);
        for (std::uint64_t groups = batch.in_reach[i]; groups != 0; groups &= groups - 1) {
            const int g = __builtin_ctzll(groups);
            for (std::int64_t p = first_panel_[g]; p < first_panel_[g + 1]; ++p) {
                if (p != own) wait_for(p);
            }
        }
    };
    batch.to_screen.clear();
    const bool may_screen = screens(batch);
    for (std::int64_t i = 0; i < n; ++i) {
        batch.n_in_reach[i] = __builtin_popcountll(batch.in_reach[i]);
        if (may_screen && batch.n_in_reach[i] > kScreenedShare<T> * n_groups_) {
            batch.to_screen.push_back(static_cast<std::int32_t>(i));
        } else {
            enlist(i);
        }
    }
    screen_batch(batch);
    for (const std::int32_t i : batch.to_screen) enlist(i);
    const Search<T> search{
        batch.x.data(),           x_.n_columns,           batch.stride,
        near_->indices.data(),    batch.best.data(),      batch.best_panel.data(),
        batch.best_scores.data(), batch.group_low.data(), group_of_panel_.data(),
        format_.n_groups};
    for (std::int64_t p = 0; p < n_panels; ++p) {
        if (batch.n_waiting[p] == 0) continue;
        kernels_.search[width_](search, static_cast<std::int32_t>(p),
                                near_->panels.data() + p * near_->lanes * x_.n_columns,
                                near_->half_norms.data() + p * near_->lanes,
                                batch.waiting.data() + p * batch.capacity, batch.n_waiting[p]);
        batch.n_waiting[p] = 0;
    }
    kernels_.settle[width_](search, n, batch.slots.data(), batch.second.data());
}

template <class T>
bool PanelEStep<T>::screens(const Batch& batch) const noexcept {
    return screen_ != nullptr && batch.n_in_vain < kScreenedInVain;
}

// Settles what it can of batch.to_screen, and leaves the others there.
template <class T>
void PanelEStep<T>::screen_batch(Batch& batch) noexcept {
    std::size_t n_left = 0;
    const auto n_rows = batch.to_screen.size();
    for (std::size_t begin = 0; begin < n_rows;) {
        const auto n = std::min<std::size_t>(screen_->block_rows(), n_rows - begin);
        for (std::size_t r = 0; r < n; ++r) {
            batch.screen->rows[r] = x_.data + batch.rows[batch.to_screen[begin + r]] * x_.n_columns;
        }
        screen_->search(*batch.screen, static_cast<std::int64_t>(n), offset_, true, nullptr, 0);
        for (std::size_t r = 0; r < n; ++r) {
            const std::int32_t i = batch.to_screen[begin + r];
            const bool settled = keep_screened(batch, static_cast<std::int64_t>(r), i);
            batch.count_screened(settled);
            if (!settled) batch.to_screen[n_left++] = i;
        }
        begin += n;
    }
    batch.to_screen.resize(n_left);
}

// What a screen found out about row i of a batch, as if all panels had been searched for it.
template <class T>
bool PanelEStep<T>::keep_screened(Batch& batch, std::int64_t block_row, std::int64_t i) noexcept {
    const ScreenBlock<T>& block = *batch.screen;
    const std::int32_t slot = block.slot[block_row];
    if (slot < 0) return false;
    batch.n_in_reach[i] = n_groups_;
    std::fill_n(batch.lower.data() + i * format_.n_groups, format_.n_groups, kFar);
    T* low = batch.group_low.data() + i * format_.n_groups;
    for (int g = 0; g < n_groups_; ++g) low[g] = block.least[g * screen_->block_rows() + block_row];
    batch.best[i] = block.most[block_row];
    batch.best_panel[i] = slot / near_->lanes;
    T* scores = batch.best_scores.data() + i * near_->lanes;
    std::fill_n(scores, near_->lanes, std::numeric_limits<T>::infinity());
    scores[slot % near_->lanes] = batch.best[i];
    return true;
}

template <class T>
void PanelEStep<T>::keep_bounds(Batch& batch, std::int64_t i, std::int32_t label) noexcept {
    const std::int64_t row = batch.rows[i];
    const float upper = upper_distance(margins_, batch.best[i], batch.squared[i], norm_[label]);
    upper_[row] = round_up(static_cast<double>(upper) - moved_[label]);
    T* low = batch.group_low.data() + i * format_.n_groups;
    T& own = low[group_of_panel_[batch.best_panel[i]]];
    own = std::min(own, batch.second[i]);
    std::uint8_t* record = records_.data() + record_at(batch, row);
    const bool stays = bounded_ && !stale_[record[0]] && 2 * batch.n_in_reach[i] < n_groups_;
    row_kernels<T>(lanes_).write_record(
        margins_,
        {low, group_norm_.data(), batch.lower.data() + i * format_.n_groups, batch.squared[i],
         upper, stays ? group_moves_.data() + record[0] * format_.n_groups : nullptr,
         static_cast<std::uint8_t>(stamp_ % kStamps)},
        format_, record);
}

template class PanelEStep<float>;
template class PanelEStep<double>;

}  // namespace harpy::kmeans
