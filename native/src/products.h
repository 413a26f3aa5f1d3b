// The product of a small matrix with many pixels, which is where the time goes: 1x1 convolutions, and the first 3x3.
//
// Vectors run along pixels, so that any number of channels works; a number of outputs times a number of vectors is
// summed in registers. In which order a pixel's sum is made depends on nothing else.
#pragma once

#include "maps.h"

namespace {

// Products of floats, summed in floats.
struct Fp32 {
    using Weight = float;
    using Wide = float;
    using Input = vf;
    static constexpr int PAIR = 1;  // channels that a product takes at once
    static constexpr const char* NAME = "fp32";

    static INLINE Input weight(Weight w) { return all(w); }
    static INLINE vf step(Input w, Input x, vf sum) { return fma(w, x, sum); }
    static INLINE Input get(const Wide* p) { return load(p); }
    static INLINE Weight pack(float w, float) { return w; }

    // Rows of pixels as products take them; as they are.
    struct Source {
        const float* data;
        size_t plane;
        INLINE Input operator()(int k, int v) const { return load(data + k * plane + v * VL); }
    };
    static INLINE Source source(const float* x, size_t plane, int, int, Wide*) { return {x, plane}; }

    // Where a wide map's pixels go, channel after channel: [block][channel][pixel of the block].
    struct Sink {
        Wide* data;
        int wide;
        bool far;  // past the caches
        INLINE void put(int e, int pixel, vf v) const {
            float* to = data + ((size_t)(pixel / BLOCK) * wide + e) * BLOCK + pixel % BLOCK;
            far ? store_far(to, v) : store(to, v);
        }
    };
    static INLINE Sink sink(Wide* data, int wide, bool far, float*, int) { return {data, wide, far}; }
};

// [outputs][inputs] -> [outputs / group][inputs / PAIR][group]; `scale` for each input, if not null.
template <class P>
void pack(const float* w, int outputs, int inputs, int group, const float* scale, typename P::Weight* to) {
    for (int o = 0; o < outputs; o += group)
        for (int k = 0; k < inputs; k += P::PAIR)
            for (int j = 0; j < group; j++) {
                const float* row = w + (size_t)(o + j) * inputs;
                const int next = k + P::PAIR - 1;
                *to++ = P::pack(row[k] * (scale ? scale[k] : 1), row[next] * (scale ? scale[next] : 1));
            }
}

// O outputs of V vectors over `steps` inputs: x(step, vector) in, out(output, vector, value).
template <class P, int O, int V, class X, class Out>
INLINE void tile(int steps, const typename P::Weight* __restrict w, const float* __restrict bias, X x, Out out) {
    vf sum[O][V];
    UNROLL for (int o = 0; o < O; o++) {
        const vf b = all(bias[o]);
        UNROLL for (int v = 0; v < V; v++) sum[o][v] = b;
    }
    for (int k = 0; k < steps; k++) {
        typename P::Input in[V];
        UNROLL for (int v = 0; v < V; v++) in[v] = x(k, v);
        UNROLL for (int o = 0; o < O; o++) {
            const typename P::Input t = P::weight(w[k * O + o]);
            UNROLL for (int v = 0; v < V; v++) sum[o][v] = P::step(t, in[v], sum[o][v]);
        }
    }
    UNROLL for (int o = 0; o < O; o++) UNROLL for (int v = 0; v < V; v++) out(o, v, sum[o][v]);
}

// All `outputs` (a multiple of O) of `vectors` vectors; weights as `pack` left them, in groups of O.
template <class P, int O, class X, class Out>
INLINE void products(int inputs, int outputs, int vectors, const typename P::Weight* w, const float* bias, X x, Out out) {
    constexpr int V = O == OUTPUTS ? OUTPUT_VECTORS : VECTORS;
    const int steps = inputs / P::PAIR;
    for (int o = 0; o < outputs; o += O) {
        const typename P::Weight* row = w + (size_t)o * steps;
        auto put = [&](int v) { return [=](int oo, int vv, vf value) { out(o + oo, v + vv, value); }; };
        auto get = [&](int v) { return [=](int k, int vv) { return x(k, v + vv); }; };
        int v = 0;
        for (; v + V <= vectors; v += V) tile<P, O, V>(steps, row, bias + o, get(v), put(v));
        for (; v < vectors; v++) tile<P, O, 1>(steps, row, bias + o, get(v), put(v));
    }
}

}  // namespace
