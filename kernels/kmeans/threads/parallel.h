// How rows are shared out among threads, and how allocation failures become a Status.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>

#include "kmeans.h"
#include "threads/threads.h"

namespace harpy::kmeans {

constexpr std::int64_t kBlockRows = 64;

inline std::int64_t count_blocks(std::int64_t n_rows, std::int64_t block_rows) noexcept {
    return n_rows / block_rows + (n_rows % block_rows != 0);
}

// Threads worth starting for n_rows: never more than there are blocks.
inline int useful_threads(std::int64_t n_rows, std::int64_t block_rows, int n_thread) noexcept {
    const std::int64_t blocks = std::max<std::int64_t>(1, count_blocks(n_rows, block_rows));
    return static_cast<int>(std::min<std::int64_t>(blocks, std::clamp(n_thread, 1, kMaxThreads)));
}

struct RowRange {
    std::int64_t begin, end;
};

// The rows of one thread: consecutive ones, the same for every kernel that is given as many rows
// and threads, so that they are in the caches of the core that had them before. Ranges begin at
// multiples of unit_rows: with kBlockRows, where an array of one value a row begins at a cache
// line, no two threads write to the same line.
inline RowRange own_rows(std::int64_t n_rows, int n_thread, int thread,
                         std::int64_t unit_rows = kBlockRows) noexcept {
    const std::int64_t n_units = count_blocks(n_rows, unit_rows);
    // The first n_units % n_thread threads have one unit more.
    const auto bound = [&](std::int64_t before) {
        const std::int64_t units =
            n_units / n_thread * before + std::min(n_units % n_thread, before);
        return std::min(n_rows, units * unit_rows);
    };
    return {bound(thread), bound(thread + 1)};
}

// Calls body(thread, begin, end) for the consecutive blocks of each thread's own rows: block_rows
// long but for the last one of each thread. `body` must not throw: allocate before. n_thread must
// come from useful_threads.
template <class Body>
void for_row_blocks(std::int64_t n_rows, std::int64_t block_rows, int n_thread,
                    const Body& body) noexcept {
    run_on_threads(n_thread, [&](int thread) {
        const RowRange own = own_rows(n_rows, n_thread, thread, std::min(block_rows, kBlockRows));
        for (std::int64_t begin = own.begin; begin < own.end; begin += block_rows) {
            body(thread, begin, std::min(own.end, begin + block_rows));
        }
    });
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
