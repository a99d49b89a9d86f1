// What has to be known of compressed sparse rows before anything else: their order and ranges.
#include "sparse/sparse_rows.h"

#include <cmath>
#include <limits>
#include <vector>

#include "sparse/sparse.h"

namespace harpy::kmeans {

CsrFault find_csr_fault(const std::int32_t* columns, std::int64_t n_values,
                        const std::int64_t* starts, std::int64_t n_rows, std::int64_t n_columns,
                        std::int64_t* row) noexcept {
    *row = 0;
    if (starts[0] != 0) return CsrFault::starts;
    for (std::int64_t i = 0; i < n_rows; ++i) {
        *row = i;
        if (starts[i + 1] < starts[i] || starts[i + 1] > n_values) return CsrFault::starts;
        std::int64_t last = -1;
        for (std::int64_t at = starts[i]; at < starts[i + 1]; ++at) {
            if (columns[at] < 0 || columns[at] >= n_columns) return CsrFault::column;
            if (columns[at] <= last) return CsrFault::order;
            last = columns[at];
        }
    }
    return starts[n_rows] == n_values ? CsrFault::none : CsrFault::starts;
}

template <class T>
Status sparse_column_ranges(CsrMatrix<T> x, int n_thread, double* absmax,
                            std::int64_t* first_bad) noexcept {
    return guarded([&]() -> Status {
        constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
        const SparseShares shares(x, n_thread);
        std::vector<std::vector<T>> part(shares.n_thread(), std::vector<T>(x.n_columns));
        std::vector<std::int64_t> bad(shares.n_thread(), kNone);
        shares.for_blocks(x.n_rows, [&](int thread, std::int64_t begin, std::int64_t end) {
            T* largest = part[thread].data();
            for (std::int64_t at = x.starts[begin]; at < x.starts[end]; ++at) {
                const T magnitude = std::fabs(x.values[at]);
                // Also false for NaN: a comparison with it never holds.
                if (magnitude <= std::numeric_limits<T>::max()) {
                    largest[x.columns[at]] = std::max(largest[x.columns[at]], magnitude);
                } else {
                    bad[thread] = std::min(bad[thread], at);
                }
            }
        });
        const FloatEnvironment environment;
        std::fill(absmax, absmax + x.n_columns, 0.0);
        for (const std::vector<T>& values : part) {
            for (std::int64_t j = 0; j < x.n_columns; ++j) {
                absmax[j] = std::max(absmax[j], static_cast<double>(values[j]));
            }
        }
        const std::int64_t first = *std::min_element(bad.begin(), bad.end());
        *first_bad = first == kNone ? -1 : first;
        return Status::ok;
    });
}

template Status sparse_column_ranges<float>(CsrMatrix<float>, int, double*, std::int64_t*) noexcept;
template Status sparse_column_ranges<double>(CsrMatrix<double>, int, double*,
                                             std::int64_t*) noexcept;

}  // namespace harpy::kmeans
