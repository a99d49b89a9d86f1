// Greedy k-means++ over one worker's rows: what each candidate would gain, keeping one of them, and
// the exact running sums by which the next are drawn. All sums are integers: no order matters.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "distance/padded_centers.h"
#include "isa/lane_kernels.h"
#include "kmeans.h"
#include "sums/exact_sums.h"
#include "threads/buffer.h"
#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

// Rows looked through at a time, and measured at a time.
constexpr std::int64_t kScanRows = 1024;
constexpr std::int64_t kBatchRows = 256;
// What is read twice stays in the second-level cache meanwhile.
constexpr std::int64_t kBatchBytes = std::int64_t{1} << 18;
// Below this squared distance underflow could spoil the relative error that pruning counts on.
constexpr double kLeastReach = 0x1p-900;

struct Units {
    explicit Units(const Potentials& potentials) noexcept {
        const int power = 61 - std::max(potentials.exponent, kLeastExponent);
        scale = {std::ldexp(1.0, power / 2), std::ldexp(1.0, power - power / 2)};
        top = std::ldexp(1.0, potentials.exponent);
    }
    static constexpr int kLeastExponent = -1022;
    UnitScale scale;
    double top;  // the least potential of the largest one's exponent
};

// One thread's share of Potentials' total and n_top.
struct alignas(kCacheLine) Sum {
    Wide total = 0;
    std::int64_t n_top = 0;
};

double weight_of(const Potentials& potentials, std::int64_t row) noexcept {
    return potentials.weights == nullptr ? 1.0 : potentials.weights[row];
}

double weighted(const Potentials& potentials, std::int64_t row) noexcept {
    return weight_of(potentials, row) * potentials.values[row];
}

// reach[a]: no candidate lowers a row whose closest center is a and whose potential is at most
// this. docs/numerics.md has the proof.
template <class T>
std::vector<double> measure_reach(const LaneKernels* lanes, Matrix<T> centers,
                                  const PaddedCenters& candidates, std::int64_t n_candidates,
                                  int n_thread) {
    const double slack = 1.0 + std::ldexp(static_cast<double>(centers.n_columns + 16), -50);
    std::vector<double> reach(centers.n_rows);
    for_row_blocks(centers.n_rows, kBatchRows, useful_threads(centers.n_rows, kBatchRows, n_thread),
                   [&](int, std::int64_t begin, std::int64_t end) {
                       double squares[kBatchRows * kMaxCandidates];
                       row_kernels<T>(*lanes).distance.to_all(
                           centers.data + begin * centers.n_columns, centers.n_columns, nullptr,
                           end - begin, candidates.data(), candidates.stride(), n_candidates,
                           nullptr, squares, kMaxCandidates);
                       for (std::int64_t a = begin; a < end; ++a) {
                           const double* square = squares + (a - begin) * kMaxCandidates;
                           const double least = *std::min_element(square, square + n_candidates);
                           reach[a] = least < kLeastReach ? 0.0 : least / (4.0 * slack);
                       }
                   });
    return reach;
}

// Candidates as rows are measured against before their distances are: once there are as many
// centers as candidates, fewer rows are nearer to one of these than to their own center.
template <class T>
class NearCandidates {
  public:
    NearCandidates(const LaneKernels* lanes, Matrix<T> candidates, std::int64_t n_centers)
        : keep_near_(row_kernels<T>(*lanes).distance.keep_near), d_(candidates.n_columns) {
        if (n_centers < candidates.n_rows || d_ < kLeastColumns) keep_near_ = nullptr;
        if (keep_near_ == nullptr) return;
        stride_ = 16 * count_blocks(d_, 16);
        n_ = candidates.n_rows <= 4 ? 4 : 8 * count_blocks(candidates.n_rows, 8);
        values_ = Buffer<T>(n_ * stride_);
        for (std::int64_t c = 0; c < n_; ++c) {
            const std::int64_t from = std::min(c, candidates.n_rows - 1);
            T* const end = std::copy_n(candidates.data + from * d_, d_, &values_[c * stride_]);
            std::fill(end, &values_[c * stride_] + stride_, T{0});
        }
    }

    // Rows to be tested and measured at a time.
    std::int64_t batch_rows() const noexcept {
        if (keep_near_ == nullptr) return kBatchRows;
        const auto row_bytes = d_ * static_cast<std::int64_t>(sizeof(T));
        return std::clamp<std::int64_t>(kBatchBytes / row_bytes, 16, kScanRows);
    }

    // Leaves out rows that no candidate lowers; returns how many are left.
    std::int64_t keep(const T* x, std::int32_t* rows, std::int64_t n_rows,
                      const double* potentials) const noexcept {
        if (keep_near_ == nullptr) return n_rows;
        constexpr double kUnit = std::numeric_limits<T>::epsilon();
        const double n_roundings = static_cast<double>(d_ + 8);
        T limits[kScanRows];
        for (std::int64_t i = 0; i < n_rows; ++i) {
            const double limit = potentials[rows[i]] * (1.0 + n_roundings * kUnit) +
                                 n_roundings * std::numeric_limits<T>::min() * kUnit;
            limits[i] = static_cast<T>(limit * (1.0 + kUnit));
        }
        return keep_near_(x, d_, rows, n_rows, values_.data(), stride_, n_, limits);
    }

  private:
    static constexpr std::int64_t kLeastColumns = 64;
    decltype(DistanceKernels<T>::keep_near) keep_near_;
    std::int64_t d_, stride_ = 0, n_ = 0;
    Buffer<T> values_;
};

// Lists which of n bytes have a bit of the mark; few do once there are many centers.
std::int64_t list_marked(const std::uint8_t* bytes, std::int64_t n, int mark,
                         std::int32_t* listed) {
    const std::uint64_t marks = 0x0101010101010101u * static_cast<std::uint64_t>(mark);
    std::int64_t n_listed = 0;
    for (std::int64_t begin = 0; begin < n; begin += 8) {
        const std::int64_t end = std::min(begin + 8, n);
        std::uint64_t eight = 0;
        std::memcpy(&eight, bytes + begin, end - begin);
        if ((eight & marks) == 0) continue;
        for (std::int64_t i = begin; i < end; ++i) {
            listed[n_listed] = static_cast<std::int32_t>(i);
            n_listed += (bytes[i] & mark) != 0;
        }
    }
    return n_listed;
}

}  // namespace

template <class T>
Status start_potentials(const LaneKernels* lanes, Matrix<T> x, Matrix<T> center, int n_thread,
                        Potentials* potentials) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        const PaddedCenters padded(center);
        for_row_blocks(x.n_rows, kPotentialRows, useful_threads(x.n_rows, kPotentialRows, n_thread),
                       [&](int, std::int64_t begin, std::int64_t end) {
                           row_kernels<T>(*lanes).distance.to_own(
                               x.data + begin * x.n_columns, end - begin, x.n_columns,
                               padded.data(), padded.stride(), nullptr, potentials->values + begin);
                           std::fill(potentials->closest + begin, potentials->closest + end, 0);
                       });
        return Status::ok;
    });
}

Status largest_potential(const Potentials& potentials, int n_thread, double* largest) noexcept {
    return guarded([&]() -> Status {
        n_thread = useful_threads(potentials.n_rows, kPotentialRows, n_thread);
        std::vector<double> parts(n_thread);
        for_row_blocks(potentials.n_rows, kPotentialRows, n_thread,
                       [&](int thread, std::int64_t begin, std::int64_t end) {
                           double most = parts[thread];
                           for (std::int64_t i = begin; i < end; ++i) {
                               most = std::max(most, weighted(potentials, i));
                           }
                           parts[thread] = most;
                       });
        *largest = *std::max_element(parts.begin(), parts.end());
        return Status::ok;
    });
}

Status quantise_potentials(int exponent, int n_thread, Potentials* potentials) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        potentials->exponent = exponent;
        const Units units(*potentials);
        n_thread = useful_threads(potentials->n_rows, kPotentialRows, n_thread);
        std::vector<Sum> sums(n_thread);
        for_row_blocks(
            potentials->n_rows, kPotentialRows, n_thread,
            [&](int thread, std::int64_t begin, std::int64_t end) {
                Wide block = 0;
                for (std::int64_t i = begin; i < end; ++i) {
                    const double value = weighted(*potentials, i);
                    block += units.scale(value);
                    sums[thread].n_top += value >= units.top;
                }
                store_limbs(block, potentials->block_sums + kSumLimbs * (begin / kPotentialRows));
                sums[thread].total += block;
            });
        Wide total = 0;
        potentials->n_top = 0;
        for (const Sum& sum : sums) {
            total += sum.total;
            potentials->n_top += sum.n_top;
        }
        store_limbs(total, potentials->total);
        return Status::ok;
    });
}

template <class T>
Status candidate_gains(const LaneKernels* lanes, Matrix<T> x, Matrix<T> centers,
                       Matrix<T> candidates, int n_thread, const Potentials& potentials,
                       std::int64_t* limbs) noexcept {
    return guarded([&]() -> Status {
        if (candidates.n_rows > kMaxCandidates) return Status::too_large;
        const FloatEnvironment environment;
        const std::int64_t d = x.n_columns, n_candidates = candidates.n_rows;
        const std::int64_t stride = 8 * count_blocks(n_candidates, 8);
        const PaddedCenters padded(candidates);
        const Units units(potentials);
        // Measuring the centers must not cost what it may save.
        const std::vector<double> reach =
            centers.n_rows <= x.n_rows / 4
                ? measure_reach(lanes, centers, padded, n_candidates, n_thread)
                : std::vector<double>(centers.n_rows);

        const NearCandidates<T> near(lanes, candidates, centers.n_rows);

        struct alignas(kCacheLine) Part {
            std::vector<double> distances;
            std::int64_t low[kMaxCandidates] = {}, high[kMaxCandidates] = {};
        };
        n_thread = useful_threads(x.n_rows, kScanRows, n_thread);
        std::vector<Part> parts(n_thread);
        for (Part& part : parts) part.distances.resize(kBatchRows * stride);
        const auto add_batch = [&](Part& part, const T* block, std::int64_t begin,
                                   const std::int32_t* rows, std::int64_t n) {
            double values[kBatchRows], weights[kBatchRows];
            std::uint8_t lowered[kBatchRows];
            for (std::int64_t i = 0; i < n; ++i) {
                values[i] = potentials.values[begin + rows[i]];
                weights[i] = weight_of(potentials, begin + rows[i]);
            }
            row_kernels<T>(*lanes).distance.to_all(block, d, rows, n, padded.data(),
                                                   padded.stride(), n_candidates, values,
                                                   part.distances.data(), stride);
            lanes->values.add_gains(part.distances.data(), n, stride,
                                    static_cast<int>(n_candidates), values, weights, units.scale,
                                    part.low, part.high, lowered);
            for (std::int64_t i = 0; i < n; ++i) potentials.lowered[begin + rows[i]] = lowered[i];
            if (potentials.distances == nullptr) return;
            for (std::int64_t i = 0; i < n; ++i) {
                if (lowered[i] == 0) continue;
                std::copy_n(&part.distances[i * stride], n_candidates,
                            potentials.distances + (begin + rows[i]) * n_candidates);
            }
        };
        for_row_blocks(
            x.n_rows, kScanRows, n_thread, [&](int thread, std::int64_t begin, std::int64_t end) {
                std::int32_t rows[kScanRows];
                std::int64_t n = 0;
                for (std::int64_t i = begin; i < end; ++i) {
                    rows[n] = static_cast<std::int32_t>(i - begin);
                    n += potentials.values[i] > reach[potentials.closest[i]];
                }
                std::fill(potentials.lowered + begin, potentials.lowered + end, 0);
                const T* block = x.data + begin * d;
                const std::int64_t batch = near.batch_rows();
                for (std::int64_t at = 0; at < n; at += batch) {
                    std::int32_t* listed = rows + at;
                    const std::int64_t n_near = near.keep(block, listed, std::min(batch, n - at),
                                                          potentials.values + begin);
                    for (std::int64_t i = 0; i < n_near; i += kBatchRows) {
                        add_batch(parts[thread], block, begin, listed + i,
                                  std::min(kBatchRows, n_near - i));
                    }
                }
            });
        for (std::int64_t c = 0; c < n_candidates; ++c) {
            Wide gain = 0;
            for (const Part& part : parts) {
                gain += Wide{part.high[c]} * (Wide{1} << 32) + Wide{part.low[c]};
            }
            store_limbs(gain, limbs + kSumLimbs * c);
        }
        return Status::ok;
    });
}

template <class T>
Status keep_candidate(const LaneKernels* lanes, Matrix<T> x, Matrix<T> candidates,
                      std::int64_t index, std::int32_t center, int n_thread,
                      Potentials* potentials) noexcept {
    return guarded([&]() -> Status {
        const FloatEnvironment environment;
        const std::int64_t d = x.n_columns, n_candidates = candidates.n_rows;
        const PaddedCenters padded(Matrix<T>{candidates.data + index * d, 1, d});
        const Units units(*potentials);
        const int mark = 1 << std::min<std::int64_t>(index, 7);
        n_thread = useful_threads(x.n_rows, kScanRows, n_thread);
        std::vector<Sum> falls(n_thread);
        for_row_blocks(
            x.n_rows, kScanRows, n_thread, [&](int thread, std::int64_t begin, std::int64_t end) {
                std::int32_t rows[kScanRows];
                const std::int64_t n =
                    list_marked(potentials->lowered + begin, end - begin, mark, rows);
                if (n == 0) return;
                double measured[8 * kScanRows];
                const double* kept = potentials->distances;
                if (kept == nullptr) {
                    row_kernels<T>(*lanes).distance.to_all(x.data + begin * d, d, rows, n,
                                                           padded.data(), padded.stride(), 1,
                                                           nullptr, measured, 8);
                }
                const auto lower = [&](std::int64_t at) -> Wide {
                    const std::int64_t i = begin + rows[at];
                    const double distance =
                        kept == nullptr ? measured[8 * at] : kept[i * n_candidates + index];
                    if (distance >= potentials->values[i]) return 0;  // the mark was another's
                    const double before = weighted(*potentials, i);
                    potentials->values[i] = distance;
                    potentials->closest[i] = center;
                    const double after = weighted(*potentials, i);
                    falls[thread].n_top += before >= units.top && after < units.top;
                    return units.scale(before) - units.scale(after);
                };
                for (std::int64_t at = 0; at < n;) {
                    const std::int64_t block = (begin + rows[at]) / kPotentialRows;
                    Wide gain = 0;
                    for (; at < n && (begin + rows[at]) / kPotentialRows == block; ++at) {
                        gain += lower(at);
                    }
                    std::int64_t* sum = potentials->block_sums + kSumLimbs * block;
                    store_limbs(load_limbs(sum) - gain, sum);
                    falls[thread].total += gain;
                }
            });
        Wide total = load_limbs(potentials->total);
        for (const Sum& fall : falls) {
            total -= fall.total;
            potentials->n_top -= fall.n_top;
        }
        store_limbs(total, potentials->total);
        return Status::ok;
    });
}

Status prefix_search(const Potentials& potentials, const std::int64_t* target_limbs,
                     std::int64_t n_targets, std::int64_t* found) noexcept {
    const FloatEnvironment environment;
    const Units units(potentials);
    const auto target = [&](std::int64_t t) { return load_limbs(target_limbs + kSumLimbs * t); };
    Wide running = 0;
    std::int64_t next = 0;
    for (std::int64_t b = 0; b * kPotentialRows < potentials.n_rows && next < n_targets; ++b) {
        const Wide after = running + load_limbs(potentials.block_sums + kSumLimbs * b);
        const std::int64_t end = std::min(potentials.n_rows, (b + 1) * kPotentialRows);
        for (std::int64_t i = b * kPotentialRows;
             i < end && next < n_targets && target(next) <= after; ++i) {
            running += units.scale(weighted(potentials, i));
            while (next < n_targets && running >= target(next)) found[next++] = i;
        }
        running = after;
    }
    std::fill(found + next, found + n_targets, potentials.n_rows);
    return Status::ok;
}

#define HARPY_INSTANTIATE(T)                                                                     \
    template Status start_potentials<T>(const LaneKernels*, Matrix<T>, Matrix<T>, int,           \
                                        Potentials*) noexcept;                                   \
    template Status candidate_gains<T>(const LaneKernels*, Matrix<T>, Matrix<T>, Matrix<T>, int, \
                                       const Potentials&, std::int64_t*) noexcept;               \
    template Status keep_candidate<T>(const LaneKernels*, Matrix<T>, Matrix<T>, std::int64_t,    \
                                      std::int32_t, int, Potentials*) noexcept;
HARPY_INSTANTIATE(float)
HARPY_INSTANTIATE(double)
#undef HARPY_INSTANTIATE

}  // namespace harpy::kmeans
