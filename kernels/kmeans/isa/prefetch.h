// Rows on their way from memory while others are at work. In an unnamed namespace, as all that is
// compiled once per instruction set.
#pragma once

#include <cstdint>

namespace harpy::kmeans {
namespace {

// Brings a line into the second-level cache: what goes to the first at once occupies the few places
// for its misses, and the work waits for one.
inline void prefetch_line(const void* address) { __builtin_prefetch(address, 0, 2); }

// About what memory delivers within its own latency.
constexpr std::int64_t kBytesAhead = 4096;

// Of a very long row the first lines set the hardware going.
template <class T>
inline void prefetch_row(const T* row, std::int64_t d) {
    const std::int64_t bytes = d * static_cast<std::int64_t>(sizeof(T));
    const char* line = reinterpret_cast<const char*>(row);
    for (std::int64_t at = 0; at < bytes && at < kBytesAhead; at += 64) prefetch_line(line + at);
}

// Rows between those at work and one that is prefetched meanwhile.
template <class T>
inline std::int64_t rows_ahead(std::int64_t d) {
    return kBytesAhead / (d * static_cast<std::int64_t>(sizeof(T)) + 1);
}

}  // namespace
}  // namespace harpy::kmeans
