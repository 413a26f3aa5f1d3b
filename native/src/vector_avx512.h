// AVX-512 (F, BW, DQ, VL): 16 floats, 32 registers.
#pragma once

#include <immintrin.h>

namespace {

constexpr const char* ISA = "avx512";
constexpr int VL = 16, EXPAND = 6, VECTORS = 4, OUTPUTS = 4, OUTPUT_VECTORS = 4;
using vf = __m512;

INLINE vf load(const float* p) { return _mm512_loadu_ps(p); }
INLINE void store(float* p, vf v) { _mm512_storeu_ps(p, v); }
INLINE void store_far(float* p, vf v) { _mm512_stream_ps(p, v); }
INLINE void settle() { _mm_sfence(); }
INLINE vf all(float a) { return _mm512_set1_ps(a); }
INLINE vf fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf add(vf a, vf b) { return _mm512_add_ps(a, b); }
INLINE vf sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
INLINE vf mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
INLINE vf div(vf a, vf b) { return _mm512_div_ps(a, b); }
INLINE vf maximum(vf a, vf b) { return _mm512_max_ps(a, b); }
INLINE vf square_root(vf a) { return _mm512_sqrt_ps(a); }
INLINE vf magnitude(vf a) { return _mm512_abs_ps(a); }
INLINE vf first(vf v, int n) { return n >= VL ? v : _mm512_maskz_mov_ps((__mmask16)((1u << n) - 1), v); }
INLINE float total(vf v) { return _mm512_reduce_add_ps(v); }
INLINE vf exp2(vf y) {
    vf r = _mm512_reduce_ps(y, 0);  // y minus the nearest whole number
    vf p = all(EXP2[0]);
    UNROLL for (size_t i = 1; i < sizeof EXP2 / sizeof *EXP2; i++) p = fma(p, r, all(EXP2[i]));
    return _mm512_scalef_ps(p, sub(y, r));
}

}  // namespace
