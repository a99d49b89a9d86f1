// One thread's rows on their way through the E-step for many centers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "estep/prefilter.h"
#include "isa/lane_kernels.h"
#include "threads/buffer.h"

namespace harpy::kmeans {

// A thread that has of late prefiltered so many more rows in vain than others stops that for the
// call.
constexpr std::int64_t kPrefilteredInVain = 480;

template <class T>
struct PanelBatch {
    PanelBatch(std::int64_t d, int scan_rows, int thread)
        : thread(thread),
          capacity(rows_at_once(d)),
          stride(row_stride(d)),
          columns(d * scan_rows) {}

    // What the prefilter needs.
    void prepare_prefilter(const PrefilterKernels<T>& kernels, std::int64_t d, int scan_rows) {
        prefiltered = std::make_unique<PrefilterBlock<T>>(kernels, d, kMaxGroups);
        uncertain = Buffer<T>(scan_rows * d);
    }

    // What a search near the old centers needs.
    void prepare_near(std::int64_t n_panels, int lanes, int n_groups) {
        rows = Buffer<std::int64_t>(capacity);
        x = Buffer<T>(capacity * stride);
        squared = Buffer<T>(capacity);
        best = Buffer<T>(capacity);
        slots = Buffer<std::int32_t>(capacity);
        best_scores = Buffer<T>(capacity * lanes);
        best_panel = Buffer<std::int32_t>(capacity);
        second = Buffer<T>(capacity);
        group_low = Buffer<T>(capacity * n_groups);
        lower = Buffer<float>(capacity * n_groups);
        n_in_reach = Buffer<std::int32_t>(capacity);
        waiting = Buffer<std::int32_t>(n_panels * capacity);
        n_waiting.assign(n_panels, 0);
        to_prefilter.reserve(capacity);
        in_reach.resize(capacity);
    }

    void count_prefiltered(bool certain) noexcept {
        n_in_vain = certain ? std::max(n_in_vain - 1, -kPrefilteredInVain) : n_in_vain + 1;
    }
    bool prefilters() const noexcept {
        return prefiltered != nullptr && n_in_vain < kPrefilteredInVain;
    }

    // Rows less the offset that a thread works on at a time should stay in its second-level cache,
    // and come in whole blocks of the prefilter.
    static constexpr std::int64_t kBytes = 256 << 10, kMaxRows = 480, kLeastRows = 144;
    static std::int64_t rows_at_once(std::int64_t d) noexcept {
        const std::int64_t rows = kBytes / static_cast<std::int64_t>(sizeof(T)) / d;
        return std::clamp(rows / kMaxScanRows * kMaxScanRows, kLeastRows, kMaxRows);
    }

    // Values from one row to the next. Rows a multiple of kCrowded bytes apart would share a few
    // lines of the first-level cache among them.
    static std::int64_t row_stride(std::int64_t d) noexcept {
        constexpr std::int64_t kCrowded = 2048, kLine = 64;
        const std::int64_t value_bytes = sizeof(T);
        return d * value_bytes % kCrowded == 0 ? d + kLine / value_bytes : d;
    }

    int thread;
    std::int64_t capacity, stride, n_rows = 0;
    Buffer<T> columns;  // of an exhaustive search

    // Of the prefilter: rows that are still to be searched, and their numbers.
    std::unique_ptr<PrefilterBlock<T>> prefiltered;
    std::int64_t n_in_vain = 0;  // rows prefiltered in vain less others, of late
    Buffer<T> uncertain;
    std::int64_t uncertain_rows[kMaxScanRows];
    std::int64_t n_uncertain = 0;

    // Of a search near the old centers.
    Buffer<std::int64_t> rows;
    Buffer<T> x, squared, best;
    Buffer<std::int32_t> slots;
    Buffer<T> best_scores, second, group_low;
    Buffer<std::int32_t> best_panel;
    Buffer<float> lower;              // (capacity, n_groups) bounds from before
    Buffer<std::int32_t> n_in_reach;  // groups
    Buffer<std::int32_t> waiting;     // (n_panels, capacity): rows to search a panel for
    std::vector<std::int32_t> n_waiting;
    std::vector<std::int32_t> to_prefilter;  // rows
    std::vector<std::uint64_t> in_reach;     // (capacity) groups

    // Of the call in progress.
    std::int64_t n_changed = 0, n_kept_by_gap = 0;
    double distances = 0;  // of n_measured rows to their centers
    std::int64_t n_measured = 0;
};

}  // namespace harpy::kmeans
