// Exact sums of compressed sparse rows, updated by the rows that changed their cluster. Integers
// commute, so each thread owns some of the columns, and the totals exist only once.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "exact_sums.h"
#include "parallel.h"
#include "sparse.h"
#include "sparse_rows.h"

namespace harpy::kmeans {

namespace {

constexpr std::int64_t kValuesPerThread = 1 << 13;
constexpr std::int64_t kSampledColumns = 4096;
constexpr std::int64_t kAhead = 12;
constexpr double kMagic = 0x1.8p52;

double power_of_two(int exponent) noexcept {
    const std::uint64_t bits = static_cast<std::uint64_t>(exponent + 1023) << 52;
    double power;
    std::memcpy(&power, &bits, sizeof power);
    return power;
}

// The nearest integer, ties to even, of a value below 2^51.
std::int64_t to_integer(double plus_magic) noexcept {
    std::int64_t bits, zero;
    std::memcpy(&bits, &plus_magic, sizeof bits);
    std::memcpy(&zero, &kMagic, sizeof zero);
    return bits - zero;
}

// Adds value / 2^(exponent - 72), rounded to the nearest integer, ties to even: what the two words
// of RowSums hold together. |value| < 2^(exponent + 1), so that the upper part has 26 bits. The
// limbs stay what store_limbs makes of the total.
void add(std::int64_t* limbs, double value, int exponent) noexcept {
    constexpr int kLimbBits = 48;
    constexpr std::int64_t kMask = (std::int64_t{1} << kLimbBits) - 1;
    // Two factors: the quanta reach beyond what one float64 can invert.
    const int power = 2 * kWordBits - std::max(exponent, kMinExponent);
    const double units = value * power_of_two(power / 2) * power_of_two(power - power / 2);
    const double upper = units * 0x1p-48 + kMagic;
    const double lower = (units - (upper - kMagic) * 0x1p48) + kMagic;
    const std::int64_t low = limbs[0] + to_integer(lower);
    const std::int64_t middle = limbs[1] + to_integer(upper) + (low >> kLimbBits);
    limbs[0] = low & kMask;
    limbs[1] = middle & kMask;
    limbs[2] += middle >> kLimbBits;
}

// Borders of column ranges with about the same number of values each, by a sample of them.
template <class T>
std::vector<std::int64_t> column_borders(CsrMatrix<T> x, int n_thread) {
    const std::int64_t n_values = x.starts[x.n_rows];
    const std::int64_t step = std::max<std::int64_t>(1, n_values / kSampledColumns);
    std::vector<std::int32_t> sample;
    for (std::int64_t at = 0; at < n_values; at += step) sample.push_back(x.columns[at]);
    std::sort(sample.begin(), sample.end());
    std::vector<std::int64_t> borders(n_thread + 1, 0);
    for (int t = 1; t < n_thread; ++t) borders[t] = sample[sample.size() * t / n_thread];
    borders[n_thread] = x.n_columns;
    return borders;
}

// The rows that changed their cluster and had one (in `labels`), cluster by cluster: so long the
// sums they go to stay in the cache.
std::vector<std::int64_t> changed_rows(const std::int32_t* from, const std::int32_t* to,
                                       std::int64_t n_rows, const std::int32_t* labels,
                                       std::int64_t n_clusters) {
    std::vector<std::int64_t> next(n_clusters + 1);
    const auto counts = [&](std::int64_t i) { return from[i] != to[i] && labels[i] >= 0; };
    for (std::int64_t i = 0; i < n_rows; ++i) {
        if (counts(i)) ++next[labels[i] + 1];
    }
    std::partial_sum(next.begin(), next.end(), next.begin());
    std::vector<std::int64_t> rows(next.back());
    for (std::int64_t i = 0; i < n_rows; ++i) {
        if (counts(i)) rows[next[labels[i]]++] = i;
    }
    return rows;
}

// Rows come in the order of their clusters, which no prefetcher foresees.
template <class T>
void fetch_row(CsrMatrix<T> x, std::int64_t i) noexcept {
    constexpr std::int64_t kLine = 64;
    for (std::int64_t at = x.starts[i]; at < x.starts[i + 1]; at += kLine / sizeof(std::int32_t)) {
        __builtin_prefetch(x.columns + at);
    }
    for (std::int64_t at = x.starts[i]; at < x.starts[i + 1]; at += kLine / sizeof(T)) {
        __builtin_prefetch(x.values + at);
    }
}

// Adds what the rows hold in columns [first, last) to the sums of their labels, or takes it out.
template <class T>
void add_columns(CsrMatrix<T> x, const std::vector<std::int64_t>& rows, const std::int32_t* labels,
                 bool take_out, const std::int32_t* exponents, std::int64_t first,
                 std::int64_t last, std::int64_t* limbs) noexcept {
    for (std::size_t at = 0; at < rows.size(); ++at) {
        if (at + 2 < rows.size()) fetch_row(x, rows[at + 2]);
        const std::int64_t i = rows[at];
        const std::int32_t* begin = x.columns + x.starts[i];
        const std::int32_t* end = x.columns + x.starts[i + 1];
        if (first > 0) begin = std::lower_bound(begin, end, first);
        if (last < x.n_columns) end = std::lower_bound(begin, end, last);
        std::int64_t* const sums = limbs + kSumLimbs * (labels[i] * x.n_columns);
        for (const std::int32_t* column = begin; column < end; ++column) {
            if (column + kAhead < end) {
                const std::int64_t* next = sums + kSumLimbs * column[kAhead];
                __builtin_prefetch(next, 1);
                __builtin_prefetch(next + kSumLimbs - 1, 1);
            }
            const double value = static_cast<double>(x.values[column - x.columns]);
            add(sums + kSumLimbs * *column, take_out ? -value : value, exponents[*column]);
        }
    }
}

}  // namespace

template <class T>
Status sparse_move(CsrMatrix<T> x, const std::int32_t* from, const std::int32_t* to,
                   const std::int32_t* exponents, std::int64_t n_clusters, int n_thread,
                   std::int64_t* limbs, std::int64_t* counts) noexcept {
    return guarded([&]() -> Status {
        const std::vector<std::int64_t> left = changed_rows(from, to, x.n_rows, from, n_clusters);
        const std::vector<std::int64_t> come = changed_rows(from, to, x.n_rows, to, n_clusters);
        std::int64_t n_values = 0;
        for (const std::int64_t i : left) --counts[from[i]];
        for (const std::int64_t i : come) {
            ++counts[to[i]];
            n_values += x.starts[i + 1] - x.starts[i];
        }
        if (n_values == 0) return Status::ok;
        n_thread = useful_threads(n_values, kValuesPerThread, n_thread);
        const std::vector<std::int64_t> borders = column_borders(x, n_thread);
        run_on_threads(n_thread, [&](int share) {
            const std::int64_t first = borders[share], last = borders[share + 1];
            add_columns(x, left, from, true, exponents, first, last, limbs);
            add_columns(x, come, to, false, exponents, first, last, limbs);
        });
        return Status::ok;
    });
}

template Status sparse_move<float>(CsrMatrix<float>, const std::int32_t*, const std::int32_t*,
                                   const std::int32_t*, std::int64_t, int, std::int64_t*,
                                   std::int64_t*) noexcept;
template Status sparse_move<double>(CsrMatrix<double>, const std::int32_t*, const std::int32_t*,
                                    const std::int32_t*, std::int64_t, int, std::int64_t*,
                                    std::int64_t*) noexcept;

}  // namespace harpy::kmeans
