// One vector of floats, and the few functions on it that differ between instruction sets; all else is written once.
//
//   VL       floats in a vector
//   EXPAND, VECTORS          wide channels computed together, times vectors of pixels: as many sums as the registers
//                            hold. Wide maps have six times as many channels as their input.
//   OUTPUTS, OUTPUT_VECTORS  the same for all other products; numbers of channels are multiples of 8
//
//   store_far, settle       a store past the caches, on whole vectors' addresses; and before others read what it stored
//
// `exp2` is good to 2e-7 of its value, with bf16 products, which round to 2e-3, to 8e-5; beyond +-120 it may stop growing
// or shrinking.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define INLINE inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

// Everything is local to the file it is compiled in, see kernels.h.
namespace {

// Of 2^r, |r| <= 1/2, highest power first.
#ifdef SCHANGER_BF16
constexpr float EXP2[] = {5.5171669e-2f, 2.4261112e-1f, 6.9326099e-1f, 0.99992807f};
#else
constexpr float EXP2[] = {1.3398874e-3f, 9.6184373e-3f, 5.5503383e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.f};
#endif

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

// max(x, 0) - |x| Q(|x|), where Q is the normal distribution's upper tail, as 2 to a polynomial: off by 5e-7 at most.
INLINE vf gelu(vf x) {
    const vf u = magnitude(x);
    vf p = fma(u, all(-4.7329404e-4f), all(7.0844616e-3f));
    p = fma(p, u, all(-5.182717e-2f));
    p = fma(p, u, all(-0.45999264f));
    p = fma(p, u, all(-1.1507878f));
    p = fma(p, u, all(-1.0000376f));
    return sub(maximum(x, all(0.f)), mul(u, exp2(maximum(p, all(-120.f)))));
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
