#include "threads/float_environment.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace harpy::kmeans {

#if defined(__x86_64__)

namespace {
// All exceptions masked, round to nearest, flush-to-zero and denormals-are-zero off.
constexpr unsigned int kDefaultControl = 0x1f80;
}  // namespace

FloatEnvironment::FloatEnvironment() noexcept : found_(_mm_getcsr()) {
    _mm_setcsr(kDefaultControl);
}

FloatEnvironment::~FloatEnvironment() { _mm_setcsr(found_); }

#else

FloatEnvironment::FloatEnvironment() noexcept {
    std::fegetenv(&found_);
    std::fesetenv(FE_DFL_ENV);
}

FloatEnvironment::~FloatEnvironment() { std::fesetenv(&found_); }

#endif

}  // namespace harpy::kmeans
