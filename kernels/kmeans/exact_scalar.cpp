// A fixed-point accumulator as wide as float64's whole range: sums without rounding, in any order.
// The idea is Kulisch's long accumulator; digits have 32 bits and spare room, so carries wait.
#include <cstring>
#include <vector>

#include "kmeans.h"
#include "parallel.h"

namespace harpy::kmeans {

namespace {

constexpr std::int64_t kSumBlock = 4096;
// Each value adds less than 2^32 to a digit: carry before 2^63 could be reached.
constexpr std::int64_t kMaxPending = std::int64_t{1} << 30;

struct alignas(kCacheLine) Accumulator {
    std::int64_t digits[kScalarLimbs] = {};
    std::int64_t n_pending = 0;

    void add(double value) noexcept {
        std::uint64_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        const int biased = static_cast<int>(bits >> 52 & 0x7ff);
        const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
        // Subnormals share the exponent of the smallest normals, without the hidden bit.
        const std::uint64_t mantissa = biased == 0 ? fraction : fraction | std::uint64_t{1} << 52;
        const int position = biased == 0 ? 0 : biased - 1;
        const auto shifted = static_cast<unsigned __int128>(mantissa) << position % 32;
        std::int64_t* digit = digits + position / 32;
        const std::int64_t sign = bits >> 63 ? -1 : 1;
        digit[0] += sign * static_cast<std::int64_t>(static_cast<std::uint32_t>(shifted));
        digit[1] += sign * static_cast<std::int64_t>(static_cast<std::uint32_t>(shifted >> 32));
        digit[2] += sign * static_cast<std::int64_t>(static_cast<std::uint32_t>(shifted >> 64));
    }

    // Digits back into [0, 2^32), the sign in the last one.
    void carry() noexcept {
        for (int i = 0; i + 1 < kScalarLimbs; ++i) {
            digits[i + 1] += digits[i] >> 32;
            digits[i] &= 0xffffffff;
        }
        n_pending = 0;
    }
};

}  // namespace

Status exact_sum(const double* values, std::int64_t n_values, int n_thread,
                 std::int64_t* limbs) noexcept {
    return guarded([&]() -> Status {
        n_thread = useful_threads(n_values, kSumBlock, n_thread);
        std::vector<Accumulator> parts(n_thread);
        for_row_blocks(n_values, kSumBlock, n_thread,
                       [&](int thread, std::int64_t begin, std::int64_t end) {
                           Accumulator& part = parts[thread];
                           part.n_pending += end - begin;
                           if (part.n_pending > kMaxPending) part.carry();
                           for (std::int64_t i = begin; i < end; ++i) part.add(values[i]);
                       });
        Accumulator total;
        for (Accumulator& part : parts) {
            part.carry();
            for (int i = 0; i < kScalarLimbs; ++i) total.digits[i] += part.digits[i];
        }
        total.carry();
        std::memcpy(limbs, total.digits, sizeof total.digits);
        return Status::ok;
    });
}

}  // namespace harpy::kmeans
