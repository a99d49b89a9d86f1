// The compiler's intrinsics, to be included first behind a target pragma of AVX-512.
#pragma once

#if defined(__clang__)
#include <immintrin.h>
#else
// The undefined vectors that gcc 12's own intrinsics begin with are no mistake.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif
