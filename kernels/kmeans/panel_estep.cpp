#include "panel_estep.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "parallel.h"

namespace harpy::kmeans {

namespace {

// Rows less the offset that a thread works on at a time should stay in its second-level cache.
constexpr std::int64_t kBatchBytes = 512 << 10;
constexpr std::int64_t kMaxBatchRows = 512, kMinBatchRows = 64;
// Rows whose bounds are tested at a time.
constexpr std::int64_t kTestRows = 64;
static_assert(kTestRows % kBoundRows == 0 && kTestRows <= kMinBatchRows);
static_assert(kBlockRows % kBoundRows == 0, "no two threads share a tile of bounds");
// A row's groups in reach are the bits of one word.
constexpr std::int64_t kMaxGroups = 64;
// Room for the half gap of every center to every panel: 16 MB.
constexpr std::int64_t kMaxNearPanels = std::int64_t{1} << 21;
constexpr float kFar = 1e30f;
// Estimated cycles, to weigh a search near the old centers against an exhaustive one.
constexpr double kTestCycles = 12, kNearRowCycles = 150, kPanelCycles = 8;

float round_up(double value) noexcept {
    return static_cast<float>(value + std::fabs(value) * 0x1p-22);
}
float round_down(double value) noexcept {
    return static_cast<float>(value - std::fabs(value) * 0x1p-22);
}

template <class T>
std::int64_t batch_rows(std::int64_t d) noexcept {
    const std::int64_t rows = kBatchBytes / static_cast<std::int64_t>(sizeof(T)) / d;
    return std::clamp(rows / 16 * 16, kMinBatchRows, kMaxBatchRows);
}

}  // namespace

template <class T>
struct PanelEStep<T>::Batch {
    Batch(std::int64_t d, const PackedCenters<T>& packed, int n_groups, int thread)
        : thread(thread),
          capacity(batch_rows<T>(d)),
          rows(capacity),
          x(capacity * d),
          squared(capacity),
          best(capacity),
          second(capacity),
          best_scores(capacity * packed.lanes),
          group_low(capacity * n_groups),
          best_panel(capacity),
          slots(capacity),
          far(capacity),
          in_reach(capacity),
          waiting(n_groups > 0 ? packed.n_panels * capacity : 0),
          n_waiting(packed.n_panels) {}

    int thread;
    std::int64_t capacity, n_rows = 0;
    Buffer<std::int64_t> rows;
    Buffer<T> x, squared, best, second, best_scores, group_low;
    Buffer<std::int32_t> best_panel, slots;
    Buffer<float> far;               // no center of a panel left out for its gap is nearer
    Buffer<std::uint64_t> in_reach;  // bit g: group g was searched, but for such panels
    Buffer<std::int32_t> waiting;    // (n_panels, capacity): rows to search a panel for
    std::vector<std::int32_t> n_waiting;
    std::int64_t n_changed = 0, n_searched = 0, n_scored = 0;
};

template <class T>
PanelEStep<T>::PanelEStep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters,
                          int n_thread, int bound_bytes)
    : EStep<T>(n_thread),
      lanes_(lanes),
      kernels_(row_kernels<T>(lanes).tiles),
      x_(x),
      n_clusters_(n_clusters),
      packed_(kernels_, n_clusters, x.n_columns, choose_width(kernels_, n_clusters)) {
    const int affordable = (bound_bytes - 4) / 2;  // an upper bound of 4 bytes, 2 for each group
    n_groups_ = static_cast<int>(
        std::clamp<std::int64_t>(affordable, 0, std::min(packed_.n_panels, kMaxGroups)));
    // Gaps between the centers would cost as much as the search.
    if (x.n_rows < 4 * n_clusters) n_groups_ = 0;
    batches_.reserve(n_thread_);
    for (int t = 0; t < n_thread_; ++t) batches_.emplace_back(x.n_columns, packed_, n_groups_, t);
    const double unit = std::numeric_limits<T>::epsilon() / 2;
    const double d = static_cast<double>(x.n_columns);
    score_error_ = static_cast<T>(1.1 * unit * (d + 8));
    shift_error_ = static_cast<T>(2 * unit);
    underflow_ = static_cast<T>(8 * (d + 8)) * std::numeric_limits<T>::denorm_min();
    score_slack_ = round_up(1.1 * unit * (d + 3));
    shift_slack_ = round_up(16 * unit);
}

template <class T>
PanelEStep<T>::~PanelEStep() = default;

template <class T>
std::int64_t PanelEStep<T>::assign(const T* centers, const T* offset, std::int32_t* labels,
                                   std::vector<ExactSums::Part>* sums) {
    if (x_.n_rows == 0) return 0;
    const FloatEnvironment environment;
    offset_ = offset;
    labels_ = labels;
    sums_ = sums;
    const bool near = prefers_near(centers, labels);
    if (near && bounded_) add_moves();
    if (near && !bounded_) start_bounds(centers, offset);
    packed_.pack(kernels_, {centers, n_clusters_, x_.n_columns}, offset, n_thread_);
    if (near) measure_gaps(centers, offset);
    const std::int64_t share = count_blocks(count_blocks(x_.n_rows, kBlockRows), n_thread_);
    for_row_blocks(x_.n_rows, share * kBlockRows, n_thread_,
                   [&](int thread, std::int64_t begin, std::int64_t end) {
                       search_range(batches_[thread], begin, end, near);
                   });
    std::int64_t n_changed = 0;
    double searched = 0, scored = 0;
    for (Batch& batch : batches_) {
        n_changed += batch.n_changed;
        searched += static_cast<double>(batch.n_searched);
        scored += static_cast<double>(batch.n_scored);
        batch.n_changed = batch.n_searched = batch.n_scored = 0;
    }
    if (near) {
        const double rows = static_cast<double>(x_.n_rows);
        const double panel = 0.5 * (packed_.width + 1) * x_.n_columns + kPanelCycles;
        const double spent = rows * kTestCycles + searched * kNearRowCycles + scored * panel;
        const bool paid = !bounded_ || spent < rows * packed_.n_panels * panel;
        if (!paid) failed_move_ = mean_move_;
        bounded_ = paid;
    }
    if (n_groups_ > 0) previous_.assign(centers, centers + n_clusters_ * x_.n_columns);
    return n_changed;
}

// Measures how far the centers moved, and whether to begin at the rows' old centers. Where that did
// not pay, it is tried again when the moves have halved.
template <class T>
bool PanelEStep<T>::prefers_near(const T* centers, const std::int32_t* labels) {
    if (n_groups_ == 0 || previous_.empty() || labels[0] < 0) return false;
    const std::int64_t d = x_.n_columns;
    moves_.resize(n_clusters_);
    for_row_blocks(n_clusters_, 1, useful_threads(n_clusters_, 16, n_thread_),
                   [&](int, std::int64_t begin, std::int64_t end) {
                       for (std::int64_t c = begin; c < end; ++c) {
                           double squared = 0;
                           for (std::int64_t j = c * d; j < (c + 1) * d; ++j) {
                               const double move = static_cast<double>(centers[j]) -
                                                   static_cast<double>(previous_[j]);
                               squared += move * move;
                           }
                           moves_[c] = std::sqrt(squared) * (1.0 + 0x1p-30);
                       }
                   });
    mean_move_ = 0;
    for (const double move : moves_) mean_move_ += move / static_cast<double>(n_clusters_);
    return bounded_ || failed_move_ == 0 || mean_move_ < 0.5 * failed_move_;
}

template <class T>
void PanelEStep<T>::start_bounds(const T* centers, const T* offset) {
    if (upper_.size() == 0) {
        upper_ = Buffer<float>(x_.n_rows);
        lower_ =
            Buffer<std::uint16_t>(count_blocks(x_.n_rows, kBoundRows) * kBoundRows * n_groups_);
        for (auto* of_centers : {&moved_, &radius_, &half_gap_}) of_centers->resize(n_clusters_);
        for (auto* of_groups : {&group_moved_, &group_radius_}) of_groups->resize(n_groups_);
        norm_.resize(n_clusters_);
        group_norm_.resize(n_groups_);
        for (std::int64_t p = 0; p < packed_.n_panels; ++p) {
            group_of_panel_.push_back(static_cast<std::int32_t>(p * n_groups_ / packed_.n_panels));
        }
        if (n_clusters_ * packed_.n_panels <= kMaxNearPanels) {
            near_panels_.resize(n_clusters_ * packed_.n_panels);
        }
    }
    // A power of two that brings the norms of the centers to about 1.
    T largest = 0;
    for (std::int64_t c = 0; c < n_clusters_; ++c) {
        for (std::int64_t j = 0; j < x_.n_columns; ++j) {
            largest = std::max(largest, std::fabs(centers[c * x_.n_columns + j] - offset[j]));
        }
    }
    constexpr int kMost = std::numeric_limits<T>::max_exponent - 8;
    const int exponent = largest > 0 ? std::ilogb(largest) + std::ilogb(x_.n_columns) / 2 : 0;
    scale_ = std::ldexp(T{1}, std::clamp(-exponent, -kMost, kMost));
    floor_ = round_up(1e-30 + static_cast<double>(underflow_) * scale_ * scale_);
    packed_.put_neighbours_together({centers, n_clusters_, x_.n_columns});
    moved_sum_.assign(n_clusters_, 0.0);
    group_moved_sum_.assign(n_groups_, 0.0);
    std::fill(moved_.begin(), moved_.end(), 0.0f);
    std::fill(group_moved_.begin(), group_moved_.end(), 0.0f);
    quantum_ = 0;
}

template <class T>
void PanelEStep<T>::add_moves() noexcept {
    std::vector<double>& sums = group_moved_sum_;
    for (std::int64_t p = 0; p < packed_.n_panels; ++p) {
        const std::int32_t g = group_of_panel_[p];
        const bool first = p == 0 || group_of_panel_[p - 1] != g;
        if (first) moves_.push_back(0.0);  // largest move of group g, behind those of the centers
        for (std::int64_t slot = p * packed_.lanes;
             slot < std::min<std::int64_t>((p + 1) * packed_.lanes, n_clusters_); ++slot) {
            moves_.back() = std::max(moves_.back(), moves_[packed_.indices[slot]]);
        }
    }
    for (std::int64_t g = 0; g < n_groups_; ++g) {
        sums[g] += moves_[n_clusters_ + g] * scale_;
        group_moved_[g] = round_up(sums[g]);
    }
    for (std::int64_t c = 0; c < n_clusters_; ++c) {
        moved_sum_[c] += moves_[c] * scale_;
        moved_[c] = round_up(moved_sum_[c]);
    }
}

// How far each center is from the offset and from the nearest center of each panel.
template <class T>
void PanelEStep<T>::measure_gaps(const T* centers, const T* offset) {
    const std::int64_t d = x_.n_columns, n_panels = packed_.n_panels, lanes = packed_.lanes;
    std::fill(group_norm_.begin(), group_norm_.end(), T{0});
    for (std::int64_t slot = 0; slot < n_clusters_; ++slot) {
        const std::int32_t c = packed_.indices[slot];
        const double norm = std::sqrt(packed_.norms[slot]) * (1.0 + 0x1p-22);
        norm_[c] = static_cast<T>(norm);
        radius_[c] = round_up(norm * scale_);
        T& largest = group_norm_[group_of_panel_[slot / lanes]];
        largest = std::max(largest, norm_[c]);
    }
    for (std::int64_t g = 0; g < n_groups_; ++g) {
        group_radius_[g] = round_up(static_cast<double>(group_norm_[g]) * scale_);
    }
    std::vector<double> gap_sums(n_clusters_);
    for_row_blocks(
        n_panels, 1, useful_threads(n_panels, 1, n_thread_),
        [&](int thread, std::int64_t begin, std::int64_t end) {
            Batch& scratch = batches_[thread];
            const std::int64_t step = std::min(scratch.capacity, lanes);
            std::vector<T> lows(step * n_panels);
            std::vector<NearPanel> unsorted(n_panels);
            const std::int64_t last = std::min(end * lanes, n_clusters_);
            for (std::int64_t slot = begin * lanes; slot < last; slot += step) {
                const std::int64_t n = std::min(step, last - slot);
                for (std::int64_t i = 0; i < n; ++i) scratch.rows[i] = packed_.indices[slot + i];
                kernels_.shift_rows(centers, scratch.rows.data(), n, d, offset, scratch.x.data(),
                                    scratch.squared.data());
                kernels_.panel_lows[packed_.width](scratch.x.data(), n, d, packed_.panels.data(),
                                                   packed_.half_norms.data(), n_panels, slot,
                                                   lows.data());
                for (std::int64_t i = 0; i < n; ++i) {
                    const std::int32_t c = packed_.indices[slot + i];
                    float least = kFar;
                    for (std::int64_t p = 0; p < n_panels; ++p) {
                        const std::int32_t g = group_of_panel_[p];
                        const float gap = lower_distance(lows[i * n_panels + p], scratch.squared[i],
                                                         group_norm_[g]);
                        float half = kFar;
                        if (gap < kFar) {
                            gap_sums[c] += gap;
                            half = gap > 0 ? 0.5f * gap - 0.5f *
                                                              slack(0.5f * gap, radius_[c],
                                                                    group_radius_[g]) /
                                                              gap
                                           : 0.0f;
                            half = std::max(half * (2.0f - kGuard * kGuard) - floor_ / gap, 0.0f);
                        }
                        unsorted[p] = {half, static_cast<std::int32_t>(p)};
                        least = std::min(least, half);
                    }
                    half_gap_[c] = least;
                    if (near_panels_.empty()) continue;
                    std::sort(unsorted.begin(), unsorted.end(),
                              [](const NearPanel& a, const NearPanel& b) {
                                  return a.half_gap < b.half_gap;
                              });
                    std::copy(unsorted.begin(), unsorted.end(),
                              near_panels_.begin() + c * n_panels);
                }
            }
        });
    if (quantum_ == 0) {
        // Distances up to four times those of a typical center; larger ones are cut off, safely.
        const auto middle = gap_sums.begin() + n_clusters_ / 2;
        std::nth_element(gap_sums.begin(), middle, gap_sums.end());
        const double typical = *middle / static_cast<double>(n_panels);
        quantum_ = static_cast<float>(std::max(4.0 * typical, 1e-20) / 65536);
    }
}

template <class T>
void PanelEStep<T>::search_range(Batch& batch, std::int64_t begin, std::int64_t end,
                                 bool near) noexcept {
    const BoundsTest test{labels_,
                          upper_.data(),
                          lower_.data(),
                          n_groups_,
                          quantum_,
                          moved_.data(),
                          radius_.data(),
                          half_gap_.data(),
                          group_moved_.data(),
                          group_radius_.data(),
                          score_slack_,
                          shift_slack_,
                          floor_};
    std::uint8_t may_move[kTestRows];
    batch.n_rows = 0;
    for (std::int64_t row = begin; row < end; row += kTestRows) {
        const std::int64_t n = std::min(kTestRows, end - row);
        if (batch.n_rows + n > batch.capacity) finish(batch, near);
        if (near && bounded_) {
            lanes_.test_bounds(test, row, n, may_move);
            for (std::int64_t i = 0; i < n; ++i) {
                batch.rows[batch.n_rows] = row + i;
                batch.n_rows += may_move[i];
            }
        } else {
            for (std::int64_t i = 0; i < n; ++i) batch.rows[batch.n_rows++] = row + i;
        }
    }
    finish(batch, near);
}

// Searches the rows of a batch, writes their labels and moves them in the sums.
template <class T>
void PanelEStep<T>::finish(Batch& batch, bool near) noexcept {
    const std::int64_t d = x_.n_columns, n = batch.n_rows;
    if (n == 0) return;
    kernels_.shift_rows(x_.data, batch.rows.data(), n, d, offset_, batch.x.data(),
                        near ? batch.squared.data() : nullptr);
    std::fill(batch.best.begin(), batch.best.begin() + n, std::numeric_limits<T>::infinity());
    std::fill(batch.best_panel.begin(), batch.best_panel.begin() + n, -1);
    if (near) {
        search_near(batch);
    } else {
        search_all(batch);
    }
    batch.n_searched += n;
    for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t row = batch.rows[i];
        const std::int32_t before = labels_[row], label = packed_.indices[batch.slots[i]];
        if (near) keep_bounds(batch, i, before, label);
        if (label == before) continue;
        labels_[row] = label;
        ++batch.n_changed;
        if (sums_ == nullptr) continue;
        ExactSums::Part& part = (*sums_)[batch.thread];
        if (before < 0) {
            part.add(kernels_, x_.data + row * d, label);
        } else {
            part.move(kernels_, x_.data + row * d, before, label);
        }
    }
    batch.n_rows = 0;
}

template <class T>
void PanelEStep<T>::search_all(Batch& batch) noexcept {
    const Search<T> search{batch.x.data(),
                           x_.n_columns,
                           packed_.indices.data(),
                           batch.best.data(),
                           batch.best_panel.data(),
                           batch.best_scores.data(),
                           nullptr,
                           nullptr,
                           0};
    for (std::int64_t p = 0; p < packed_.n_panels; ++p) {
        kernels_.search[packed_.width](search, static_cast<std::int32_t>(p),
                                       packed_.panels.data() + p * packed_.lanes * x_.n_columns,
                                       packed_.half_norms.data() + p * packed_.lanes, nullptr,
                                       batch.n_rows);
    }
    kernels_.settle[packed_.width](search, batch.n_rows, batch.slots.data(), nullptr);
    batch.n_scored += batch.n_rows * packed_.n_panels;
}

// First the panels of the rows' old centers; then, for each row, those that may hold a nearer one.
template <class T>
void PanelEStep<T>::search_near(Batch& batch) noexcept {
    const std::int64_t n = batch.n_rows, n_panels = packed_.n_panels;
    std::fill(batch.group_low.begin(), batch.group_low.begin() + n * n_groups_,
              std::numeric_limits<T>::infinity());
    const Search<T> search{batch.x.data(),
                           x_.n_columns,
                           packed_.indices.data(),
                           batch.best.data(),
                           batch.best_panel.data(),
                           batch.best_scores.data(),
                           batch.group_low.data(),
                           group_of_panel_.data(),
                           n_groups_};
    const auto enlist = [&](std::int64_t panel, std::int64_t i) {
        batch.waiting[panel * batch.capacity + batch.n_waiting[panel]++] =
            static_cast<std::int32_t>(i);
    };
    const auto search_waiting = [&] {
        for (std::int64_t p = 0; p < n_panels; ++p) {
            if (batch.n_waiting[p] == 0) continue;
            kernels_.search[packed_.width](search, static_cast<std::int32_t>(p),
                                           packed_.panels.data() + p * packed_.lanes * x_.n_columns,
                                           packed_.half_norms.data() + p * packed_.lanes,
                                           batch.waiting.data() + p * batch.capacity,
                                           batch.n_waiting[p]);
            batch.n_scored += batch.n_waiting[p];
            batch.n_waiting[p] = 0;
        }
    };
    for (std::int64_t i = 0; i < n; ++i) {
        enlist(packed_.slots[labels_[batch.rows[i]]] / packed_.lanes, i);
    }
    search_waiting();
    if (n_panels > 1) {
        kernels_.settle[packed_.width](search, n, batch.slots.data(), nullptr);
    }
    for (std::int64_t i = 0; i < n; ++i) {
        batch.far[i] = kFar;
        batch.in_reach[i] = ~std::uint64_t{0};
        if (n_panels == 1) continue;
        const std::int32_t own = batch.best_panel[i];
        const std::int32_t c = packed_.indices[batch.slots[i]];
        const float upper = upper_distance(batch.best[i], batch.squared[i], norm_[c]);
        if (bounded_) batch.in_reach[i] = groups_in_reach(batch.rows[i], upper, radius_[c]);
        if (near_panels_.empty()) {
            for (std::int64_t p = 0; p < n_panels; ++p) {
                if (p != own && batch.in_reach[i] >> group_of_panel_[p] & 1) enlist(p, i);
            }
            continue;
        }
        const NearPanel* panels = near_panels_.data() + c * n_panels;
        for (std::int64_t q = 0; q < n_panels; ++q) {
            if (upper * kGuard < panels[q].half_gap) {
                batch.far[i] = 2.0f * panels[q].half_gap - upper;
                break;
            }
            const std::int32_t p = panels[q].panel;
            if (p != own && batch.in_reach[i] >> group_of_panel_[p] & 1) enlist(p, i);
        }
    }
    search_waiting();
    kernels_.settle[packed_.width](search, n, batch.slots.data(), batch.second.data());
}

template <class T>
void PanelEStep<T>::keep_bounds(Batch& batch, std::int64_t i, std::int32_t before,
                                std::int32_t label) noexcept {
    const std::int64_t row = batch.rows[i];
    const T squared = batch.squared[i];
    const float upper = upper_distance(batch.best[i], squared, norm_[label]);
    upper_[row] = round_up(static_cast<double>(upper) - moved_sum_[label]);
    T* low = batch.group_low.data() + i * n_groups_;
    T& own = low[group_of_panel_[batch.best_panel[i]]];
    own = std::min(own, batch.second[i]);
    const std::int32_t left = group_of_panel_[packed_.slots[before] / packed_.lanes];
    std::uint16_t* codes = lower(row);
    for (int g = 0; g < n_groups_; ++g) {
        const bool searched = batch.in_reach[i] >> g & 1;
        // A group that was not searched keeps its bound, which did not count the old center.
        if (!searched && (g != left || before == label)) continue;
        const float distance = lower_distance(low[g], squared, group_norm_[g]);
        const std::uint16_t code = lower_code(std::min(distance, batch.far[i]), g);
        codes[g * kBoundRows] = searched ? code : std::min(codes[g * kBoundRows], code);
    }
}

// Distances of the unrounded row and center, from a score of the rounded ones.
template <class T>
float PanelEStep<T>::upper_distance(T score, T squared, T norm) const noexcept {
    const T reach = std::sqrt(squared) + norm;
    const T most = 2 * score + squared + score_error_ * reach * reach + underflow_;
    return static_cast<float>((std::sqrt(std::max(most, T{0})) + shift_error_ * reach) * scale_) *
           kGuard;
}

template <class T>
float PanelEStep<T>::lower_distance(T score, T squared, T norm) const noexcept {
    const T reach = std::sqrt(squared) + norm;
    const T least = 2 * score + squared - score_error_ * reach * reach - underflow_;
    if (!(least > 0)) return 0.0f;
    const T distance = (std::sqrt(least) - shift_error_ * reach) * scale_;
    return std::clamp(static_cast<float>(distance) * (2.0f - kGuard), 0.0f, kFar);
}

// How much the squared distance of another center must exceed that of a row's own so that its
// score, as computed, is certainly higher.
template <class T>
float PanelEStep<T>::slack(float upper, float radius, float other_radius) const noexcept {
    const float reach = upper + radius, radii = radius + other_radius;
    return score_slack_ * radii * (radii + 2.0f * reach) + shift_slack_ * reach * (reach + radii);
}

template <class T>
std::uint64_t PanelEStep<T>::groups_in_reach(std::int64_t row, float upper,
                                             float radius) const noexcept {
    const std::uint16_t* codes = lower(row);
    std::uint64_t groups = 0;
    for (int g = 0; g < n_groups_; ++g) {
        const float low = static_cast<float>(codes[g * kBoundRows]) * quantum_ - group_moved_[g];
        const float least =
            (upper * upper + slack(upper, radius, group_radius_[g])) * kGuard + floor_;
        groups |= std::uint64_t{!(low > 0.0f && low * low > least)} << g;
    }
    return groups;
}

template <class T>
std::uint16_t PanelEStep<T>::lower_code(float distance, std::int64_t group) const noexcept {
    // One quantum less covers the float32 roundings of reading it back.
    const float code = (distance + group_moved_[group] * (2.0f - kGuard)) / quantum_ - 2.0f;
    return static_cast<std::uint16_t>(std::clamp(code, 0.0f, 65535.0f));
}

template <class T>
std::uint16_t* PanelEStep<T>::lower(std::int64_t row) noexcept {
    return lower_.data() + row / kBoundRows * kBoundRows * n_groups_ + row % kBoundRows;
}
template <class T>
const std::uint16_t* PanelEStep<T>::lower(std::int64_t row) const noexcept {
    return const_cast<PanelEStep*>(this)->lower(row);
}

template class PanelEStep<float>;
template class PanelEStep<double>;

}  // namespace harpy::kmeans
