#include "estep/few_estep.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

// Rows whose bounds are tested at a time.
constexpr std::int64_t kTestRows = 64;
static_assert(kTestRows % kFewRows == 0 && kTestRows <= kBlockRows);
// Bounds of so many groups of rows show how many rows are to be searched; where more than this
// share is, testing them all would cost more than it saves.
constexpr std::int64_t kSamples = 32;
constexpr double kMaxSearched = 0.7;
// What a search is handed: its rows, and those that are prefetched meanwhile.
constexpr int kHanded = kFewRowsAtOnce + kFewAhead;

}  // namespace

template <class T>
FewEStep<T>::FewEStep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters, int n_thread,
                      int bound_bytes)
    : EStep<T>(n_thread, kBlockRows),
      lanes_(lanes),
      kernels_(row_kernels<T>(lanes).tiles),
      x_(x),
      n_clusters_(n_clusters),
      size_(static_cast<int>((n_clusters - 1) / kFewStep)),
      centers_((size_ + 1) * kFewStep * x.n_columns),
      half_norms_((size_ + 1) * kFewStep),
      indices_(n_clusters),
      norms_(n_clusters),
      search_{centers_.data(),
              half_norms_.data(),
              bound_bytes >= kLeastBoundBytes,
              nullptr,
              x.n_columns,
              make_margins<T>(x.n_columns),
              0,
              moved_,
              others_moved_},
      moves_(n_clusters),
      moved_sum_(n_clusters),
      others_moved_sum_(n_clusters) {
    std::fill(centers_.begin(), centers_.end(), T{0});
    std::fill(half_norms_.begin(), half_norms_.end(), std::numeric_limits<T>::infinity());
    std::iota(indices_.begin(), indices_.end(), 0);
    if (search_.keeps_bounds) {
        const std::int64_t padded = count_blocks(x.n_rows, kFewRows) * kFewRows;
        upper_ = Buffer<float>(padded);
        lower_ = Buffer<float>(padded);
        previous_.resize(n_clusters * x.n_columns);
    }
}

template <class T>
std::int64_t FewEStep<T>::assign(const T* centers, const T* offset, std::int32_t* labels,
                                 RowSums<T>* sums) {
    if (x_.n_rows == 0) return 0;
    const FloatEnvironment environment;
    labels_ = labels;
    sums_ = sums;
    pack(centers, offset);
    if (bounded_) add_moves(centers);
    const bool tests = bounded_ && share_in_doubt() < kMaxSearched;
    if (!tests) start_bounds();
    if (ranges_ != nullptr) {
        assert(!search_.keeps_bounds);
        highest_ = Buffer<T>(n_thread_ * count_blocks(x_.n_columns, kFewRows) * kFewRows);
        std::fill(highest_.begin(), highest_.end(), T{0});
    }
    std::vector<std::int64_t> n_changed(n_thread_);
    for_row_blocks(
        x_.n_rows, x_.n_rows, n_thread_, [&](int thread, std::int64_t begin, std::int64_t end) {
            n_changed[thread] +=
                tests ? search_in_doubt(thread, begin, end) : search_all(thread, begin, end);
            if (ranges_ != nullptr) ranges_->look_at(thread, highest(thread));
        });
    bounded_ = search_.keeps_bounds;
    if (bounded_) std::copy(centers, centers + previous_.size(), previous_.begin());
    return std::accumulate(n_changed.begin(), n_changed.end(), std::int64_t{0});
}

// All bounds are about to be written anew.
template <class T>
void FewEStep<T>::start_bounds() noexcept {
    choose_scale(search_.margins, search_.norm, x_.n_columns);
    for (auto* sums : {&moved_sum_, &others_moved_sum_}) std::fill(sums->begin(), sums->end(), 0.0);
    for (auto* table : {moved_, others_moved_}) std::fill(table, table + kFewTable, 0.0f);
}

template <class T>
void FewEStep<T>::add_moves(const T* centers) noexcept {
    const std::int64_t d = x_.n_columns;
    for (std::int64_t c = 0; c < n_clusters_; ++c) {
        moves_[c] = upper_move(previous_.data() + c * d, centers + c * d, d, search_.margins.scale);
    }
    for (std::int64_t c = 0; c < n_clusters_; ++c) {
        double others = 0;
        for (std::int64_t other = 0; other < n_clusters_; ++other) {
            if (other != c) others = std::max(others, moves_[other]);
        }
        moved_sum_[c] += moves_[c];
        others_moved_sum_[c] += others;
        moved_[c] = round_up(moved_sum_[c]);
        others_moved_[c] = round_up(others_moved_sum_[c]);
    }
    measure_gaps(centers);
}

template <class T>
void FewEStep<T>::pack(const T* centers, const T* offset) noexcept {
    kernels_.pack_panel(centers, indices_.data(), static_cast<int>(n_clusters_),
                        (size_ + 1) * kFewStep, x_.n_columns, offset, centers_.data(),
                        half_norms_.data(), norms_.data());
    const double norm = std::sqrt(*std::max_element(norms_.begin(), norms_.end()));
    search_.offset = offset;
    search_.norm = static_cast<T>(norm * (1.0 + 0x1p-22));
}

// A center's own nearest center is itself; the lower bound on all others is its gap.
template <class T>
void FewEStep<T>::measure_gaps(const T* centers) noexcept {
    radius_ = round_up(static_cast<double>(search_.norm) * search_.margins.scale);
    FewSearch<T> search = search_;
    const float still[kFewTable] = {};
    search.moved = search.others_moved = still;
    const T* rows[kHanded];
    for (int i = 0; i < kHanded; ++i) {
        rows[i] = centers + std::min<std::int64_t>(i, n_clusters_ - 1) * x_.n_columns;
    }
    FewNearest nearest;
    const auto n_groups = static_cast<int>(count_blocks(n_clusters_, kFewRows));
    kernels_.search_few[size_](search, rows, n_groups, nullptr, nearest);
    for (std::int64_t c = 0; c < n_clusters_; ++c) {
        half_gap_[c] = half_gap(search.margins, nearest.lower[c], radius_, radius_);
    }
}

template <class T>
FewTest FewEStep<T>::test() const noexcept {
    const Margins<T>& margins = search_.margins;
    return {
        labels_, upper_.data(),       lower_.data(),       moved_,       others_moved_, half_gap_,
        radius_, margins.score_slack, margins.shift_slack, margins.floor};
}

template <class T>
double FewEStep<T>::share_in_doubt() const noexcept {
    const std::int64_t n_groups = x_.n_rows / kFewRows;
    const std::int64_t step = std::max<std::int64_t>(n_groups / kSamples, 1);
    std::uint8_t may_move[kFewRows];
    std::int64_t n_tested = 0, n_in_doubt = 0;
    for (std::int64_t group = 0; group < n_groups; group += step) {
        lanes_.test_few(test(), group * kFewRows, kFewRows, may_move);
        n_in_doubt += std::count(may_move, may_move + kFewRows, 1);
        n_tested += kFewRows;
    }
    return n_tested == 0 ? 1.0 : static_cast<double>(n_in_doubt) / static_cast<double>(n_tested);
}

template <class T>
std::int64_t FewEStep<T>::search_all(int thread, std::int64_t begin, std::int64_t end) noexcept {
    const std::int64_t d = x_.n_columns;
    std::int64_t n_changed = 0, row = begin;
    const std::int64_t last = std::min(end - kFewRowsAtOnce, x_.n_rows - kHanded);
    for (; row <= last; row += kFewRowsAtOnce) {
        const T* x[kHanded];
        const T* first = x_.data + row * d;
        for (int i = 0; i < kHanded; ++i) x[i] = first + i * d;
        n_changed += search(thread, x, kFewRowsAtOnce, [row](int i) { return row + i; });
    }
    std::int64_t rows[kHanded];
    for (; row < end; row += kFewRowsAtOnce) {
        for (int i = 0; i < kHanded; ++i) rows[i] = std::min(row + i, end - 1);
        n_changed += search(thread, rows, end - row);
    }
    return n_changed;
}

template <class T>
std::int64_t FewEStep<T>::search_in_doubt(int thread, std::int64_t begin,
                                          std::int64_t end) noexcept {
    const FewTest bounds = test();
    std::uint8_t may_move[kTestRows];
    std::int64_t waiting[kTestRows + 2 * kHanded], n_waiting = 0, n_changed = 0;
    for (std::int64_t row = begin; row < end; row += kTestRows) {
        const std::int64_t n = std::min(kTestRows, end - row);
        lanes_.test_few(bounds, row, n, may_move);
        for (std::int64_t i = 0; i < n; ++i) {
            waiting[n_waiting] = row + i;
            n_waiting += may_move[i];
        }
        if (n_waiting < kHanded) continue;
        n_changed += search(thread, waiting, kFewRowsAtOnce);
        std::copy(waiting + kFewRowsAtOnce, waiting + n_waiting, waiting);
        n_waiting -= kFewRowsAtOnce;
    }
    if (n_waiting == 0) return n_changed;
    std::fill_n(waiting + n_waiting, kHanded, waiting[n_waiting - 1]);
    for (std::int64_t done = 0; done < n_waiting; done += kFewRowsAtOnce) {
        n_changed += search(thread, waiting + done, n_waiting - done);
    }
    return n_changed;
}

template <class T>
std::int64_t FewEStep<T>::search(int thread, const std::int64_t* rows, std::int64_t n) noexcept {
    const T* x[kHanded];
    for (int i = 0; i < kHanded; ++i) x[i] = x_.data + rows[i] * x_.n_columns;
    return search(thread, x, n, [rows](int i) { return rows[i]; });
}

// Searches the first n of kHanded rows, or as many as it takes at once; writes their labels and
// bounds and moves them in the sums. Returns how many changed their label.
template <class T>
template <class RowOf>
std::int64_t FewEStep<T>::search(int thread, const T* const* x, std::int64_t n,
                                 RowOf row_of) noexcept {
    n = std::min<std::int64_t>(n, kFewRowsAtOnce);
    FewNearest nearest;
    const auto n_groups = static_cast<int>(count_blocks(n, kFewRows));
    kernels_.search_few[size_](search_, x, n_groups, highest(thread), nearest);
    if (search_.keeps_bounds) {
        float *upper = upper_.data(), *lower = lower_.data();
        for (int i = 0; i < n; ++i) {
            upper[row_of(i)] = nearest.upper[i];
            lower[row_of(i)] = nearest.lower[i];
        }
    }
    std::int32_t* labels = labels_;
    std::uint64_t changed = 0;
    for (int i = 0; i < n; ++i) {
        changed |= static_cast<std::uint64_t>(labels[row_of(i)] != nearest.label[i]) << i;
    }
    std::int64_t n_changed = 0;
    for (; changed != 0; changed &= changed - 1, ++n_changed) {
        const int i = __builtin_ctzll(changed);
        const std::int32_t before = labels[row_of(i)], label = nearest.label[i];
        labels[row_of(i)] = label;
        if (sums_ != nullptr) sums_->move(thread, row_of(i), before, label);
    }
    return n_changed;
}

template class FewEStep<float>;
template class FewEStep<double>;

}  // namespace harpy::kmeans
