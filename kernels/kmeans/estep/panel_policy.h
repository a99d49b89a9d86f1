// When the E-step for many centers keeps bounds, and when it gives them up: decisions only. What
// they rest on is measured elsewhere and passed in, seconds included.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace harpy::kmeans {

class PanelPolicy {
  public:
    // work: multiply-adds that an exhaustive scan takes for a row.
    explicit PanelPolicy(double work) noexcept : work_(work) {}

    // Before a call: whether to begin at the rows' old centers, which moved so far on average.
    // Where that did not pay, it is tried again when the moves have halved.
    bool prefers_near(double mean_move) noexcept {
        mean_move_ = mean_move;
        if (bounded_) return true;
        if (failed_move_ > 0) return mean_move_ < 0.5 * failed_move_;
        return mean_move_ < kSlowMove * std::min(1.0, work_ / kMuchWork) * mean_distance_;
    }

    // After a call that scanned all centers for all rows; mean_distance: of a row to its center.
    void scanned(double seconds, double mean_distance) noexcept {
        mean_distance_ = mean_distance;
        exhaustive_seconds_ = std::min(exhaustive_seconds_, seconds);
    }

    // After a call that began at the old centers: the first one starts the bounds, the others used
    // them; kept_by_gap: the share of the rows that only the gap around their center kept.
    void searched_near(double seconds, double kept_by_gap) noexcept {
        lost_seconds_ = bounded_ ? std::max(0.0, lost_seconds_ + seconds - exhaustive_seconds_) : 0;
        const bool paid = lost_seconds_ < kMaxLost * exhaustive_seconds_;
        if (!paid) failed_move_ = mean_move_;
        if (bounded_) with_gaps_ = kept_by_gap > kLeastKeptByGap;
        bounded_ = paid;
    }

    // Bounds hold for the centers of the last call.
    bool bounded() const noexcept { return bounded_; }
    // Whether the gaps between centers are worth measuring.
    bool measures_gaps() const noexcept { return with_gaps_ || !bounded_; }
    double mean_distance() const noexcept { return mean_distance_; }

  private:
    // Bounds are worth starting when centers move less than this share of a row's distance, where
    // an exhaustive scan is so much work; with less work, proportionally later.
    static constexpr double kSlowMove = 0.03, kMuchWork = 75000;
    // They are given up when they have cost so much of such a scan more than they saved.
    static constexpr double kMaxLost = 0.5;
    static constexpr double kLeastKeptByGap = 0.05;

    double work_;
    bool bounded_ = false, with_gaps_ = true;
    double mean_move_ = 0, failed_move_ = 0, mean_distance_ = 0;
    double lost_seconds_ = 0;  // by bounds that did not pay, less what they saved since
    double exhaustive_seconds_ = std::numeric_limits<double>::infinity();  // the quickest so far
};

}  // namespace harpy::kmeans
