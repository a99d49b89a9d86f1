// How rows are shared out among threads, and how allocation failures become a Status.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

#include "float_environment.h"
#include "kmeans.h"

namespace harpy::kmeans {

constexpr std::int64_t kBlockRows = 64;
// More threads than this is a slip of the caller, and libgomp would end the process.
constexpr int kMaxThreads = 1024;

inline std::int64_t count_blocks(std::int64_t n_rows, std::int64_t block_rows) noexcept {
    return n_rows / block_rows + (n_rows % block_rows != 0);
}

// Threads worth starting for n_rows: never more than there are blocks.
inline int useful_threads(std::int64_t n_rows, std::int64_t block_rows, int n_thread) noexcept {
    const std::int64_t blocks = std::max<std::int64_t>(1, count_blocks(n_rows, block_rows));
    return static_cast<int>(std::min<std::int64_t>(blocks, std::clamp(n_thread, 1, kMaxThreads)));
}

// Calls body(thread, begin, end) for consecutive blocks of rows. `body` must not throw: allocate
// before. n_thread must come from useful_threads.
template <class Body>
void for_row_blocks(std::int64_t n_rows, std::int64_t block_rows, int n_thread, const Body& body) {
    const std::int64_t n_blocks = count_blocks(n_rows, block_rows);
#pragma omp parallel num_threads(n_thread)
    {
        const FloatEnvironment environment;
        const int thread = omp_get_thread_num();
#pragma omp for schedule(static)
        for (std::int64_t block = 0; block < n_blocks; ++block) {
            const std::int64_t begin = block * block_rows;
            body(thread, begin, std::min(n_rows, begin + block_rows));
        }
    }
}

// Product of sizes, or false where it does not fit.
inline bool checked_product(std::int64_t a, std::int64_t b, std::int64_t* product) noexcept {
    return !__builtin_mul_overflow(a, b, product) && *product <= INT64_MAX / 64;
}

// Runs work() and turns what allocation throws into a Status: nothing leaves the kernels.
template <class Work>
Status guarded(const Work& work) noexcept {
    try {
        return work();
    } catch (const std::exception&) {
        return Status::out_of_memory;
    }
}

}  // namespace harpy::kmeans
