// The inverted residual: 1x1 to a wide map, activation, 3x3 of each channel, activation, and 1x1 back. In LFEM a gate of
// squeeze-excite stands before the last step, and in SCAM's MLP it does not.
//
// The wide map is never whole in memory before its 3x3: strips of rows are expanded and convolved while they are in the
// cache, EXPAND channels at a time, and the last two expanded rows of each are carried to the next strip.
#pragma once

#include "products.h"

namespace {

constexpr int STRIP = 8;      // rows; sums for the gate are made strip by strip, so this decides about bytes
constexpr int MLP_STRIP = 4;  // its wide map of a strip stays in the cache until it is projected
constexpr int MLP_EXPAND = 4;
constexpr size_t LINE = 64;  // bytes of the cache

template <class P>
struct Residual {
    int in, wide, out;
    const typename P::Weight* expand;  // packed in groups of EXPAND (MLP: MLP_EXPAND)
    const float *expand_bias, *taps, *taps_bias;
    const float* project;  // [out][wide], as it came: the gate changes it for each pair (MLP: packed instead)
    const typename P::Weight* project_packed;
    const float* project_bias;
};

// What a thread needs for strips.
template <class P>
struct StripScratch {
    float *rows, *carry, *even;  // [group][rows + 2][row], [wide][2][row], pixels of a strip
    typename P::Wide* source;
    int* place;
};

template <class P>
StripScratch<P> strip_scratch(Memory& memory, const Map& x, int wide, int group, int rows) {
    const size_t row = x.stride + 2 * PAD;
    StripScratch<P> s;
    s.rows = memory.take<float>(group * (rows + 2) * row);
    s.carry = memory.take<float>(wide * 2 * row);
    s.even = memory.take<float>((size_t)rows * x.stride);
    s.source = memory.take<typename P::Wide>(P::PAIR == 1 ? 0 : (size_t)x.channels / P::PAIR * (rows + 2) * x.stride);
    s.place = memory.take<int>((size_t)(rows + 2) * x.stride / VL);
    return s;
}

// R rows of a 3x3 convolution of one channel; `src` is its first pixel in the row above the first.
template <int R, class Out>
INLINE void convolve3(const float* src, int row, int stride, const float* taps, float bias, Out out) {
    vf k[9];
    UNROLL for (int i = 0; i < 9; i++) k[i] = all(taps[i]);
    const vf b = all(bias);
    for (int x = 0; x < stride; x += VL) {
        vf sum[R];
        UNROLL for (int r = 0; r < R; r++) sum[r] = b;
        UNROLL for (int i = 0; i < R + 2; i++) {
            const float* s = src + (ptrdiff_t)i * row + x;
            const vf left = load(s - 1), middle = load(s), right = load(s + 1);
            UNROLL for (int d = 0; d < 3; d++) {
                const int r = i - d;
                if (r < 0 || r >= R) continue;
                sum[r] = fma(k[3 * d], left, sum[r]);
                sum[r] = fma(k[3 * d + 1], middle, sum[r]);
                sum[r] = fma(k[3 * d + 2], right, sum[r]);
            }
        }
        UNROLL for (int r = 0; r < R; r++) out(r, x, sum[r]);
    }
}

// One strip of rows [top, top + rows) of a date: put(channel, pixel of the map, its column, value) after the second
// activation, and done(channel) when it has had all of them.
// `follows` the strip above it, whose last rows are in the carry; bytes are the same if it does not.
template <class P, int G, class First, class Second, class Put, class Done>
INLINE void strip(const Residual<P>& m, const Map& x, int date, int top, int rows, bool follows, const StripScratch<P>& s,
                  int slots, Put put, Done done) {
    const int row = x.stride + 2 * PAD, across = x.stride / VL, H = x.height;
    const int from = follows ? top + 1 : most(top - 1, 0), to = least(top + rows + 1, H);
    const int vectors = (to - from) * across;
    const size_t each = (size_t)slots * row;
    for (int v = 0; v < vectors; v++) s.place[v] = (from - (top - 1) + v / across) * row + PAD + v % across * VL;
    const auto source = P::source(x.date(date) + (size_t)from * x.stride, x.plane, m.in, vectors, s.source);
    for (int e = 0; e < m.wide; e += G) {
        for (int j = 0; j < G; j++) {
            float* own = s.rows + j * each;
            if (follows) memcpy(own, s.carry + (size_t)(e + j) * 2 * row, 2 * row * sizeof(float));
            else if (top == 0) memset(own, 0, row * sizeof(float));
            if (top + rows == H) memset(own + (size_t)(rows + 1) * row, 0, row * sizeof(float));
        }
        products<P, G>(m.in, G, vectors, m.expand + (size_t)e * (m.in / P::PAIR), m.expand_bias + e, source,
                       [&](int j, int v, vf t) { store(s.rows + j * each + s.place[v], First::of(t)); });
        for (int j = 0; j < G; j++) {
            float* own = s.rows + j * each;
            if (x.stride != x.width)
                for (int y = from - (top - 1); y < to - (top - 1); y++)
                    memset(own + (size_t)y * row + PAD + x.width, 0, (x.stride - x.width) * sizeof(float));
            memcpy(s.carry + (size_t)(e + j) * 2 * row, own + (size_t)rows * row, 2 * row * sizeof(float));
            const float *taps = m.taps + (e + j) * 9, bias = m.taps_bias[e + j];
            auto out = [&](int y) {
                return [&, y](int r, int col, vf t) { put(e + j, (top + y + r) * x.stride + col, col, Second::of(t)); };
            };
            int y = 0;
            for (; y + 4 <= rows; y += 4) convolve3<4>(own + (size_t)y * row + PAD, row, x.stride, taps, bias, out(y));
            for (; y < rows; y++) convolve3<1>(own + (size_t)y * row + PAD, row, x.stride, taps, bias, out(y));
            done(e + j);
        }
    }
}

// The zeros beside and around rows, which strips never write.
template <class P>
INLINE void clear_rows(const StripScratch<P>& s, const Map& x, int group, int slots) {
    memset(s.rows, 0, (size_t)group * slots * (x.stride + 2 * PAD) * sizeof(float));
}

// out(channel, pixel, value) of pixels [first block, end block) of a wide map that a Sink has filled.
template <class P, class Out>
INLINE void project(const typename P::Wide* wide, const Residual<P>& m, const typename P::Weight* w, int begin, int end,
                    int pixels, Out out) {
    const int steps = m.wide / P::PAIR;
    for (int b = begin; b < end; b++) {
        const typename P::Wide* block = wide + (size_t)b * steps * BLOCK;
        const int first = b * BLOCK;
        // The next block comes from far away. It is fetched meanwhile, a line of the cache at each step.
        const char* next = (const char*)(block + (size_t)steps * BLOCK);
        const char* last = b + 1 < end ? (const char*)(block + (size_t)2 * steps * BLOCK) : next;
        products<P, OUTPUTS>(m.wide, m.out, least(BLOCK, pixels - first) / VL, w, m.project_bias,
                             [&](int k, int v) {
                                 if (v == 0 && next < last) __builtin_prefetch(next, 0, 2), next += LINE;
                                 return P::get(block + k * BLOCK + v * VL);
                             },
                             [&](int o, int v, vf t) { out(o, first + v * VL, t); });
    }
}

// Words of 32 bits of a wide map of one date as a Sink fills it.
template <class P>
size_t wide_words(int wide, const Map& x) {
    return (size_t)parts(x.pixels(), BLOCK) * BLOCK * wide / P::PAIR;
}

}  // namespace
