// The idea is Kulisch's long accumulator; digits have 32 bits and spare room, so carries wait.
// Blocks are first added in float64, in two words that do not round.
#include "sums/exact_scalar.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "threads/parallel.h"

namespace harpy::kmeans {

namespace {

// Each value adds less than 2^32 to a digit: carry before 2^63 could be reached.
constexpr std::int64_t kMaxPending = std::int64_t{1} << 30;

// Bits of a word of add_block: each of 8 lanes adds 64 values, so that words of up to 2^46 quanta
// stay below 2^53 of them.
constexpr int kBlockWordBits = 46;
// Exponents of the largest value for which the first magic number is finite and the second quantum
// no finer than the smallest subnormal.
constexpr int kLeastBlockExponent = -983, kMaxBlockExponent = 1015;

}  // namespace

void ExactScalar::add(double value) noexcept {
    std::uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const int biased = static_cast<int>(bits >> 52 & 0x7ff);
    const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
    // Subnormals share the exponent of the smallest normals, without the hidden bit.
    const std::uint64_t mantissa = biased == 0 ? fraction : fraction | std::uint64_t{1} << 52;
    const int position = biased == 0 ? 0 : biased - 1;
    const auto shifted = static_cast<unsigned __int128>(mantissa) << position % 32;
    std::int64_t* digit = digits_ + position / 32;
    const std::int64_t sign = bits >> 63 ? -1 : 1;
    digit[0] += sign * static_cast<std::int64_t>(static_cast<std::uint32_t>(shifted));
    digit[1] += sign * static_cast<std::int64_t>(static_cast<std::uint32_t>(shifted >> 32));
    digit[2] += sign * static_cast<std::int64_t>(static_cast<std::uint32_t>(shifted >> 64));
    if (++n_pending_ == kMaxPending) carry();
}

void ExactScalar::add_block(const LaneKernels& lanes, const double* values,
                            std::int64_t n) noexcept {
    const std::int64_t whole = n / 8 * 8;
    std::int64_t highest[8] = {};
    lanes.dual.distance.raise_magnitudes(values, whole / 8, 8, highest);
    const int exponent = static_cast<int>(*std::max_element(highest, highest + 8) >> 52) - 1023;
    bool added = false;
    if (exponent >= kLeastBlockExponent && exponent <= kMaxBlockExponent) {
        // The largest magnitude is below 2^kBlockWordBits of the first quantum.
        const int high = exponent + 1 - kBlockWordBits, low = high - kBlockWordBits;
        double words[16] = {};
        added = lanes.values.add_words(values, whole, std::ldexp(1.5, 52 + high),
                                       std::ldexp(1.5, 52 + low), words);
        if (added) {
            for (const double word : words) add(word);
        }
    }
    for (std::int64_t i = added ? whole : 0; i < n; ++i) add(values[i]);
}

// Digits back into [0, 2^32), the sign in the last one.
void ExactScalar::carry() noexcept {
    for (int i = 0; i + 1 < kScalarLimbs; ++i) {
        digits_[i + 1] += digits_[i] >> 32;
        digits_[i] &= 0xffffffff;
    }
    n_pending_ = 0;
}

void ExactScalar::add(ExactScalar& other) noexcept {
    other.carry();
    for (int i = 0; i < kScalarLimbs; ++i) digits_[i] += other.digits_[i];
}

void ExactScalar::store(std::int64_t* limbs) noexcept {
    carry();
    std::memcpy(limbs, digits_, sizeof digits_);
}

Status exact_sum(const LaneKernels* lanes, const double* values, std::int64_t n_values,
                 int n_thread, std::int64_t* limbs) noexcept {
    return guarded([&]() -> Status {
        n_thread = useful_threads(n_values, kScalarBlock, n_thread);
        std::vector<ExactScalar> parts(n_thread);
        for_row_blocks(n_values, kScalarBlock, n_thread,
                       [&](int thread, std::int64_t begin, std::int64_t end) {
                           parts[thread].add_block(*lanes, values + begin, end - begin);
                       });
        ExactScalar total;
        for (ExactScalar& part : parts) total.add(part);
        total.store(limbs);
        return Status::ok;
    });
}

}  // namespace harpy::kmeans
