// Exact sums of compressed sparse rows, updated by the rows that changed their cluster. Integers
// commute, so each thread owns some of the sums, and the totals exist only once.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "isa/prefetch.h"
#include "sparse/sparse.h"
#include "sparse/sparse_rows.h"
#include "sums/exact_sums.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

constexpr std::int64_t kValuesPerThread = 1 << 13;
constexpr std::int64_t kSampledColumns = 1024;
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

// The rows that changed their cluster and had one (in `labels`), cluster by cluster: so long its
// sums stay in the cache.
struct ChangedRows {
    const int sign;  // 1: rows that come; -1: rows that leave
    const std::int32_t* const labels;
    std::vector<std::int64_t> starts, rows;  // of cluster c: rows[starts[c], starts[c + 1])

    ChangedRows(int sign, const std::int32_t* from, const std::int32_t* to, std::int64_t n_rows,
                std::int64_t n_clusters)
        : sign(sign), labels(sign < 0 ? from : to), starts(n_clusters + 2) {
        std::vector<std::int64_t> changed;
        for (std::int64_t i = 0; i < n_rows; ++i) {
            if (from[i] != to[i] && labels[i] >= 0) changed.push_back(i);
        }
        // One place further on: filling the rows moves each start to where it belongs.
        for (const std::int64_t i : changed) ++starts[labels[i] + 2];
        std::partial_sum(starts.begin(), starts.end(), starts.begin());
        rows.resize(changed.size());
        for (const std::int64_t i : changed) rows[starts[labels[i] + 1]++] = i;
    }
};

// Where a share of the sums begins: they are ordered by cluster, then by column.
struct SumsBorder {
    std::int64_t cluster, column;
};

// Borders of shares that as many values are added to, as far as a sample of their columns tells;
// n_values (n_clusters): how many of all `total` each cluster's sums are given.
template <class T>
std::vector<SumsBorder> share_sums(CsrMatrix<T> x, const std::vector<std::int64_t>& n_values,
                                   std::int64_t total, int n_thread) {
    const auto n_clusters = static_cast<std::int64_t>(n_values.size());
    const std::int64_t step = std::max<std::int64_t>(1, x.starts[x.n_rows] / kSampledColumns);
    std::vector<std::int32_t> sample;
    for (std::int64_t at = 0; at < x.starts[x.n_rows]; at += step) {
        sample.push_back(x.columns[at]);
    }
    std::sort(sample.begin(), sample.end());
    std::vector<SumsBorder> borders(n_thread + 1, {0, 0});
    std::int64_t cluster = 0, before = 0;
    for (int t = 1; t < n_thread; ++t) {
        const std::int64_t wanted = total / n_thread * t;
        while (before + n_values[cluster] <= wanted) before += n_values[cluster++];
        const double part = static_cast<double>(wanted - before) / n_values[cluster];
        borders[t] = {cluster, sample[static_cast<std::size_t>(part * sample.size())]};
    }
    borders[n_thread] = {n_clusters, 0};
    return borders;
}

// Rows come in the order of their clusters, which no prefetcher foresees.
template <class T>
void prefetch_sparse_row(CsrMatrix<T> x, std::int64_t i) noexcept {
    const std::int64_t start = x.starts[i], n = x.starts[i + 1] - start;
    prefetch_row(x.columns + start, n);
    prefetch_row(x.values + start, n);
}

// Adds what a cluster's changed rows hold in columns [first, last) to its sums (n_columns,
// kSumLimbs), times their sign.
template <class T>
void add_columns(CsrMatrix<T> x, const ChangedRows& changed, std::int64_t cluster,
                 const std::int32_t* exponents, std::int64_t first, std::int64_t last,
                 std::int64_t* sums) noexcept {
    const std::int64_t* row = changed.rows.data() + changed.starts[cluster];
    const std::int64_t* const end_row = changed.rows.data() + changed.starts[cluster + 1];
    for (; row < end_row; ++row) {
        if (row + 2 < end_row) prefetch_sparse_row(x, row[2]);
        const std::int32_t* begin = x.columns + x.starts[*row];
        const std::int32_t* end = x.columns + x.starts[*row + 1];
        if (first > 0) begin = std::lower_bound(begin, end, first);
        if (last < x.n_columns) end = std::lower_bound(begin, end, last);
        for (const std::int32_t* column = begin; column < end; ++column) {
            if (column + kAhead < end) {
                const std::int64_t* next = sums + kSumLimbs * column[kAhead];
                __builtin_prefetch(next, 1);
                __builtin_prefetch(next + kSumLimbs - 1, 1);
            }
            const double value = changed.sign * static_cast<double>(x.values[column - x.columns]);
            add(sums + kSumLimbs * *column, value, exponents[*column]);
        }
    }
}

}  // namespace

template <class T>
Status sparse_move(CsrMatrix<T> x, const std::int32_t* from, const std::int32_t* to,
                   const std::int32_t* exponents, std::int64_t n_clusters, int n_thread,
                   std::int64_t* limbs, std::int64_t* counts) noexcept {
    return guarded([&]() -> Status {
        const ChangedRows kinds[] = {{-1, from, to, x.n_rows, n_clusters},
                                     {1, from, to, x.n_rows, n_clusters}};
        std::vector<std::int64_t> n_values(n_clusters);
        std::int64_t total = 0;
        for (const ChangedRows& changed : kinds) {
            for (const std::int64_t i : changed.rows) {
                const std::int64_t n = x.starts[i + 1] - x.starts[i];
                counts[changed.labels[i]] += changed.sign;
                n_values[changed.labels[i]] += n;
                total += n;
            }
        }
        if (total == 0) return Status::ok;
        n_thread = useful_threads(total, kValuesPerThread, n_thread);
        const std::vector<SumsBorder> borders = share_sums(x, n_values, total, n_thread);
        run_on_threads(n_thread, [&](int share) {
            const SumsBorder begin = borders[share], end = borders[share + 1];
            for (std::int64_t c = begin.cluster; c < n_clusters && c <= end.cluster; ++c) {
                const std::int64_t first = c == begin.cluster ? begin.column : 0;
                const std::int64_t last = c == end.cluster ? end.column : x.n_columns;
                std::int64_t* const sums = limbs + kSumLimbs * c * x.n_columns;
                for (const ChangedRows& changed : kinds) {
                    add_columns(x, changed, c, exponents, first, last, sums);
                }
            }
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
