#include "estep/neighbour_estep.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "estep/margins.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

constexpr std::int64_t kBatchRows = 512;
// Chunks of a list: few rows need more, and are compared with all centers.
constexpr std::int64_t kListChunks = 2;
// A step costs as much as comparing a row with so many centers (measured: 180 to 250 in 2 to 8
// columns). A row with a label needs one or two steps, one without about six.
constexpr std::int64_t kStepCenters = 220;
constexpr std::int64_t kMinWalk = 400, kMinWalkUnlabelled = 1600;
// Listing the neighbours of a center costs as much as comparing so many rows with all centers.
constexpr std::int64_t kListRows = 16;
// Lists are made anew when moves may have taken this share of their first gap.
constexpr double kStaleShare = 1.0 / 16;

// Centers to begin at: so many that looking through them costs as much as the steps they save.
std::int64_t count_starts(std::int64_t n_clusters) noexcept {
    return static_cast<std::int64_t>(2 * std::sqrt(static_cast<double>(n_clusters)));
}

}  // namespace

template <class T>
struct NeighbourEStep<T>::Neighbour {
    T squared_gap;
    std::int32_t center;
};

// Scratch to rank the neighbours of one center.
template <class T>
struct NeighbourEStep<T>::Ranked {
    explicit Ranked(std::int64_t n_clusters) : squared(n_clusters), neighbours(n_clusters + 1) {}
    Buffer<T> squared;
    Buffer<Neighbour> neighbours;
};

template <class T>
struct NeighbourEStep<T>::Batch {
    Batch(std::int64_t n_clusters, std::int64_t d, int thread)
        : thread(thread),
          ranked(n_clusters),
          x(kBatchRows * d),
          best(kBatchRows),
          label(kBatchRows),
          place(kBatchRows),
          open(kBatchRows),
          lost(kBatchRows) {}

    int thread;
    Ranked ranked;
    std::int64_t begin = 0, n_rows = 0;
    Buffer<T> x, best;
    Buffer<std::int32_t> label, place, open;
    Buffer<std::int32_t> lost;  // rows whose lists ended too early
    std::int64_t n_changed = 0, n_steps = 0, n_lost = 0;
};

template <class T>
NeighbourEStep<T>::NeighbourEStep(const LaneKernels& lanes, Matrix<T> x, std::int64_t n_clusters,
                                  int n_thread)
    : EStep<T>(n_thread, kBatchRows),
      kernels_(row_kernels<T>(lanes).tiles),
      x_(x),
      n_clusters_(n_clusters),
      n_chunks_(n_clusters >= kMinWalk && 2 * kListRows * n_clusters <= x.n_rows ? kListChunks : 0),
      centers_(n_clusters * (x.n_columns + 1)),
      starts_(count_starts(n_clusters) * (x.n_columns + 1)),
      start_centers_(count_starts(n_clusters)),
      columns_(x.n_columns * n_clusters),
      shifted_((x.n_columns + 1) * (n_clusters + 1)),
      chunks_(n_chunks_ * n_clusters * (x.n_columns + 1) * kChunk),
      limits_(n_chunks_ * n_clusters),
      members_(n_chunks_ * n_clusters * kChunk),
      gaps_(n_chunks_ * n_clusters),
      moved_before_(n_clusters),
      reach_(n_clusters),
      indices_(n_clusters),
      norms_(n_clusters) {
    std::iota(indices_.begin(), indices_.end(), 0);
    for (std::int64_t j = 0; j <= x.n_columns; ++j) {
        shifted_[j * (n_clusters + 1) + n_clusters] =
            j == 0 ? std::numeric_limits<T>::infinity() : T{0};
    }
    std::fill(gaps_.begin(), gaps_.end(), -1.0);
    std::fill(moved_before_.begin(), moved_before_.end(), 0.0);
    std::fill(reach_.begin(), reach_.end(), std::numeric_limits<T>::infinity());
    batches_.reserve(n_thread_);
    for (int t = 0; t < n_thread_; ++t) {
        batches_.emplace_back(n_clusters, x.n_columns, t);
    }
}

template <class T>
NeighbourEStep<T>::~NeighbourEStep() = default;

template <class T>
std::int64_t NeighbourEStep<T>::assign(const T* centers, const T* offset, std::int32_t* labels,
                                       RowSums<T>* sums) {
    if (x_.n_rows == 0) return 0;
    const FloatEnvironment environment;
    offset_ = offset;
    labels_ = labels;
    sums_ = sums;
    walks_ = n_chunks_ > 0 && (labelled_ || n_clusters_ >= kMinWalkUnlabelled);
    pack(centers);
    if (walks_) {
        add_moves(centers);
        update_lists();
    }
    this->for_searches(x_.n_rows, kBatchRows,
                       [&](int thread, std::int64_t begin, std::int64_t end) {
                           search(batches_[thread], begin, end);
                       });
    labelled_ = true;
    std::int64_t n_changed = 0, n_steps = 0, n_lost = 0;
    for (Batch& batch : batches_) {
        n_changed += batch.n_changed;
        n_steps += batch.n_steps;
        n_lost += batch.n_lost;
        batch.n_changed = batch.n_steps = batch.n_lost = 0;
    }
    if (walks_ && n_steps * kStepCenters + n_lost * n_clusters_ > x_.n_rows * n_clusters_) {
        n_chunks_ = 0;  // geometry does not become kinder
    }
    return n_changed;
}

// How far the centers have moved, summed over the calls: their gaps shrink by no more than that.
template <class T>
void NeighbourEStep<T>::add_moves(const T* centers) {
    const std::int64_t d = x_.n_columns;
    if (previous_.empty()) {
        moved_.resize(n_clusters_);
    } else {
        double largest = 0;
        for (std::int64_t c = 0; c < n_clusters_; ++c) {
            const double move = upper_move(previous_.data() + c * d, centers + c * d, d, T{1});
            moved_[c] += move;
            largest = std::max(largest, move);
        }
        largest_moves_ += largest;
    }
    previous_.assign(centers, centers + n_clusters_ * d);
}

// Centers less the offset: by columns for lists, by rows to be looked through.
template <class T>
void NeighbourEStep<T>::pack(const T* centers) {
    const std::int64_t d = x_.n_columns, stride = n_clusters_ + 1;
    kernels_.pack_panel(centers, indices_.data(), static_cast<int>(n_clusters_),
                        static_cast<int>(stride), d, offset_, shifted_.data() + stride,
                        shifted_.data(), norms_.data());
    for (std::int64_t c = 0; c < n_clusters_; ++c) {
        for (std::int64_t j = 0; j <= d; ++j) {
            centers_[c * (d + 1) + j] = shifted_[j * stride + c];
        }
        for (std::int64_t j = 0; j < d; ++j) columns_[j * n_clusters_ + c] = centers[c * d + j];
    }
    const auto n = static_cast<std::int64_t>(start_centers_.size());
    for (std::int64_t i = 0; i < n; ++i) {
        start_centers_[i] = static_cast<std::int32_t>(i * n_clusters_ / n);
        std::copy_n(centers_.data() + start_centers_[i] * (d + 1), d + 1,
                    starts_.data() + i * (d + 1));
    }
}

template <class T>
void NeighbourEStep<T>::update_lists() {
    for_row_blocks(n_clusters_, 16, useful_threads(n_clusters_, 16, n_thread_),
                   [&](int thread, std::int64_t begin, std::int64_t end) {
                       for (std::int64_t c = begin; c < end; ++c) {
                           if (!(shrunk(c) < kStaleShare * gaps_[c])) {
                               rank_neighbours(c, batches_[thread].ranked);
                           }
                           fill_chunks(c);
                       }
                   });
}

// Lists the nearest centers of one, by direct differences.
template <class T>
void NeighbourEStep<T>::rank_neighbours(std::int64_t center, Ranked& ranked) noexcept {
    constexpr T kInfinity = std::numeric_limits<T>::infinity();
    const std::int64_t n_listed = std::min(n_clusters_, n_chunks_ * kChunk);
    T* squared = ranked.squared.data();
    kernels_.squared_gaps(columns_.data(), n_clusters_, x_.n_columns, center, squared);
    squared[center] = -1;  // the first of its own list
    // Those that were nearer than 1.2 times the first center beyond the list the last time, or all.
    Neighbour* first = ranked.neighbours.data();
    Neighbour* last = first;
    for (const T reach : {T{1.5} * reach_[center], kInfinity}) {
        last = first;
        for (std::int64_t c = 0; c < n_clusters_; ++c) {
            // Not a number counts as infinitely far.
            const T gap = squared[c] < kInfinity ? squared[c] : kInfinity;
            *last = {gap, static_cast<std::int32_t>(c)};
            last += gap <= reach;
        }
        if (last - first > n_listed) break;
    }
    const auto nearer = [](const Neighbour& a, const Neighbour& b) {
        return a.squared_gap < b.squared_gap;
    };
    const bool complete = last - first <= n_listed;
    if (!complete) {
        std::nth_element(first, first + n_listed, last, nearer);
        reach_[center] = first[n_listed].squared_gap;
    }
    for (std::int64_t n = (n_listed - 1) / kChunk * kChunk, end = n_listed; n > 0; n -= kChunk) {
        std::nth_element(first, first + n, first + end, nearer);
        end = n;
    }
    std::iter_swap(first, std::min_element(first, first + kChunk, nearer));
    for (std::int64_t q = 0; q < n_chunks_; ++q) {
        const std::int64_t place = q * n_clusters_ + center, next = (q + 1) * kChunk;
        for (std::int64_t l = 0; l < kChunk; ++l) {
            const std::int64_t i = q * kChunk + l;
            members_[place * kChunk + l] =
                static_cast<std::int32_t>(i < n_listed ? first[i].center : n_clusters_);
        }
        gaps_[place] = next < n_listed || (next == n_listed && !complete)
                           ? std::sqrt(static_cast<double>(first[next].squared_gap))
                           : std::numeric_limits<double>::infinity();
    }
    moved_before_[center] = largest_moves_ + moved_[center];
}

// How much nearer another center can be than when the list was made.
template <class T>
double NeighbourEStep<T>::shrunk(std::int64_t center) const noexcept {
    const double moves = largest_moves_ + moved_[center];
    return moves - moved_before_[center] + 0x1p-40 * moves;  // which covers the sums' roundings
}

// Packs the lists of a center, as it and they now stand.
template <class T>
void NeighbourEStep<T>::fill_chunks(std::int64_t center) noexcept {
    const std::int64_t d = x_.n_columns;
    const double norm = std::sqrt(norms_[center]) * (1.0 + 0x1p-22);
    const double moves = shrunk(center);
    for (std::int64_t q = 0; q < n_chunks_; ++q) {
        const std::int64_t place = q * n_clusters_ + center;
        T* chunk = chunks_.data() + place * (d + 1) * kChunk;
        const std::int32_t* members = members_.data() + place * kChunk;
        for (std::int64_t j = 0; j <= d; ++j) {
            const T* column = shifted_.data() + j * (n_clusters_ + 1);
            for (int l = 0; l < kChunk; ++l) chunk[j * kChunk + l] = column[members[l]];
        }
        limits_[place] = limit(gaps_[place] - moves, norm);
    }
}

// Rows whose squared distance from a center, as computed from its score, is below this have a
// higher score, as computed, at every center that is `gap`, as computed, or farther from it.
// `norm`: of the center less the offset. docs/numerics.md has the proof.
template <class T>
T NeighbourEStep<T>::limit(double gap, double norm) const noexcept {
    constexpr T kNone = -std::numeric_limits<T>::infinity();
    constexpr double unit = std::numeric_limits<T>::epsilon() / 2;
    const double d = static_cast<double>(x_.n_columns);
    const double error = 1.1 * (2 * d + 8) * unit;
    const double underflow =
        8 * (d + 8) * static_cast<double>(std::numeric_limits<T>::denorm_min());
    if (gap == std::numeric_limits<double>::infinity()) return std::numeric_limits<T>::infinity();
    // Squares of differences may underflow as well.
    gap = gap * (1.0 - error) - error * norm - std::sqrt(underflow);
    if (!(gap > 0)) return kNone;
    const double half =
        0.5 * (gap - 2 * error * (3 * norm * norm / gap + 3 * norm + gap) - underflow / gap);
    if (!(half > 0)) return kNone;
    const double squared =
        half * half - error * (4 * norm * norm + 4 * norm * half + half * half) - underflow;
    return squared > 0 ? static_cast<T>(squared * (1.0 - 8 * unit)) : kNone;
}

// Writes the labels of consecutive rows and moves those that changed in the sums.
template <class T>
void NeighbourEStep<T>::search(Batch& batch, std::int64_t begin, std::int64_t end) noexcept {
    const std::int64_t d = x_.n_columns, n = end - begin;
    const T* x = x_.data + begin * d;
    if (walks_) {
        walk(batch, x, labels_ + begin, n);
    } else {
        kernels_.scan[d - 1](x, n, offset_, centers_.data(), n_clusters_, batch.label.data());
    }
    for (std::int64_t i = 0; i < n; ++i) {
        const std::int32_t before = labels_[begin + i], label = batch.label[i];
        if (label == before) continue;
        labels_[begin + i] = label;
        ++batch.n_changed;
        if (sums_ != nullptr) sums_->move(batch.thread, begin + i, before, label);
    }
}

// From a row's old center, or from the best of a few, along lists of neighbours.
template <class T>
void NeighbourEStep<T>::walk(Batch& batch, const T* x, const std::int32_t* labels,
                             std::int64_t n) noexcept {
    const std::int64_t d = x_.n_columns;
    if (labelled_) {
        std::copy_n(labels, n, batch.label.begin());
    } else {
        kernels_.scan[d - 1](x, n, offset_, starts_.data(),
                             static_cast<std::int64_t>(start_centers_.size()), batch.label.data());
        for (std::int64_t i = 0; i < n; ++i) batch.label[i] = start_centers_[batch.label[i]];
    }
    const Walk<T> walk{x,
                       offset_,
                       d,
                       n_clusters_,
                       chunks_.data(),
                       members_.data(),
                       limits_.data(),
                       batch.label.data(),
                       batch.best.data(),
                       batch.place.data()};
    std::int64_t n_lost = 0, n_walking = n;
    std::int64_t n_open = kernels_.walk(walk, nullptr, n, batch.open.data());
    while (n_open > 0) {
        batch.n_steps += n_walking;
        n_walking = 0;
        for (std::int64_t i = 0; i < n_open; ++i) {
            const std::int32_t row = batch.open[i];
            if (batch.place[row] < n_chunks_ * n_clusters_) {
                batch.open[n_walking++] = row;
            } else {
                batch.lost[n_lost++] = row;
            }
        }
        n_open = kernels_.walk(walk, batch.open.data(), n_walking, batch.open.data());
    }
    batch.n_steps += n_walking;
    batch.n_lost += n_lost;
    for (std::int64_t i = 0; i < n_lost; ++i) {
        std::copy_n(x + batch.lost[i] * d, d, batch.x.data() + i * d);
    }
    kernels_.scan[d - 1](batch.x.data(), n_lost, offset_, centers_.data(), n_clusters_,
                         batch.open.data());
    for (std::int64_t i = 0; i < n_lost; ++i) batch.label[batch.lost[i]] = batch.open[i];
}

template class NeighbourEStep<float>;
template class NeighbourEStep<double>;

}  // namespace harpy::kmeans
