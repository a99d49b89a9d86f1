// Public face of the k-means kernels: plain arrays in, a Status out, no exception, no printing.
// Pointers to const are IN, others OUT unless INOUT is said.
// docs/numerics.md defines every number computed here; processes and files are other rooms' work.
#pragma once

#include <cstdint>

namespace harpy::kmeans {

enum class Status : int { ok = 0, out_of_memory = 1, too_large = 2 };

// A C-contiguous matrix that somebody else owns.
template <class T>
struct Matrix {
    const T* data;
    std::int64_t n_rows;
    std::int64_t n_columns;
};

// One value of a fixed-point sum travels as three digits of 48, 48 and 32 bits (signed on top).
constexpr int kSumLimbs = 3;
// Digits of 32 bits that cover every float64 from the smallest subnormal up, and 2^31 times its
// max.
constexpr int kScalarLimbs = 68;

struct LaneKernels;  // one instruction set's kernels; see lane_kernels.h

// nullptr when the name is unknown or this processor lacks the instruction set.
const LaneKernels* find_lane_kernels(const char* name) noexcept;
const char* lane_kernels_name(const LaneKernels* lanes) noexcept;
const LaneKernels* best_lane_kernels() noexcept;

// absmax[j] = max |x| of column j over the finite values; first_bad = flat index of the first
// value that is NaN or infinite, or -1.
template <class T>
Status column_ranges(const LaneKernels* lanes, Matrix<T> x, int n_thread, double* absmax,
                     std::int64_t* first_bad) noexcept;

// Exponent of each column's largest magnitude, 2^e <= absmax < 2^(e+1); 0 for a column of zeros.
void column_exponents(const double* absmax, std::int64_t n_columns,
                      std::int32_t* exponents) noexcept;

// labels: INOUT, the old labels and then the nearest centers; n_changed: how many differ.
// bound_bytes as for Lloyd. absmax and first_bad as of column_ranges, for rows that nobody has
// looked at yet, or nullptr.
template <class T>
Status assign(const LaneKernels* lanes, Matrix<T> x, Matrix<T> centers, const T* offset,
              int n_thread, int bound_bytes, std::int32_t* labels, std::int64_t* n_changed,
              double* absmax, std::int64_t* first_bad) noexcept;

// What a search in 16-bit integers is certain of: nearest[i] is the nearest center, whose real
// score (docs/numerics.md, but unrounded) is at most most[i], and all others' at least least[i]; or
// -1.
template <class T>
Status prefilter(const LaneKernels* lanes, Matrix<T> x, Matrix<T> centers, const T* offset,
                 std::int32_t* nearest, T* most, T* least) noexcept;

// Largest magnitude of each column of the weighted rows, whose last column are the weights:
// absmax (n_columns + 1). All values are finite.
template <class T>
Status weighted_ranges(Matrix<T> x, const T* weights, int n_thread, double* absmax) noexcept;

// One run of Lloyd's iteration over rows that somebody else owns: labels and exact sums from call
// to call, so that rows that stay cost little. `labels` are the caller's and his to leave alone;
// -1 before the first call. With weights the sums are those of the weighted rows: each value times
// the row's weight, rounded once to float64, and the weight as one column more.
template <class T>
class Lloyd {
  public:
    Lloyd() = default;
    ~Lloyd();
    Lloyd(const Lloyd&) = delete;
    Lloyd& operator=(const Lloyd&) = delete;

    // bound_bytes: memory for bounds in bytes a row; 0 searches all centers for all rows.
    // weights: nullptr, or owned by the caller, as x is.
    Status start(const LaneKernels* lanes, Matrix<T> x, const T* weights, std::int64_t n_clusters,
                 const std::int32_t* exponents, int n_thread, int bound_bytes) noexcept;
    // Nearest centers, the sums of the rows of each, limbs (k, d, kSumLimbs) or with weights
    // (k, d + 1, kSumLimbs), and counts (k).
    Status step(const T* centers, std::int32_t* labels, std::int64_t* n_changed,
                std::int64_t* limbs, std::int64_t* counts) noexcept;
    // Nearest centers only: the last call.
    Status label(const T* centers, std::int32_t* labels, std::int64_t* n_changed) noexcept;

  private:
    struct State;
    State* state_ = nullptr;
};

// Exact sums of the rows of each label, weighted as those of Lloyd if there are weights; labels ==
// nullptr puts every row into cluster 0.
template <class T>
Status accumulate(const LaneKernels* lanes, Matrix<T> x, const T* weights,
                  const std::int32_t* labels, std::int64_t n_clusters,
                  const std::int32_t* exponents, int n_thread, std::int64_t* limbs,
                  std::int64_t* counts) noexcept;

// Sums divided by the weights (k) of their clusters, which are counts where rows have none; a
// cluster without weight gets the center of the heaviest one. Of the n_sums of a cluster the first
// n_columns are those of rows.
template <class T>
Status centers_from_sums(const std::int64_t* limbs, const double* weights,
                         const std::int32_t* exponents, std::int64_t n_clusters,
                         std::int64_t n_columns, std::int64_t n_sums, int n_thread,
                         T* centers) noexcept;

// The same of what Lloyd::step gave, or of totals of it, with the weights that go with them: how
// far the centers come in all, and how many clusters have no weight.
template <class T>
Status next_centers(const std::int64_t* counts, const std::int64_t* limbs,
                    const std::int32_t* exponents, std::int64_t n_sums, Matrix<T> before,
                    int n_thread, T* after, double* shift, std::int64_t* n_empty) noexcept;

// Mean of all rows, whatever their clusters.
Status column_means(const std::int64_t* limbs, const std::int64_t* counts,
                    const std::int32_t* exponents, std::int64_t n_clusters, std::int64_t n_columns,
                    double* means) noexcept;

// Median of the centers in each column; of two middle values the one of lesser magnitude.
template <class T>
Status center_offset(const LaneKernels* lanes, Matrix<T> centers, int n_thread, T* offset) noexcept;

// Sum of the centers' squared moves, in float64: docs/numerics.md has the order.
template <class T>
double center_shift(Matrix<T> before, Matrix<T> after) noexcept;

// The same values in float64, subnormals included whatever the caller's environment.
void widen(const float* values, std::int64_t n_values, double* out) noexcept;

// out[i] = squared Euclidean distance of row i to centers[labels[i]] (to centers[0] without
// labels).
template <class T>
Status squared_distances(const LaneKernels* lanes, Matrix<T> x, Matrix<double> centers,
                         const std::int32_t* labels, int n_thread, double* out) noexcept;

// Exact sum of those distances, each times its row's weight (nullptr: 1) rounded once, as
// kScalarLimbs digits. Needs no array of n values.
template <class T, class W>
Status squared_distance_sum(const LaneKernels* lanes, Matrix<T> x, Matrix<double> centers,
                            const std::int32_t* labels, const W* weights, int n_thread,
                            std::int64_t* limbs) noexcept;

// out[i, c] = Euclidean distance of row i to center c, rounded once to T.
template <class T>
Status transform(const LaneKernels* lanes, Matrix<T> x, Matrix<double> centers, int n_thread,
                 T* out) noexcept;

// Greedy k-means++ over one worker's rows; the arrays are somebody else's. A row's potential is its
// squared distance to the closest center so far, times its weight; sums are integers in units of
// 2^(exponent - 61), each potential truncated to such a unit.
constexpr std::int64_t kPotentialRows = 64;  // of one block sum
constexpr int kMaxCandidates = 24;           // 2 + ln k for any k that int32 labels can name

struct Potentials {
    std::int64_t n_rows;
    double* values;            // squared distance to the closest center, without the weight
    std::int32_t* closest;     // which center that is
    std::uint8_t* lowered;     // which candidates would lower it; see ValueKernels::add_gains
    double* distances;         // (n_rows, n_candidates) of rows that are lowered, or nullptr
    const double* weights;     // nullptr: 1
    std::int64_t* block_sums;  // limbs (blocks of kPotentialRows, kSumLimbs)
    std::int64_t total[kSumLimbs] = {};
    std::int64_t n_top = 0;  // potentials of at least 2^exponent
    int exponent = 0;        // of the largest potential of all workers
};

// Values and closest for the first center.
template <class T>
Status start_potentials(const LaneKernels* lanes, Matrix<T> x, Matrix<T> center, int n_thread,
                        Potentials* potentials) noexcept;

Status largest_potential(const Potentials& potentials, int n_thread, double* largest) noexcept;

// Sets the exponent, and sums for it.
Status quantise_potentials(int exponent, int n_thread, Potentials* potentials) noexcept;

// How much the total would fall with each candidate, as limbs (n_candidates, kSumLimbs); centers
// are all those so far.
template <class T>
Status candidate_gains(const LaneKernels* lanes, Matrix<T> x, Matrix<T> centers,
                       Matrix<T> candidates, int n_thread, const Potentials& potentials,
                       std::int64_t* limbs) noexcept;

// Makes the index-th of the candidates that candidate_gains measured last a center.
template <class T>
Status keep_candidate(const LaneKernels* lanes, Matrix<T> x, Matrix<T> candidates,
                      std::int64_t index, std::int32_t center, int n_thread,
                      Potentials* potentials) noexcept;

// For ascending targets (as limbs) the first row whose running sum is at least the target; n_rows
// where the sum never gets there.
Status prefix_search(const Potentials& potentials, const std::int64_t* target_limbs,
                     std::int64_t n_targets, std::int64_t* found) noexcept;

// Exact sum of finite values in units of 2^-1074, as kScalarLimbs digits of 32 bits.
Status exact_sum(const LaneKernels* lanes, const double* values, std::int64_t n_values,
                 int n_thread, std::int64_t* limbs) noexcept;

}  // namespace harpy::kmeans
