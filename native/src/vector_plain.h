// Any processor that GCC or clang compiles for: 4 floats as the compilers' own vectors, which become what the processor
// has, if only loops.
#pragma once

namespace {

constexpr const char* ISA = "plain";
constexpr int VL = 4, EXPAND = 6, VECTORS = 2, OUTPUTS = 4, OUTPUT_VECTORS = 2;
typedef float vf __attribute__((vector_size(4 * VL)));
typedef int32_t vi __attribute__((vector_size(4 * VL)));

INLINE vf load(const float* p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store(float* p, vf v) { memcpy(p, &v, sizeof v); }
INLINE void store_far(float* p, vf v) { store(p, v); }
INLINE void settle() {}
INLINE vf all(float a) { return vf{a, a, a, a}; }
// A product, then a sum: a fused one would be a call of a function where the processor has none.
INLINE vf fma(vf a, vf b, vf c) { return a * b + c; }
INLINE vf add(vf a, vf b) { return a + b; }
INLINE vf sub(vf a, vf b) { return a - b; }
INLINE vf mul(vf a, vf b) { return a * b; }
INLINE vf div(vf a, vf b) { return a / b; }
INLINE vf chosen(vi where, vf a, vf b) { return (vf)(((vi)a & where) | ((vi)b & ~where)); }
INLINE vf maximum(vf a, vf b) { return chosen(a > b, a, b); }
INLINE vf square_root(vf a) { return vf{sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3])}; }
INLINE vi signs() { return vi{INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN}; }
INLINE vf magnitude(vf a) { return (vf)((vi)a & ~signs()); }
INLINE vf first(vf v, int n) { return (vf)((vi)v & (vi{0, 1, 2, 3} < vi{n, n, n, n})); }
INLINE float total(vf v) { return (v[0] + v[1]) + (v[2] + v[3]); }
INLINE vf exp2(vf y) {
    const vf rounder = all(12582912.f);  // 1.5 * 2^23: adding it leaves the whole number in the last bits
    y = chosen(y < all(-126.f), all(-126.f), y);
    y = chosen(y > all(120.f), all(120.f), y);
    vf t = y + rounder, r = y - (t - rounder), p = fma(all(EXP2[0]), r, all(EXP2[1]));
    p = fma(p, r, all(EXP2[2]));
    p = fma(p, r, all(EXP2[3]));
    p = fma(p, r, all(EXP2[4]));
    p = fma(p, r, all(1.f));
    return (vf)((vi)p + ((vi)t << 23));
}

}  // namespace
