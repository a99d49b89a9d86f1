// The floating-point environment every kernel runs in, on every thread it runs on.
#pragma once

#include <cfenv>
#include <cstdint>

namespace harpy::kmeans {

// Rounds to nearest and keeps subnormals while it lives, then restores what it found: other
// libraries of the process may have switched on flush-to-zero or another rounding.
// The members are defined out of line so that no arithmetic is moved across them.
class FloatEnvironment {
  public:
    FloatEnvironment() noexcept;
    ~FloatEnvironment();
    FloatEnvironment(const FloatEnvironment&) = delete;
    FloatEnvironment& operator=(const FloatEnvironment&) = delete;

  private:
#if defined(__x86_64__)
    unsigned int found_;
#else
    std::fenv_t found_;
#endif
};

}  // namespace harpy::kmeans
