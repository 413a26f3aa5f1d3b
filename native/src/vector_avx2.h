// AVX2 and FMA: 8 floats, 16 registers.
#pragma once

#include <immintrin.h>

namespace {

constexpr const char* ISA = "avx2";
constexpr int VL = 8, EXPAND = 6, VECTORS = 2, OUTPUTS = 4, OUTPUT_VECTORS = 2;
using vf = __m256;

INLINE vf load(const float* p) { return _mm256_loadu_ps(p); }
INLINE void store(float* p, vf v) { _mm256_storeu_ps(p, v); }
INLINE void store_far(float* p, vf v) { _mm256_stream_ps(p, v); }
INLINE void settle() { _mm_sfence(); }
INLINE vf all(float a) { return _mm256_set1_ps(a); }
INLINE vf fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf add(vf a, vf b) { return _mm256_add_ps(a, b); }
INLINE vf sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
INLINE vf mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
INLINE vf div(vf a, vf b) { return _mm256_div_ps(a, b); }
INLINE vf maximum(vf a, vf b) { return _mm256_max_ps(a, b); }
INLINE vf square_root(vf a) { return _mm256_sqrt_ps(a); }
INLINE vf magnitude(vf a) { return _mm256_andnot_ps(all(-0.f), a); }
INLINE vf first(vf v, int n) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lanes)));
}
INLINE float total(vf v) {
    float t[VL];
    store(t, v);
    return ((t[0] + t[1]) + (t[2] + t[3])) + ((t[4] + t[5]) + (t[6] + t[7]));
}
INLINE vf exp2(vf y) {
    const vf rounder = all(12582912.f);  // 1.5 * 2^23: adding it leaves the whole number in the last bits
    // The operand that is kept where the other is NaN stands second.
    y = _mm256_min_ps(all(120.f), _mm256_max_ps(all(-126.f), y));
    vf t = add(y, rounder), r = sub(y, sub(t, rounder));
    vf p = fma(all(EXP2[0]), r, all(EXP2[1]));
    p = fma(p, r, all(EXP2[2]));
    p = fma(p, r, all(EXP2[3]));
    p = fma(p, r, all(EXP2[4]));
    p = fma(p, r, all(1.f));
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(t), 23)));
}

}  // namespace
