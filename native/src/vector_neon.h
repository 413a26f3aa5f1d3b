// NEON of 64-bit Arm: 4 floats, 32 registers.
#pragma once

#include <arm_neon.h>

namespace {

constexpr const char* ISA = "neon";
constexpr int VL = 4, EXPAND = 6, VECTORS = 4, OUTPUTS = 4, OUTPUT_VECTORS = 4;
using vf = float32x4_t;

INLINE vf load(const float* p) { return vld1q_f32(p); }
INLINE void store(float* p, vf v) { vst1q_f32(p, v); }
INLINE void store_far(float* p, vf v) { store(p, v); }
INLINE void settle() {}
INLINE vf all(float a) { return vdupq_n_f32(a); }
INLINE vf fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
INLINE vf add(vf a, vf b) { return vaddq_f32(a, b); }
INLINE vf sub(vf a, vf b) { return vsubq_f32(a, b); }
INLINE vf mul(vf a, vf b) { return vmulq_f32(a, b); }
INLINE vf div(vf a, vf b) { return vdivq_f32(a, b); }
INLINE vf maximum(vf a, vf b) { return vmaxq_f32(a, b); }
INLINE vf square_root(vf a) { return vsqrtq_f32(a); }
INLINE vf magnitude(vf a) { return vabsq_f32(a); }
INLINE vf first(vf v, int n) {
    const int32_t lanes[VL] = {0, 1, 2, 3};
    uint32x4_t kept = vcltq_s32(vld1q_s32(lanes), vdupq_n_s32(n));
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), kept));
}
INLINE float total(vf v) {
    float t[VL];
    store(t, v);
    return (t[0] + t[1]) + (t[2] + t[3]);
}
INLINE vf exp2(vf y) {
    y = vminq_f32(all(120.f), vmaxq_f32(all(-126.f), y));
    vf t = vrndnq_f32(y), r = sub(y, t);
    vf p = fma(all(EXP2[0]), r, all(EXP2[1]));
    p = fma(p, r, all(EXP2[2]));
    p = fma(p, r, all(EXP2[3]));
    p = fma(p, r, all(EXP2[4]));
    p = fma(p, r, all(1.f));
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), vshlq_n_s32(vcvtq_s32_f32(t), 23)));
}

}  // namespace
