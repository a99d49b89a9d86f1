#include "estep/margins.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace harpy::kmeans {

template <class T>
Margins<T> make_margins(std::int64_t n_columns) noexcept {
    const double unit = std::numeric_limits<T>::epsilon() / 2;
    const double d = static_cast<double>(n_columns);
    Margins<T> margins{};
    margins.score_error = static_cast<T>(1.1 * unit * (d + 8));
    margins.shift_error = static_cast<T>(2 * unit);
    margins.underflow = static_cast<T>(8 * (d + 8)) * std::numeric_limits<T>::denorm_min();
    margins.scale = 1;
    margins.score_slack = round_up(1.1 * unit * (d + 3));
    margins.shift_slack = round_up(16 * unit);
    return margins;
}

template <class T>
void choose_scale(Margins<T>& margins, T largest, std::int64_t n_columns) noexcept {
    constexpr int kMax = std::numeric_limits<T>::max_exponent - 8;
    const int exponent = largest > 0 ? std::ilogb(largest) + std::ilogb(n_columns) / 2 : 0;
    const T scale = std::ldexp(T{1}, std::clamp(-exponent, -kMax, kMax));
    margins.scale = scale;
    margins.floor = round_up(1e-30 + static_cast<double>(margins.underflow) * scale * scale);
}

template <class T>
double upper_move(const T* before, const T* after, std::int64_t n_columns, T scale) noexcept {
    double squared = 0;
    for (std::int64_t j = 0; j < n_columns; ++j) {
        const double move =
            (static_cast<double>(after[j]) - static_cast<double>(before[j])) * scale;
        squared += move * move;
    }
    return std::sqrt(squared) * (1.0 + 0x1p-30);
}

#define HARPY_INSTANTIATE(T)                                           \
    template Margins<T> make_margins(std::int64_t) noexcept;           \
    template void choose_scale(Margins<T>&, T, std::int64_t) noexcept; \
    template double upper_move(const T*, const T*, std::int64_t, T) noexcept;
HARPY_INSTANTIATE(float)
HARPY_INSTANTIATE(double)
#undef HARPY_INSTANTIATE

}  // namespace harpy::kmeans
