// Element-wise sum, max and min. Integer sums wrap, as NumPy's do; a NaN wins every max and min.
#include "reduce.h"

#include <type_traits>

#include "errors.h"

namespace harpy::collective {

namespace {

struct Sum {
    template <typename T>
    static T apply(T a, T b) {
        if constexpr (std::is_integral_v<T>) {
            using U = std::make_unsigned_t<T>;  // signed overflow is undefined, wrapping is not
            return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
        } else {
            return a + b;
        }
    }
};

struct Max {
    template <typename T>
    static T apply(T a, T b) {
        return (a > b || a != a) ? a : b;
    }
};

struct Min {
    template <typename T>
    static T apply(T a, T b) {
        return (a < b || a != a) ? a : b;
    }
};

template <typename T, typename Op>
void combine(void* accumulator, const void* lower, const void* upper, std::size_t count) {
    T* out = static_cast<T*>(accumulator);
    const T* a = static_cast<const T*>(lower);
    const T* b = static_cast<const T*>(upper);
    for (std::size_t i = 0; i < count; ++i) out[i] = Op::apply(a[i], b[i]);
}

template <typename T>
Combine combine_of(Reduction reduction) {
    switch (reduction) {
        case Reduction::kSum:
            return combine<T, Sum>;
        case Reduction::kMax:
            return combine<T, Max>;
        case Reduction::kMin:
            return combine<T, Min>;
        case Reduction::kNone:
            break;
    }
    throw CollectiveError(Failure::kMisuse, -1, "allreduce needs sum, max or min");
}

}  // namespace

Combine combine_for(DType dtype, Reduction reduction) {
    switch (dtype) {
        case DType::kInt32:
            return combine_of<std::int32_t>(reduction);
        case DType::kInt64:
            return combine_of<std::int64_t>(reduction);
        case DType::kFloat32:
            return combine_of<float>(reduction);
        case DType::kFloat64:
            return combine_of<double>(reduction);
        case DType::kBytes:
            break;
    }
    throw CollectiveError(Failure::kMisuse, -1, "allreduce needs int32, int64, float32 or float64");
}

}  // namespace harpy::collective
