#include "estep/panel_bounds.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

// A record keeps its stamp until its groups have moved by this share of a typical row's distance.
constexpr double kStaleMove = 0.05;

}  // namespace

template <class T>
PanelBounds<T>::PanelBounds(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters,
                            int n_thread)
    : lanes_(lanes),
      kernels_(row_kernels<T>(lanes).tiles),
      x_(x),
      n_clusters_(n_clusters),
      n_thread_(n_thread),
      margins_(make_margins<T>(x.n_columns)) {}

// Memory for bounds, as much of it as the caller allows: the finer the groups the better.
template <class T>
void PanelBounds<T>::prepare(int bound_bytes, std::vector<PanelBatch<T>>& batches) {
    if (packed_ != nullptr) return;
    while (width_ + 1 < kPanelWidths &&
           n_clusters_ > kernels_.lanes[width_] * (width_ == 0 ? 20 : 40)) {
        ++width_;
    }
    packed_ = std::make_unique<PackedCenters<T>>(n_clusters_, x_.n_columns, kernels_.lanes[width_]);
    const std::int64_t n_panels = packed_->n_panels;
    // An upper bound of 4 bytes, stamp and base.
    const int affordable = std::min(bound_bytes - 6, kMaxGroups);
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
    for (PanelBatch<T>& batch : batches) {
        batch.prepare_near(n_panels, packed_->lanes, format_.n_groups);
    }
}

template <class T>
double PanelBounds<T>::measure_moves(const T* centers) {
    const std::int64_t d = x_.n_columns;
    moves_.resize(n_clusters_);
    for_row_blocks(n_clusters_, 1, useful_threads(n_clusters_, 16, n_thread_),
                   [&](int, std::int64_t begin, std::int64_t end) {
                       for (std::int64_t c = begin; c < end; ++c) {
                           moves_[c] = upper_move(last_centers_.data() + c * d, centers + c * d, d,
                                                  margins_.scale);
                       }
                   });
    double mean = 0;
    for (const double move : moves_) {
        mean += move / static_cast<double>(n_clusters_) / margins_.scale;
    }
    return mean;
}

template <class T>
void PanelBounds<T>::remember(const T* centers) {
    last_centers_.assign(centers, centers + n_clusters_ * x_.n_columns);
}

template <class T>
void PanelBounds<T>::start(const T* offset) {
    const T* centers = last_centers_.data();
    T largest = 0;
    for (std::int64_t c = 0; c < n_clusters_; ++c) {
        for (std::int64_t j = 0; j < x_.n_columns; ++j) {
            largest = std::max(largest, std::fabs(centers[c * x_.n_columns + j] - offset[j]));
        }
    }
    choose_scale(margins_, largest, x_.n_columns);
    packed_->put_neighbours_together({centers, n_clusters_, x_.n_columns});
    moved_.assign(n_clusters_, 0.0);
    group_moved_.assign(format_.n_groups, 0.0);
    std::fill(group_moved_before_.begin(), group_moved_before_.end(), 0.0);
    for (CenterBounds& center : centers_) center = {};
    stamp_ = 0;
}

// Adds the moves since the last call to those of centers and groups, and notes the sums as those
// of this call's stamp.
template <class T>
void PanelBounds<T>::add_moves(double mean_distance) noexcept {
    const std::int64_t now = stamp_ % kStamps;
    std::vector<double> largest(format_.n_groups);
    for (std::int64_t slot = 0; slot < n_clusters_; ++slot) {
        const std::int32_t c = packed_->indices[slot];
        double& of_group = largest[group_of_panel_[slot / packed_->lanes]];
        of_group = std::max(of_group, moves_[c]);
        moved_[c] += moves_[c];
        centers_[c].moved = round_up(moved_[c]);
    }
    for (int g = 0; g < format_.n_groups; ++g) {
        group_moved_[g] += largest[g];
        group_moved_before_[now * format_.n_groups + g] = group_moved_[g];
    }
    const double stale = kStaleMove * mean_distance * margins_.scale;
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

template <class T>
void PanelBounds<T>::pack(const T* offset) {
    packed_->pack(kernels_, {last_centers_.data(), n_clusters_, x_.n_columns}, offset, n_thread_);
    std::fill(group_norm_.begin(), group_norm_.end(), T{0});
    for (std::int64_t slot = 0; slot < n_clusters_; ++slot) {
        const std::int32_t c = packed_->indices[slot];
        const double norm = std::sqrt(packed_->norms[slot]) * (1.0 + 0x1p-22);
        norm_[c] = static_cast<T>(norm);
        centers_[c].radius = round_up(norm * margins_.scale);
        centers_[c].half_gap = 0;
        T& largest = group_norm_[group_of_panel_[slot / packed_->lanes]];
        largest = std::max(largest, norm_[c]);
    }
    for (int g = 0; g < format_.n_groups; ++g) {
        group_radius_[g] = round_up(static_cast<double>(group_norm_[g]) * margins_.scale);
    }
}

// How far each center is from the nearest center of each panel.
template <class T>
void PanelBounds<T>::measure_gaps(const T* offset, bool first, double mean_distance,
                                  std::vector<PanelBatch<T>>& batches) {
    const T* centers = last_centers_.data();
    const std::int64_t d = x_.n_columns, n_panels = packed_->n_panels, lanes = packed_->lanes;
    const std::int64_t step = std::min(batches[0].capacity, lanes);
    const int n_thread = useful_threads(n_panels, 1, n_thread_);
    std::vector<double> gap_sums(n_clusters_);
    std::vector<std::vector<T>> lows_of(n_thread, std::vector<T>(step * n_panels));
    for_row_blocks(n_panels, 1, n_thread, [&](int thread, std::int64_t begin, std::int64_t end) {
        PanelBatch<T>& scratch = batches[thread];
        std::vector<T>& lows = lows_of[thread];
        const std::int64_t last = std::min(end * lanes, n_clusters_);
        for (std::int64_t slot = begin * lanes; slot < last; slot += step) {
            const std::int64_t n = std::min(step, last - slot);
            for (std::int64_t i = 0; i < n; ++i) scratch.rows[i] = packed_->indices[slot + i];
            kernels_.shift_rows(centers, scratch.rows.data(), n, d, offset, scratch.x.data(),
                                scratch.stride, scratch.squared.data());
            kernels_.panel_lows[width_](scratch.x.data(), scratch.stride, n, d,
                                        packed_->panels.data(), packed_->half_norms.data(),
                                        n_panels, slot, lows.data());
            for (std::int64_t i = 0; i < n; ++i) {
                const std::int32_t c = packed_->indices[slot + i];
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
    if (first) choose_codes(gap_sums, mean_distance);
}

template <class T>
void PanelBounds<T>::choose_codes(std::vector<double>& gap_sums, double mean_distance) {
    // Codes reach up to the distance between typical centers; larger margins are cut off, safely.
    const auto middle = gap_sums.begin() + n_clusters_ / 2;
    std::nth_element(gap_sums.begin(), middle, gap_sums.end());
    const float typical =
        std::max(static_cast<float>(*middle / static_cast<double>(packed_->n_panels)), 1e-20f);
    std::int32_t bits;
    std::memcpy(&bits, &typical, sizeof bits);
    format_.bias = (bits >> RecordFormat::kShift) - RecordFormat::kMaxCode;
    format_.base_unit =
        static_cast<float>(mean_distance) * static_cast<float>(margins_.scale) / 100;
    if (!(format_.base_unit > 0)) format_.base_unit = typical / 100;
}

// A thread's tests read up to kGroupLanes bytes beyond its last record: not from the next thread's
// first.
template <class T>
std::int64_t PanelBounds<T>::record_at(int thread, std::int64_t row) const noexcept {
    return row * format_.n_bytes + thread * kGroupLanes;
}

template <class T>
BoundsTest PanelBounds<T>::test(const std::int32_t* labels, int thread) const noexcept {
    return {labels,
            upper_.data(),
            records_.data() + record_at(thread, 0),
            format_,
            centers_.data(),
            group_moves_.data(),
            group_radius_.data(),
            margins_.score_slack,
            margins_.shift_slack,
            margins_.floor};
}

template <class T>
std::uint64_t PanelBounds<T>::groups_in_reach(PanelBatch<T>& batch, const BoundsTest& test,
                                              std::int64_t row) noexcept {
    const std::int64_t d = x_.n_columns;
    const std::int32_t label = test.labels[row];
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
void PanelBounds<T>::keep(const PanelBatch<T>& batch, std::int64_t i, std::int32_t label,
                          bool first) noexcept {
    const std::int64_t row = batch.rows[i];
    const float upper = upper_distance(margins_, batch.best[i], batch.squared[i], norm_[label]);
    upper_[row] = round_up(static_cast<double>(upper) - moved_[label]);
    const T* low = batch.group_low.data() + i * format_.n_groups;
    std::uint8_t* record = records_.data() + record_at(batch.thread, row);
    const bool stays = !first && !stale_[record[0]] && 2 * batch.n_in_reach[i] < n_groups_;
    row_kernels<T>(lanes_).write_record(
        margins_,
        {low, group_norm_.data(), batch.lower.data() + i * format_.n_groups, batch.squared[i],
         upper, stays ? group_moves_.data() + record[0] * format_.n_groups : nullptr,
         static_cast<std::uint8_t>(stamp_ % kStamps)},
        format_, record);
}

template class PanelBounds<float>;
template class PanelBounds<double>;

}  // namespace harpy::kmeans
