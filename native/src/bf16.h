// Products of bfloat16 (8 bits of mantissa), two at once, summed in floats: AVX-512 BF16. Everything between is float.
#pragma once

#include "products.h"

namespace {

struct Bf16 {
    using Weight = uint32_t;  // of two channels
    using Wide = uint32_t;
    using Input = __m512i;
    static constexpr int PAIR = 2;
    static constexpr const char* NAME = "bf16";

    static INLINE Input weight(Weight w) { return _mm512_set1_epi32((int)w); }
    static INLINE vf step(Input w, Input x, vf sum) { return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)x); }
    static INLINE Input get(const Wide* p) { return _mm512_loadu_si512(p); }
    static INLINE uint32_t rounded(float f) {
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    }
    static INLINE Weight pack(float first, float second) { return rounded(first) | rounded(second) << 16; }
    // Both rounded, side by side in each pixel's 32 bits.
    static INLINE Input both(vf first, vf second) {
        const __m512i high = (__m512i)_mm512_cvtne2ps_pbh(second, first);  // first in the lower half
        alignas(64) static const uint16_t ORDER[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                       8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
        return _mm512_permutexvar_epi16(_mm512_load_si512(ORDER), high);
    }

    // Rows of pixels, rounded and paired once, for all outputs.
    struct Source {
        const Wide* data;
        int vectors;
        INLINE Input operator()(int k, int v) const { return get(data + ((size_t)k * vectors + v) * VL); }
    };
    static INLINE Source source(const float* x, size_t plane, int channels, int vectors, Wide* room) {
        for (int k = 0; k < channels / 2; k++)
            for (int v = 0; v < vectors; v++) {
                const float* from = x + (size_t)2 * k * plane + v * VL;
                _mm512_storeu_si512(room + ((size_t)k * vectors + v) * VL, both(load(from), load(from + plane)));
            }
        return {room, vectors};
    }

    // [block][pair of channels][pixel of the block]; an even channel waits for the odd one.
    struct Sink {
        Wide* data;
        int wide;
        bool far;
        float* even;
        int start;
        INLINE void put(int e, int pixel, vf v) const {
            float* waiting = even + (pixel - start);
            if (e % 2 == 0) return store(waiting, v);
            Wide* to = data + ((size_t)(pixel / BLOCK) * (wide / 2) + e / 2) * BLOCK + pixel % BLOCK;
            const Input pair = both(load(waiting), v);
            far ? _mm512_stream_si512((__m512i*)to, pair) : _mm512_storeu_si512(to, pair);
        }
    };
    static INLINE Sink sink(Wide* data, int wide, bool far, float* even, int start) {
        return {data, wide, far, even, start};
    }
};

}  // namespace
