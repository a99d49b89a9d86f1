#include "estep/prefilter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "estep/estep.h"
#include "estep/margins.h"
#include "kmeans.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

// Of a row with more candidates all centers are searched.
constexpr std::size_t kMaxCandidatesOfRow = 8;

std::int64_t pairs_of(std::int64_t d) noexcept { return d / 2 + 1; }

// A value of less than 2^15, and what rounding it takes away.
struct Rounded {
    explicit Rounded(double value) {
        constexpr double kMagic = 0x1.8p52;  // vectorises where nearbyint does not
        const double rounded = (value + kMagic) - kMagic;
        integer = static_cast<std::int32_t>(rounded);
        lost = value - rounded;
    }
    std::int32_t integer;
    double lost;
};

float at_least(double value) noexcept { return round_up(value * (1.0 + 0x1p-20)); }

}  // namespace

template <class T>
PrefilterBlock<T>::PrefilterBlock(const PrefilterKernels<T>& kernels, std::int64_t d,
                                  std::int64_t most_groups)
    : least(kernels.rows * most_groups),
      pairs(kernels.rows * pairs_of(d)),
      lows(2 * kernels.rows * most_groups) {
    candidates.reserve(kernels.rows * (kMaxCandidatesOfRow + 1));
}

template <class T>
IntegerCenters<T>::IntegerCenters(const RowKernels<T>& kernels, std::int64_t n_clusters,
                                  std::int64_t d)
    : tiles_(kernels.tiles),
      kernels_(kernels.prefilter),
      n_clusters_(n_clusters),
      d_(d),
      n_pairs_(pairs_of(d)),
      n_panels_(count_blocks(n_clusters, kernels_.centers)),
      pairs_(n_panels_ * kernels_.centers * n_pairs_),
      slots_(n_panels_ * kernels_.centers),
      group_of_(n_panels_),
      errors_(n_panels_) {
    std::iota(slots_.begin(), slots_.end(), 0);
}

template <class T>
std::int64_t IntegerCenters<T>::plain_groups() const noexcept {
    // Two candidates of one group may hide a third; with few columns few rows are in doubt at all.
    constexpr std::int64_t kMaxPrefilterGroups = 16, kPanelsPerGroup = 4, kColumnsPerGroup = 16;
    return std::clamp<std::int64_t>(std::min(n_panels_ / kPanelsPerGroup, d_ / kColumnsPerGroup), 1,
                                    kMaxPrefilterGroups);
}

template <class T>
void IntegerCenters<T>::pack(const PackedCenters<T>& exact, const T* centers,
                             const std::int32_t* group_of_panel, std::int64_t n_groups,
                             int n_thread) {
    exact_ = &exact;
    centers_ = centers;
    n_groups_ = n_groups;
    const std::int64_t k = n_clusters_, lanes = kernels_.centers;
    for (std::int64_t p = 0; p < n_panels_; ++p) {
        group_of_[p] = group_of_panel == nullptr
                           ? static_cast<std::int32_t>(p * n_groups / n_panels_)
                           : group_of_panel[p * lanes / exact.lanes];
    }
    starts_.assign(n_panels_ * lanes, kPrefilterHighest);
    std::fill_n(starts_.begin(), k, 0);
    const double largest = *std::max_element(exact.norms.begin(), exact.norms.end());
    const int exponent = largest > 0 ? -std::ilogb(largest) / 2 : 0;
    constexpr int kMax = std::numeric_limits<T>::max_exponent - 8;
    units_.scale = std::ldexp(T{1}, std::clamp(exponent, -kMax, kMax));
    const double scale = units_.scale;
    const auto half_norm = [&](std::int64_t slot) {
        return scale * exact.half_norms[slot] * scale;
    };
    const T* half_norms = exact.half_norms.data();
    const auto range = std::minmax_element(half_norms, half_norms + k);
    const double least = half_norm(range.first - half_norms);
    const double most = half_norm(range.second - half_norms);
    const double middle = 0.5 * (least + most);
    units_.one = static_cast<float>(std::sqrt(0.5 * (most - least)));
    const double one = units_.one > 0 ? units_.one : 1.0;
    const auto last_value = [&](std::int64_t slot) { return (half_norm(slot) - middle) / one; };
    double squared = 0;
    for (std::int64_t slot = 0; slot < k; ++slot) {
        const double last = last_value(slot);
        squared = std::max(squared, exact.norms[slot] * scale * scale + last * last);
    }
    // `norms` are rounded as well.
    const double norm = std::sqrt(squared) * (1.0 + 0x1p-20);
    const double unit = kPrefilterNorm / std::max<double>(norm, kPrefilterLeast);
    for_row_blocks(
        n_panels_, 1, useful_threads(n_panels_, 8, n_thread),
        [&](int, std::int64_t first, std::int64_t end) {
            for (std::int64_t p = first; p < end; ++p) {
                const std::int64_t slot = p * lanes;
                const T* column = exact.panels.data() + slot / exact.lanes * exact.lanes * d_ +
                                  slot % exact.lanes;
                std::int32_t* pair = pairs_.data() + slot * n_pairs_;
                double lost[kMaxPrefilterCenters] = {};
                const auto value = [&](std::int64_t j, std::int64_t i) {
                    if (j < d_) return -scale * column[j * exact.lanes + i];
                    return j == d_ && slot + i < k ? last_value(slot + i) : 0.0;
                };
                for (std::int64_t j = 0; j <= d_; j += 2, pair += lanes) {
                    for (std::int64_t i = 0; i < lanes; ++i) {
                        const Rounded low(unit * value(j, i)), high(unit * value(j + 1, i));
                        lost[i] += low.lost * low.lost + high.lost * high.lost;
                        pair[i] = (low.integer & 0xFFFF) | high.integer * 0x10000;
                    }
                }
                errors_[p] = *std::max_element(lost, lost + lanes);
            }
        });
    units_.error = at_least(std::sqrt(*std::max_element(errors_.begin(), errors_.end())) + 0x1p-10);
    units_.norm = at_least(norm * unit);
    units_.half_norm = at_least(std::max(std::fabs(least), std::fabs(most)) * unit);
    units_.chain_error =
        at_least(0.55 * std::numeric_limits<T>::epsilon() * static_cast<double>(d_));
    units_.underflow = at_least(static_cast<double>(d_ + 2) * unit * scale *
                                std::numeric_limits<T>::denorm_min() * scale);
    units_.tag_bits = 1;
    while (k > std::int64_t{1} << units_.tag_bits) ++units_.tag_bits;
    units_.unit = static_cast<float>(1.0 / unit);
    units_.middle = static_cast<T>(middle / scale / scale);
}

template <class T>
void IntegerCenters<T>::search(PrefilterBlock<T>& block, std::int64_t n_rows, const T* offset,
                               bool with_bounds, const T* ahead,
                               std::int64_t n_ahead) const noexcept {
    kernels_.search({block.rows, n_rows, ahead, n_ahead * static_cast<std::int64_t>(sizeof(T)), d_,
                     offset, pairs_.data(), starts_.data(), slots_.data(), group_of_.data(),
                     n_pairs_, n_panels_, n_groups_, units_, block.pairs.data(), block.lows.data()},
                    {block.lowest, block.certain, block.doubt, block.unit,
                     with_bounds ? block.most : nullptr, block.least.data()});
    find_candidates(block, n_rows);
    if (block.candidates.empty()) return;
    score_candidates(block, offset);
    choose_candidates(block, with_bounds);
}

// Of each row in doubt the lowest center of every group that cannot be told from the lowest of all;
// where the second lowest of a group cannot either, a third might not, and the row stays as it is.
template <class T>
void IntegerCenters<T>::find_candidates(PrefilterBlock<T>& block,
                                        std::int64_t n_rows) const noexcept {
    const std::int32_t* lows = block.lows.data();
    const std::int32_t* seconds = lows + n_groups_ * kernels_.rows;
    block.candidates.clear();
    for (std::int64_t r = 0; r < n_rows; ++r) {
        block.slot[r] = block.certain[r] ? slot_of(block.lowest[r]) : -1;
        if (block.certain[r] || !(block.doubt[r] < std::numeric_limits<float>::max())) continue;
        const auto before = block.candidates.size();
        const auto in_doubt = [&](std::int32_t score) {
            const float gap = static_cast<float>(score) - static_cast<float>(block.lowest[r]);
            return !(gap > 2.0f * block.doubt[r]);
        };
        bool too_many = false;
        for (std::int32_t g = 0; g < n_groups_ && !too_many; ++g) {
            const std::int32_t low = lows[g * kernels_.rows + r];
            if (!in_doubt(low)) continue;
            too_many = in_doubt(seconds[g * kernels_.rows + r]) ||
                       block.candidates.size() - before == kMaxCandidatesOfRow;
            block.candidates.push_back({static_cast<std::int32_t>(r), g, slot_of(low), T{0}});
        }
        if (too_many) block.candidates.resize(before);
    }
}

template <class T>
void IntegerCenters<T>::score_candidates(PrefilterBlock<T>& block, const T* offset) const noexcept {
    constexpr std::size_t kMaxPairs = 16;
    const T *rows[kMaxPairs], *centers[kMaxPairs];
    T half_norms[kMaxPairs], scores[kMaxPairs];
    const auto step = static_cast<std::size_t>(tiles_.n_pairs);
    for (std::size_t first = 0; first < block.candidates.size(); first += step) {
        const std::size_t n = std::min(step, block.candidates.size() - first);
        for (std::size_t i = 0; i < step; ++i) {
            const auto& candidate = block.candidates[first + std::min(i, n - 1)];
            rows[i] = block.rows[candidate.row];
            centers[i] = centers_ + exact_->indices[candidate.slot] * d_;
            half_norms[i] = exact_->half_norms[candidate.slot];
        }
        tiles_.score_pairs(rows, centers, offset, half_norms, d_, scores);
        for (std::size_t i = 0; i < n; ++i) block.candidates[first + i].score = scores[i];
    }
}

template <class T>
void IntegerCenters<T>::choose_candidates(PrefilterBlock<T>& block,
                                          bool with_bounds) const noexcept {
    const std::int32_t* lows = block.lows.data();
    const std::int32_t* seconds = lows + n_groups_ * kernels_.rows;
    const auto* const end = block.candidates.data() + block.candidates.size();
    for (const auto* first = block.candidates.data(); first != end;) {
        const std::int32_t r = first->row;
        const auto* best = first;
        for (; first != end && first->row == r; ++first) {
            const bool lower = first->score < best->score ||
                               (first->score == best->score &&
                                exact_->indices[first->slot] < exact_->indices[best->slot]);
            if (lower) best = first;
        }
        block.slot[r] = best->slot;
        if (!with_bounds) continue;
        const auto score = [&](std::int32_t low, float doubt) {
            if (low >= kPrefilterHighest) return std::numeric_limits<T>::infinity();
            return units_.real_score(static_cast<float>(low) + doubt, block.unit[r]);
        };
        const std::int64_t best_at = best->group * kernels_.rows + r;
        const std::int64_t lowest_at =
            group_of_[slot_of(block.lowest[r]) / kernels_.centers] * kernels_.rows + r;
        block.most[r] = score(lows[best_at], block.doubt[r]);
        block.least[lowest_at] = score(lows[lowest_at], -block.doubt[r]);
        block.least[best_at] = score(seconds[best_at], -block.doubt[r]);
    }
}

template <class T>
Status prefilter(const LaneKernels* lanes, Matrix<T> x, Matrix<T> centers, const T* offset,
                 std::int32_t* nearest, T* most, T* least) noexcept {
    return guarded([&]() -> Status {
        const std::int64_t k = centers.n_rows, d = centers.n_columns;
        if (!sizes_fit(k, d)) return Status::too_large;
        std::fill_n(nearest, x.n_rows, -1);
        const PrefilterKernels<T>& kernels = row_kernels<T>(*lanes).prefilter;
        if (kernels.search == nullptr) return Status::ok;
        const TileKernels<T>& tiles = row_kernels<T>(*lanes).tiles;
        PackedCenters<T> exact(k, d, tiles.scan_centers);
        exact.pack(tiles, centers, offset, 1);
        IntegerCenters<T> integers(row_kernels<T>(*lanes), k, d);
        integers.pack(exact, centers.data, nullptr, integers.plain_groups(), 1);
        PrefilterBlock<T> block(kernels, d, integers.plain_groups());
        for (std::int64_t row = 0; row < x.n_rows; row += kernels.rows) {
            const std::int64_t n = std::min<std::int64_t>(kernels.rows, x.n_rows - row);
            for (std::int64_t i = 0; i < n; ++i) block.rows[i] = x.data + (row + i) * d;
            integers.search(block, n, offset, true, nullptr, 0);
            std::copy_n(block.slot, n, nearest + row);
            for (std::int64_t i = 0; i < n; ++i) {
                most[row + i] = block.most[i];
                least[row + i] = block.least[i];
                for (std::int64_t g = 1; g < integers.plain_groups(); ++g) {
                    least[row + i] = std::min(least[row + i], block.least[g * kernels.rows + i]);
                }
            }
        }
        return Status::ok;
    });
}

template Status prefilter(const LaneKernels*, Matrix<float>, Matrix<float>, const float*,
                          std::int32_t*, float*, float*) noexcept;
template Status prefilter(const LaneKernels*, Matrix<double>, Matrix<double>, const double*,
                          std::int32_t*, double*, double*) noexcept;
template struct PrefilterBlock<float>;
template struct PrefilterBlock<double>;
template class IntegerCenters<float>;
template class IntegerCenters<double>;

}  // namespace harpy::kmeans
