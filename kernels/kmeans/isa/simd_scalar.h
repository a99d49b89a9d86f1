// The vectors of tiles.h without intrinsics: what every other set of them is tested against.
#pragma once

#include <cstdint>

#include "ranges/magnitudes.h"

namespace harpy::kmeans {
namespace {

template <class T>
struct Plain {
    using Scalar = T;
    static constexpr int kLanes = 16 / static_cast<int>(sizeof(T));
    static constexpr int kTileRows = 4;
    static constexpr int kChains = 8;
    static constexpr int kMostFew = 8;  // more would only take longer to compile
    static constexpr int kQuad = kLanes;
    struct Vector {
        T lane[kLanes];
    };

    template <class F>
    static Vector each(const F& value) {
        Vector v;
        for (int l = 0; l < kLanes; ++l) v.lane[l] = value(l);
        return v;
    }
    static float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
    static float without_sign(float x) { return __builtin_fabsf(x); }
    static double without_sign(double x) { return __builtin_fabs(x); }
    static double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }

    static Vector load(const T* p) {
        return each([&](int l) { return p[l]; });
    }
    static Vector load_first(const T* p, int n) {
        return each([&](int l) { return l < n ? p[l] : T{0}; });
    }
    static Vector look_up(const T* table, const std::int32_t* index) {
        return each([&](int l) { return table[index[l]]; });
    }
    // The two stages of transpose.h: kQuad rows turned on their own, then one vector of each quad
    // with the others.
    static void turn_quad(Vector (&v)[kLanes]) {
        for (int r = 0; r < kLanes; ++r) {
            for (int c = 0; c < r; ++c) {
                const T other = v[r].lane[c];
                v[r].lane[c] = v[c].lane[r];
                v[c].lane[r] = other;
            }
        }
    }
    static void join_quads(Vector (&)[1]) {}
    static void store(T* p, const Vector& v) {
        for (int l = 0; l < kLanes; ++l) p[l] = v.lane[l];
    }
    static Vector set1(T x) {
        return each([&](int) { return x; });
    }
    static Vector add(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] + b.lane[l]; });
    }
    static Vector mul(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] * b.lane[l]; });
    }
    static Vector sub(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] - b.lane[l]; });
    }
    static Vector min(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] < b.lane[l] ? a.lane[l] : b.lane[l]; });
    }
    static Vector max(const Vector& a, const Vector& b) {
        return each([&](int l) { return a.lane[l] > b.lane[l] ? a.lane[l] : b.lane[l]; });
    }
    // |value| where its bits are the higher ones, else the magnitude `highest`.
    static Vector raise(const Vector& highest, const Vector& value) {
        return each([&](int l) {
            const bool higher = magnitude_bits(value.lane[l]) > magnitude_bits(highest.lane[l]);
            return higher ? without_sign(value.lane[l]) : highest.lane[l];
        });
    }
    static Vector fma(const Vector& a, const Vector& b, const Vector& c) {
        return each([&](int l) { return fused(a.lane[l], b.lane[l], c.lane[l]); });
    }
    static Vector fnma(const Vector& a, const Vector& b, const Vector& c) {
        return each([&](int l) { return fused(-a.lane[l], b.lane[l], c.lane[l]); });
    }
    static unsigned equal(const Vector& a, const Vector& b) {
        unsigned bits = 0;
        for (int l = 0; l < kLanes; ++l) bits |= static_cast<unsigned>(a.lane[l] == b.lane[l]) << l;
        return bits;
    }
    // Where score < low: low = score and index = here.
    static void keep_lower(const Vector& score, const Vector& here, Vector& low, Vector& index) {
        for (int l = 0; l < kLanes; ++l) {
            const bool lower = score.lane[l] < low.lane[l];
            low.lane[l] = lower ? score.lane[l] : low.lane[l];
            index.lane[l] = lower ? here.lane[l] : index.lane[l];
        }
    }
    static T first(const Vector& v) { return v.lane[0]; }
    static T lowest(const Vector& v) {
        T low = v.lane[0];
        for (int l = 1; l < kLanes; ++l) low = v.lane[l] < low ? v.lane[l] : low;
        return low;
    }
    static T sum(const Vector& v) {
        T total = v.lane[0];
        for (int l = 1; l < kLanes; ++l) total += v.lane[l];
        return total;
    }
    template <int R>
    static void lowest_of_rows(const Vector (&v)[R], T* out) {
        for (int r = 0; r < R; ++r) out[r] = lowest(v[r]);
    }
};

using SimdFloat = Plain<float>;
using SimdDouble = Plain<double>;

}  // namespace
}  // namespace harpy::kmeans
