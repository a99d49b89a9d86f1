// Passes over float64 values: potentials of rows, and exact sums of any.
#pragma once

#include <cstdint>

namespace harpy::kmeans {

// Values to integers in units of 1 / (first * second), truncated. Two factors, because the units
// reach beyond what one float64 can invert; truncation does not depend on the rounding mode.
struct UnitScale {
    double first, second;
    std::int64_t operator()(double value) const noexcept {
        return static_cast<std::int64_t>(value * first * second);
    }
};

// Passes over float64 values, whatever X's dtype.
struct ValueKernels {
    // Adds to (low, high) (INOUT), words of 32 bits, what each of n_candidates takes off the
    // potentials of n rows; marks in lowered[i] the candidates that lower row i: c in bit c, those
    // from 7 on in bit 7. stride is a multiple of 8; so many of low and high are written, and so
    // many distances of a row are read: none may be negative.
    void (*add_gains)(const double* distances, std::int64_t n_rows, std::int64_t stride,
                      int n_candidates, const double* potentials, const double* weights,
                      UnitScale scale, std::int64_t* low, std::int64_t* high,
                      std::uint8_t* lowered);

    // Adds both words of n values, a multiple of 8, to words (2, 8); false where two words are not
    // enough for some value.
    bool (*add_words)(const double* values, std::int64_t n, double magic_high, double magic_low,
                      double* words);
};

}  // namespace harpy::kmeans
