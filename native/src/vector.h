// One vector of floats, and the few functions on it that differ between instruction sets; all else is written once.
//
//   VL       floats in a vector
//   EXPAND, VECTORS          wide channels computed together, times vectors of pixels: as many sums as the registers
//                            hold. Wide maps have six times as many channels as their input.
//   OUTPUTS, OUTPUT_VECTORS  the same for all other products; numbers of channels are multiples of 8
//
// `exp2` is good to 2e-7 of its value; beyond +-120 it may stop growing or shrinking.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

// Everything is local to the file it is compiled in, see kernels.h.
namespace {

constexpr float EXP2[] = {1.3398874e-3f, 9.6184373e-3f, 5.5503383e-2f, 2.4022651e-1f, 6.9314718e-1f};  // of 2^r, |r| <= 1/2

}  // namespace

#if defined(SCHANGER_AVX512)
#include "vector_avx512.h"
#elif defined(SCHANGER_AVX2)
#include "vector_avx2.h"
#elif defined(SCHANGER_NEON)
#include "vector_neon.h"
#else
#include "vector_plain.h"
#endif

namespace {

// `scaled` is -log2(e) x: the factor is folded into the weights before and after, which saves a product per number.
INLINE vf silu_scaled(vf scaled) { return div(scaled, add(all(1.f), exp2(scaled))); }
constexpr float SILU_IN = -1.44269504f, SILU_OUT = -0.69314718f;

INLINE vf sigmoid(vf x) { return div(all(1.f), add(all(1.f), exp2(mul(x, all(-1.44269504f))))); }

// x/2 (1 + erf(x / sqrt 2)), erf by Abramowitz and Stegun 7.1.26, which is off by 1.5e-7 at most.
INLINE vf gelu(vf x) {
    vf z = mul(magnitude(x), all(0.70710678f));
    vf t = div(all(1.f), fma(z, all(0.3275911f), all(1.f)));
    vf p = fma(t, all(1.061405429f), all(-1.453152027f));
    p = fma(p, t, all(1.421413741f));
    p = fma(p, t, all(-0.284496736f));
    p = mul(fma(p, t, all(0.254829592f)), t);
    vf e = exp2(maximum(mul(mul(z, z), all(-1.44269504f)), all(-120.f)));
    vf half = mul(x, all(.5f));
    return fma(half, with_sign(sub(all(1.f), mul(p, e)), x), half);
}

struct Silu {
    static INLINE vf of(vf x) { return silu_scaled(x); }
};
struct Gelu {
    static INLINE vf of(vf x) { return gelu(x); }
};
struct Same {
    static INLINE vf of(vf x) { return x; }
};

}  // namespace
