// Runs the kernels on hostile data and prints one hash per result, without Python: builds for other
// instruction sets, processors and compilers must print the same, and sanitizers see every kernel.
//
//   kernel_bits INSTRUCTION_SET N_THREAD [rude]
//
// rude: kernels are called from an environment that rounds upwards and flushes subnormals to zero.
#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kmeans.h"
#include "sparse/sparse.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

using namespace harpy::kmeans;

namespace {

const LaneKernels* lanes;
int n_thread;
bool rude;

// The environment of a caller who does not care for ours, while it lives.
class CallersEnvironment {
  public:
    CallersEnvironment() {
        if (!rude) return;
        std::fegetenv(&found_);
        std::fesetround(FE_UPWARD);
#if defined(__x86_64__)
        _mm_setcsr(_mm_getcsr() | 0x8040);
#elif defined(__aarch64__)
        std::uint64_t control;
        asm volatile("mrs %0, fpcr" : "=r"(control));
        asm volatile("msr fpcr, %0" : : "r"(control | 1 << 24));
#endif
    }
    ~CallersEnvironment() {
        if (rude) std::fesetenv(&found_);
    }
    CallersEnvironment(const CallersEnvironment&) = delete;
    CallersEnvironment& operator=(const CallersEnvironment&) = delete;

  private:
    std::fenv_t found_;
};

template <class Kernel>
void call(const Kernel& kernel) {
    const CallersEnvironment environment;
    const Status status = kernel();
    if (status != Status::ok) {
        std::fprintf(stderr, "status %d\n", static_cast<int>(status));
        std::exit(1);
    }
}

class Hash {  // FNV-1a
  public:
    template <class T>
    Hash& operator<<(const std::vector<T>& values) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
        for (std::size_t i = 0; i < values.size() * sizeof(T); ++i) add(bytes[i]);
        return *this;
    }
    template <class T>
    Hash& operator<<(T value) {
        return *this << std::vector<T>{value};
    }
    std::uint64_t value() const { return value_; }

  private:
    void add(unsigned char byte) { value_ = (value_ ^ byte) * 0x100000001b3; }
    std::uint64_t value_ = 0xcbf29ce484222325;
};

// The standard fixes the engine's numbers but not those of its distributions.
class Draws {
  public:
    explicit Draws(std::uint64_t seed) : engine_(seed) {}
    double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
    double bell() { return uniform() + uniform() + uniform() + uniform() - 2.0; }
    std::int64_t below(std::int64_t n) {
        return static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(n));
    }

  private:
    std::mt19937_64 engine_;
};

struct Shape {
    std::int64_t n, d, k;
};

constexpr Shape kShapes[] = {
    {700, 1, 9},   {900, 2, 70},   {500, 3, 2},   {600, 3, 130}, {1, 4, 1},      {331, 5, 330},
    {900, 7, 7},   {410, 8, 33},   {600, 9, 16},  {260, 17, 24}, {70, 33, 70},   {700, 40, 5},
    {230, 64, 50}, {150, 130, 97}, {65, 300, 13}, {420, 33, 70}, {310, 130, 64},
};

const char* const kKinds[] = {"blobs",    "far off", "decades",    "binades", "outlier",
                              "integers", "copies",  "subnormals", "zeros"};

// A matrix (n, d) that breaks careless kernels.
template <class T>
std::vector<T> hostile(const std::string& kind, const Shape& shape) {
    const std::int64_t n = shape.n, d = shape.d;
    Draws draws(n * 1000 + d);
    std::vector<double> middles(6 * d), x(n * d);
    for (double& middle : middles) middle = 4.0 * draws.bell();
    for (std::int64_t i = 0; i < n; ++i) {
        const double* middle = middles.data() + draws.below(6) * d;
        for (std::int64_t j = 0; j < d; ++j) {
            double& value = x[i * d + j];
            value = middle[j] + draws.bell();
            if (kind == "far off") value += 1e4;
            if (kind == "decades") value *= std::ldexp(1.0, static_cast<int>(j * 5 % 40 - 20));
            if (kind == "binades")
                value = std::ldexp(value, static_cast<int>(draws.below(40)) - 20);
            if (kind == "integers") value = static_cast<double>(draws.below(5) - 2);
            if (kind == "copies" && i % 50 != 0) value = x[(i - 1) * d + j];
            if (kind == "subnormals")
                value = std::ldexp(value, std::numeric_limits<T>::min_exponent - 8);
            if (kind == "zeros") value = std::copysign(0.0, value);
        }
    }
    if (kind == "outlier") x[n / 2 * d] = 1e10;
    return {x.begin(), x.end()};
}

template <class T>
class Case {
  public:
    Case(const std::string& kind, const Shape& shape)
        : name_(kind + (sizeof(T) == 4 ? " float32 " : " float64 ") + std::to_string(shape.n) +
                " x " + std::to_string(shape.d) + ", " + std::to_string(shape.k)),
          shape_(shape),
          values_(hostile<T>(kind, shape)),
          x_{values_.data(), shape.n, shape.d},
          centers_(shape.k * shape.d),
          exponents_(shape.d) {
        Draws draws(shape.k);
        for (std::int64_t c = 0; c < shape.k; ++c) {
            // Rows of X, some of them twice.
            const T* row = values_.data() + draws.below(shape.n) * shape.d;
            std::copy(row, row + shape.d, centers_.begin() + c * shape.d);
        }
    }

    void run() {
        ranges();
        iterate(0);
        iterate(16);
        iterate_weighted();
        measure();
        seed();
        sparse();
    }

  private:
    void print(const char* result, const Hash& hash) const {
        std::printf("%s: %s %016llx\n", name_.c_str(), result,
                    static_cast<unsigned long long>(hash.value()));
    }

    void ranges() {
        std::vector<double> absmax(shape_.d);
        std::int64_t first_bad;
        call([&] { return column_ranges(lanes, x_, n_thread, absmax.data(), &first_bad); });
        column_exponents(absmax.data(), shape_.d, exponents_.data());
        print("ranges", Hash() << absmax << first_bad << exponents_);
    }

    Hash& add_sums(Hash& hash, const std::vector<std::int64_t>& limbs) const {
        // The integers themselves: limbs of the same total may differ.
        std::vector<unsigned __int128> totals(limbs.size() / kSumLimbs);
        for (std::size_t i = 0; i < totals.size(); ++i) {
            for (int limb = kSumLimbs - 1; limb >= 0; --limb) {
                totals[i] = (totals[i] << 48) +
                            static_cast<unsigned __int128>(__int128{limbs[kSumLimbs * i + limb]});
            }
        }
        return hash << totals;
    }

    // Two steps with weights, and the same sums anew.
    void iterate_weighted() {
        const std::int64_t n = shape_.n, d = shape_.d, k = shape_.k;
        std::vector<T> weights(n);
        for (std::int64_t i = 0; i < n; ++i) weights[i] = static_cast<T>(0.25 * (i % 7));
        std::vector<double> absmax(d + 1);
        std::vector<std::int32_t> exponents(d + 1), labels(n, -1);
        std::vector<std::int64_t> limbs(k * (d + 1) * kSumLimbs), counts(k);
        std::vector<std::int64_t> again = limbs, counts_again = counts;
        std::int64_t n_changed = 0;
        call([&] { return weighted_ranges(x_, weights.data(), n_thread, absmax.data()); });
        column_exponents(absmax.data(), d + 1, exponents.data());
        Lloyd<T> lloyd;
        call([&] {
            return lloyd.start(lanes, x_, weights.data(), k, exponents.data(), n_thread, 20);
        });
        Hash steps;
        for (int iteration = 0; iteration < 2; ++iteration) {
            std::vector<T> centers = centers_;
            if (iteration > 0) std::reverse(centers.begin(), centers.end());
            call([&] {
                return lloyd.step(centers.data(), labels.data(), &n_changed, limbs.data(),
                                  counts.data());
            });
            std::vector<T> after(k * d);
            double shift = 0.0;
            std::int64_t n_empty = 0;
            call([&] {
                return next_centers(counts.data(), limbs.data(), exponents.data(), d + 1,
                                    matrix(centers), n_thread, after.data(), &shift, &n_empty);
            });
            steps << after << shift << n_empty;
            call([&] {
                return accumulate(lanes, x_, weights.data(), labels.data(), k, exponents.data(),
                                  n_thread, again.data(), counts_again.data());
            });
            if (again != limbs || counts_again != counts) std::abort();
            add_sums(steps, limbs) << absmax << labels << n_changed << counts;
        }
        print("weighted Lloyd", steps);
    }

    // Lloyd's iteration, then labels and sums anew.
    void iterate(int bound_bytes) {
        const std::int64_t n = shape_.n, d = shape_.d, k = shape_.k;
        std::vector<T> centers = centers_, offset(d);
        std::vector<std::int32_t> labels(n, -1);
        std::vector<std::int64_t> limbs(k * d * kSumLimbs), counts(k);
        std::int64_t n_changed = 0;
        Lloyd<T> lloyd;
        call([&] {
            return lloyd.start(lanes, x_, nullptr, k, exponents_.data(), n_thread, bound_bytes);
        });
        Hash steps;
        for (int iteration = 0; iteration < 8; ++iteration) {
            call([&] { return center_offset(lanes, matrix(centers), n_thread, offset.data()); });
            call([&] {
                return lloyd.step(centers.data(), labels.data(), &n_changed, limbs.data(),
                                  counts.data());
            });
            add_sums(steps, limbs) << offset << labels << n_changed << counts;
            const std::vector<T> before = centers;
            double shift = 0.0;
            std::int64_t n_empty = 0;
            call([&] {
                return next_centers(counts.data(), limbs.data(), exponents_.data(), d,
                                    matrix(before), n_thread, centers.data(), &shift, &n_empty);
            });
            steps << centers << shift << n_empty;
        }
        print(bound_bytes == 0 ? "Lloyd without bounds" : "Lloyd with bounds", steps);

        std::vector<std::int32_t> again(n, -1);
        std::vector<double> absmax(shape_.d);
        std::int64_t first_bad;
        call([&] { return center_offset(lanes, matrix(centers), n_thread, offset.data()); });
        call([&] { return lloyd.label(centers.data(), labels.data(), &n_changed); });
        call([&] {
            return assign(lanes, x_, matrix(centers), offset.data(), n_thread, bound_bytes,
                          again.data(), &n_changed, absmax.data(), &first_bad);
        });
        call([&] {
            return accumulate(lanes, x_, static_cast<const T*>(nullptr), labels.data(), k,
                              exponents_.data(), n_thread, limbs.data(), counts.data());
        });
        std::vector<double> means(d);
        call([&] {
            return column_means(limbs.data(), counts.data(), exponents_.data(), k, d, means.data());
        });
        Hash anew;
        add_sums(anew, limbs) << labels << again << counts << means;
        print("labels and sums", anew);
        labels_ = labels;
        centers_.swap(centers);
    }

    void measure() {
        const std::int64_t n = shape_.n, d = shape_.d, k = shape_.k;
        const std::vector<double> wide(centers_.begin(), centers_.end());
        const Matrix<double> centers{wide.data(), k, d};
        std::vector<double> own(n), first(n);
        call([&] {
            return squared_distances(lanes, x_, centers, labels_.data(), n_thread, own.data());
        });
        call([&] {
            return squared_distances(lanes, x_, Matrix<double>{wide.data(), 1, d}, nullptr,
                                     n_thread, first.data());
        });
        print("squared distances", Hash() << own << first);
        std::vector<T> transformed(n * k);
        call([&] { return transform(lanes, x_, centers, n_thread, transformed.data()); });
        print("transform", Hash() << transformed);
        std::vector<std::int64_t> sum(kScalarLimbs);
        call([&] { return exact_sum(lanes, own.data(), n, n_thread, sum.data()); });
        print("exact sum", Hash() << sum);
        std::vector<float> weights(n);
        for (std::int64_t i = 0; i < n; ++i) weights[i] = 0.1f * static_cast<float>(i % 7);
        call([&] {
            return squared_distance_sum(lanes, x_, centers, labels_.data(), weights.data(),
                                        n_thread, sum.data());
        });
        print("inertia", Hash() << sum);
    }

    // Greedy k-means++ with the a fixed one of the candidates that are drawn.
    void seed() {
        const std::int64_t n = shape_.n, d = shape_.d, k = shape_.k;
        constexpr int kCandidates = 9;
        Draws draws(n + d + k);
        std::vector<double> values(n), weights(n, 1.5), distances(n * kCandidates);
        std::vector<std::int32_t> closest(n);
        std::vector<std::uint8_t> lowered(n);
        std::vector<std::int64_t> block_sums((n / kPotentialRows + 1) * kSumLimbs);
        std::vector<std::int64_t> gains(kCandidates * kSumLimbs);
        Potentials potentials{};
        potentials.n_rows = n;
        potentials.values = values.data();
        potentials.closest = closest.data();
        potentials.lowered = lowered.data();
        potentials.weights = k % 2 == 0 ? weights.data() : nullptr;
        potentials.block_sums = block_sums.data();
        std::vector<T> centers(values_.begin(), values_.begin() + d), candidates(kCandidates * d);
        call([&] {
            return start_potentials(lanes, x_, Matrix<T>{centers.data(), 1, d}, n_thread,
                                    &potentials);
        });
        Hash hash;
        for (std::int64_t c = 1; c < std::min<std::int64_t>(k, 9); ++c) {
            double largest;
            call([&] { return largest_potential(potentials, n_thread, &largest); });
            const int exponent = largest > 0.0 ? std::ilogb(largest) : 0;
            call([&] { return quantise_potentials(exponent, n_thread, &potentials); });
            std::int64_t found;
            call([&] { return prefix_search(potentials, potentials.total, 1, &found); });
            for (int i = 0; i < kCandidates; ++i) {
                const T* row = values_.data() + draws.below(n) * d;
                std::copy(row, row + d, candidates.begin() + i * d);
            }
            potentials.distances = c % 2 == 0 ? nullptr : distances.data();
            call([&] {
                return candidate_gains(lanes, x_, Matrix<T>{centers.data(), c, d},
                                       Matrix<T>{candidates.data(), kCandidates, d}, n_thread,
                                       potentials, gains.data());
            });
            const std::int64_t kept = c % kCandidates;
            call([&] {
                return keep_candidate(lanes, x_, Matrix<T>{candidates.data(), kCandidates, d}, kept,
                                      static_cast<std::int32_t>(c), n_thread, &potentials);
            });
            const T* candidate = candidates.data() + kept * d;
            centers.insert(centers.end(), candidate, candidate + d);
            add_sums(add_sums(hash, gains), block_sums)
                << found << values << closest << potentials.n_top;
        }
        print("seeding", hash);
    }

    // The same rows without two values of three, and some without any.
    void sparse() {
        const std::int64_t n = shape_.n, d = shape_.d, k = shape_.k;
        std::vector<T> values;
        std::vector<std::int32_t> columns;
        std::vector<std::int64_t> starts{0};
        for (std::int64_t i = 0; i < n; ++i) {
            for (std::int64_t j = i % 3; j < d && i % 11 != 0; j += 3) {
                values.push_back(values_[i * d + j]);
                columns.push_back(static_cast<std::int32_t>(j));
            }
            starts.push_back(static_cast<std::int64_t>(values.size()));
        }
        const CsrMatrix<T> x{values.data(), columns.data(), starts.data(), n, d};
        std::vector<std::int32_t> before(n, -1), labels(n, -1);
        std::vector<T> scores(n), centers = centers_;
        std::vector<std::uint8_t> moved(k, 1);
        std::vector<std::int64_t> limbs(k * d * kSumLimbs), counts(k);
        std::int64_t n_changed;
        Hash steps;
        for (int iteration = 0; iteration < 4; ++iteration) {
            call([&] {
                return sparse_assign(lanes, x, matrix(centers),
                                     iteration == 0 ? nullptr : moved.data(), n_thread,
                                     labels.data(), scores.data(), &n_changed);
            });
            call([&] {
                return sparse_move(x, before.data(), labels.data(), exponents_.data(), k, n_thread,
                                   limbs.data(), counts.data());
            });
            before = labels;
            add_sums(steps, limbs) << labels << scores << n_changed << counts;
            const std::vector<T> old = centers;
            call([&] {
                const std::vector<double> weights(counts.begin(), counts.end());
                return centers_from_sums(limbs.data(), weights.data(), exponents_.data(), k, d, d,
                                         n_thread, centers.data());
            });
            for (std::int64_t c = 0; c < k; ++c) {
                moved[c] = std::memcmp(&old[c * d], &centers[c * d], d * sizeof(T)) != 0;
            }
        }
        print("sparse Lloyd", steps);

        const std::vector<double> wide(centers.begin(), centers.end());
        const Matrix<double> wide_centers{wide.data(), k, d};
        std::vector<double> own(n), closest(n * k);
        std::vector<T> transformed(n * k);
        call([&] {
            return sparse_squared_distances(lanes, x, wide_centers, labels.data(), n_thread,
                                            own.data());
        });
        call([&] {
            return sparse_closest_distances(lanes, x, wide_centers, own.data(), n_thread,
                                            closest.data());
        });
        call(
            [&] { return sparse_transform(lanes, x, wide_centers, n_thread, transformed.data()); });
        print("sparse distances", Hash() << own << closest << transformed);
    }

    Matrix<T> matrix(const std::vector<T>& centers) const {
        return {centers.data(), shape_.k, shape_.d};
    }

    const std::string name_;
    const Shape shape_;
    const std::vector<T> values_;
    const Matrix<T> x_;
    std::vector<T> centers_;
    std::vector<std::int32_t> exponents_, labels_;
};

}  // namespace

int main(int n_argument, char** arguments) {
    if (n_argument < 3) return 2;
    lanes = find_lane_kernels(arguments[1]);
    if (lanes == nullptr) {
        std::fprintf(stderr, "no %s here\n", arguments[1]);
        return 2;
    }
    n_thread = std::atoi(arguments[2]);
    rude = n_argument > 3 && std::strcmp(arguments[3], "rude") == 0;
    for (const char* kind : kKinds) {
        for (const Shape& shape : kShapes) {
            Case<float>(kind, shape).run();
            Case<double>(kind, shape).run();
        }
    }
    return 0;
}
