#include "screen.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "estep.h"
#include "kmeans.h"
#include "margins.h"
#include "parallel.h"

namespace harpy::kmeans {

namespace {

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
ScreenBlock<T>::ScreenBlock(const ScreenKernels<T>& kernels, std::int64_t d,
                            std::int64_t most_groups)
    : least(kernels.rows * most_groups),
      pairs(kernels.rows * pairs_of(d)),
      lows(2 * kernels.rows * most_groups) {}

template <class T>
IntegerCenters<T>::IntegerCenters(const ScreenKernels<T>& kernels, std::int64_t n_slots,
                                  std::int64_t d)
    : kernels_(kernels),
      d_(d),
      n_pairs_(pairs_of(d)),
      pairs_(count_blocks(n_slots, kernels.centers) * kernels.centers * n_pairs_),
      slots_(count_blocks(n_slots, kernels.centers) * kernels.centers) {
    std::iota(slots_.begin(), slots_.end(), 0);
}

template <class T>
void IntegerCenters<T>::pack(const PackedCenters<T>& exact, const std::int32_t* group_of_panel,
                             std::int64_t n_groups, int n_thread) {
    const std::int64_t k = exact.n_clusters, lanes = kernels_.centers;
    n_panels_ = count_blocks(k, lanes);
    n_groups_ = n_groups;
    starts_.assign(n_panels_ * lanes, kScreenHighest);
    std::fill_n(starts_.begin(), k, 0);
    group_of_.assign(n_panels_, 0);
    if (group_of_panel != nullptr) {
        for (std::int64_t p = 0; p < n_panels_; ++p) {
            group_of_[p] = group_of_panel[p * lanes / exact.lanes];
        }
    }
    const double largest = *std::max_element(exact.norms.begin(), exact.norms.end());
    const int exponent = largest > 0 ? -std::ilogb(largest) / 2 : 0;
    constexpr int kMost = std::numeric_limits<T>::max_exponent - 8;
    units_.scale = std::ldexp(T{1}, std::clamp(exponent, -kMost, kMost));
    const double scale = units_.scale;
    const auto half_norm = [&](std::int64_t slot) {
        return scale * exact.half_norms[slot] * scale;
    };
    double least = half_norm(0), most = least;
    for (std::int64_t slot = 1; slot < k; ++slot) {
        least = std::min(least, half_norm(slot));
        most = std::max(most, half_norm(slot));
    }
    const double middle = 0.5 * (least + most);
    units_.one = static_cast<float>(std::sqrt(0.5 * (most - least)));
    const double one = units_.one > 0 ? units_.one : 1.0;
    const auto last_value = [&](std::int64_t slot) { return (half_norm(slot) - middle) / one; };
    double squared = 0;
    for (std::int64_t slot = 0; slot < k; ++slot) {
        const double last = last_value(slot);
        squared = std::max(squared, exact.norms[slot] * scale * scale + last * last);
    }
    // `norms` are rounded, too.
    const double norm = std::sqrt(squared) * (1.0 + 0x1p-20);
    const double unit = kScreenNorm / std::max<double>(norm, kScreenLeast);
    errors_.resize(n_panels_);
    for_row_blocks(
        n_panels_, 1, useful_threads(n_panels_, 8, n_thread),
        [&](int, std::int64_t first, std::int64_t end) {
            for (std::int64_t p = first; p < end; ++p) {
                const std::int64_t slot = p * lanes;
                const T* column = exact.panels.data() + slot / exact.lanes * exact.lanes * d_ +
                                  slot % exact.lanes;
                std::int32_t* pair = pairs_.data() + slot * n_pairs_;
                double lost[kMostScreenCenters] = {};
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
    // Two factors, because their product may be too small for T.
    units_.first_unit = static_cast<T>(1.0 / unit / scale);
    units_.second_unit = static_cast<T>(1.0 / scale);
    units_.middle = static_cast<T>(middle / scale / scale);
}

template <class T>
void IntegerCenters<T>::search(ScreenBlock<T>& block, std::int64_t n_rows, const T* offset,
                               bool with_bounds, const T* ahead,
                               std::int64_t n_ahead) const noexcept {
    kernels_.search(
        {block.rows, n_rows, ahead, n_ahead * static_cast<std::int64_t>(sizeof(T)), d_, offset,
         pairs_.data(), starts_.data(), slots_.data(), group_of_.data(), n_pairs_, n_panels_,
         n_groups_, units_, block.pairs.data(), block.lows.data()},
        {block.slot, with_bounds ? block.open : nullptr, block.most, block.least.data()});
}

template <class T>
Status screen(const LaneKernels* lanes, Matrix<T> x, Matrix<T> centers, const T* offset,
              std::int32_t* nearest, T* most, T* least) noexcept {
    return guarded([&]() -> Status {
        const std::int64_t k = centers.n_rows, d = centers.n_columns;
        if (!sizes_fit(k, d)) return Status::too_large;
        std::fill_n(nearest, x.n_rows, -1);
        const ScreenKernels<T>& kernels = row_kernels<T>(*lanes).screen;
        if (kernels.search == nullptr) return Status::ok;
        const TileKernels<T>& tiles = row_kernels<T>(*lanes).tiles;
        PackedCenters<T> exact(k, d, tiles.sweep_centers);
        exact.pack(tiles, centers, offset, 1);
        IntegerCenters<T> integers(kernels, k, d);
        integers.pack(exact, nullptr, 1, 1);
        ScreenBlock<T> block(kernels, d, 1);
        for (std::int64_t row = 0; row < x.n_rows; row += kernels.rows) {
            const std::int64_t n = std::min<std::int64_t>(kernels.rows, x.n_rows - row);
            for (std::int64_t i = 0; i < n; ++i) block.rows[i] = x.data + (row + i) * d;
            integers.search(block, n, offset, true, nullptr, 0);
            std::copy_n(block.slot, n, nearest + row);
            std::copy_n(block.most, n, most + row);
            std::copy_n(block.least.data(), n, least + row);
        }
        return Status::ok;
    });
}

template Status screen(const LaneKernels*, Matrix<float>, Matrix<float>, const float*,
                       std::int32_t*, float*, float*) noexcept;
template Status screen(const LaneKernels*, Matrix<double>, Matrix<double>, const double*,
                       std::int32_t*, double*, double*) noexcept;
template struct ScreenBlock<float>;
template struct ScreenBlock<double>;
template class IntegerCenters<float>;
template class IntegerCenters<double>;

}  // namespace harpy::kmeans
