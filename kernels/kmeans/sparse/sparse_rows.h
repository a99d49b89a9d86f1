// How compressed sparse rows are shared out among threads: by what they hold.
#pragma once

#include <algorithm>
#include <cstdint>

#include "sparse/sparse.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

// Each thread owns consecutive rows with about the same number of values; a row itself counts as
// one more.
class SparseShares {
  public:
    template <class T>
    SparseShares(const CsrMatrix<T>& x, int n_thread) noexcept
        : starts_(x.starts),
          n_rows_(x.n_rows),
          n_thread_(useful_threads(work_before(x.n_rows), kLeastWork, n_thread)) {}

    int n_thread() const noexcept { return n_thread_; }

    // Calls body(thread, begin, end) for each thread's rows, at most block_rows at a time.
    template <class Body>
    void for_blocks(std::int64_t block_rows, const Body& body) const {
        run_on_threads(n_thread_, [&](int thread) {
            const std::int64_t end = border(thread + 1);
            for (std::int64_t i = border(thread); i < end; i += block_rows) {
                body(thread, i, std::min(end, i + block_rows));
            }
        });
    }

  private:
    // In values: what a row costs without any, and what is worth a thread.
    static constexpr std::int64_t kRowWork = 16, kLeastWork = 1 << 14;

    std::int64_t work_before(std::int64_t row) const noexcept {
        return starts_[row] + kRowWork * row;
    }
    std::int64_t border(std::int64_t share) const noexcept {
        const std::int64_t total = work_before(n_rows_);
        const std::int64_t wanted =
            static_cast<std::int64_t>(static_cast<__int128>(total) * share / n_thread_);
        std::int64_t low = 0, high = n_rows_;
        while (low < high) {
            const std::int64_t middle = low + (high - low) / 2;
            if (work_before(middle) < wanted) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    const std::int64_t* starts_;
    std::int64_t n_rows_;
    int n_thread_;
};

}  // namespace harpy::kmeans
