// SCAM: one attention map for both dates, from where they differ, then an MLP; and the temporal fusion that SCAM and the
// heads have in common.
#pragma once

#include "residual.h"

namespace {

// TFM: both dates become one map: 1x1, LayerNorm over channels, GELU. The mean is zero already, by the 1x1's weights.
template <class P>
struct Fusion {
    int out;
    const typename P::Weight* weight;
    const float *bias, *norm_weight, *norm_bias;
};

// x(step, vector) of both dates' channels in; out(channel, vector, value). `t` holds [channel][pixel of the block].
template <class P, class X, class Out>
INLINE void fuse(const Fusion<P>& m, int vectors, X x, float* t, Out out) {
    products<P, OUTPUTS>(2 * m.out, m.out, vectors, m.weight, m.bias, x,
                         [&](int o, int v, vf value) { store(t + o * BLOCK + v * VL, value); });
    const vf share = all(1.f / m.out), epsilon = all(1e-6f);
    for (int v = 0; v < vectors; v++) {
        const float* column = t + v * VL;
        vf squares = all(0.f);
        for (int o = 0; o < m.out; o++) {
            const vf value = load(column + o * BLOCK);
            squares = fma(value, value, squares);
        }
        const vf inverse = div(all(1.f), square_root(fma(squares, share, epsilon)));
        for (int o = 0; o < m.out; o++) {
            const vf value = mul(load(column + o * BLOCK), inverse);
            out(o, v, gelu(fma(value, all(m.norm_weight[o]), all(m.norm_bias[o]))));
        }
    }
}

template <class P>
struct Scam {
    int channels;
    const typename P::Weight *before, *gate, *after;  // the 1x1s
    const float *before_bias, *gate_bias, *after_bias, *kept;
    Fusion<P> fusion;
    const float *near, *near_bias, *far, *far_bias;  // 5x5, and 7x7 of every third pixel
    Residual<P> mlp;
};

// A large convolution of one channel, K x K of every D-th pixel, from and to planes with zeros around: rows D apart have
// their inputs in common, so four of them are summed at once.
template <int K, int D, class Out>
INLINE void convolve(const float* src, int row, int height, int stride, const float* taps, float bias, Out out) {
    constexpr int R = 4, REACH = K / 2 * D;
    for (int y0 = 0; y0 < height; y0 += R * D)
        for (int y = y0; y < least(y0 + D, height); y++)
            for (int x = 0; x < stride; x += VL) {
                vf sum[R];
                UNROLL for (int r = 0; r < R; r++) sum[r] = all(bias);
                for (int j = 0; j < K; j++) {
                    const float* s = src + (ptrdiff_t)(y - REACH) * row + x + j * D - REACH;
                    vf k[K];
                    UNROLL for (int i = 0; i < K; i++) k[i] = all(taps[i * K + j]);
                    UNROLL for (int i = 0; i < R + K - 1; i++) {
                        const vf value = load(s + (ptrdiff_t)i * D * row);
                        UNROLL for (int r = 0; r < R; r++)
                            if (i - r >= 0 && i - r < K) sum[r] = fma(k[i - r], value, sum[r]);
                    }
                }
                UNROLL for (int r = 0; r < R; r++)
                    if (y + r * D < height) out(y + r * D, x, sum[r]);
            }
}
constexpr int ABOVE = 9, BELOW = 21;  // rows that it reads beyond a plane: the reach of 7 x 7 by 3, and rows never kept

struct ScamScratch {
    float *near, *far;  // padded planes
    float *fused, *gated, *packed;  // [channel][pixel of a block]
};

template <class P>
ScamScratch scam_scratch(Memory& memory, const Map& x) {
    const size_t padded = (size_t)(ABOVE + x.height + BELOW) * (x.stride + 2 * PAD);
    ScamScratch s;
    s.near = memory.take<float>(padded);
    s.far = memory.take<float>(padded);
    s.fused = memory.take<float>((size_t)x.channels * BLOCK);
    s.gated = memory.take<float>((size_t)x.channels * BLOCK);
    s.packed = memory.take<float>((size_t)DATES * x.channels * BLOCK);
    return s;
}

// Active maps of both dates, and the fused one.
template <class P>
void run_before(const Context& c, const Scam<P>& m, const Map& x, const Map& active, const Map& fused) {
    c.share(parts(x.pixels(), BLOCK), [&](int begin, int end, int worker) {
        Memory memory = c.scratch_of(worker);
        const ScamScratch s = scam_scratch<P>(memory, x);
        auto* packed = (typename P::Wide*)s.packed;
        for (int b = begin; b < end; b++) {
            const int pixel = b * BLOCK, vectors = least(BLOCK, x.pixels() - pixel) / VL;
            for (int i = 0; i < DATES; i++) {
                float* to = active.date(i) + pixel;
                products<P, OUTPUTS>(m.channels, m.channels, vectors, m.before, m.before_bias,
                                     P::source(x.date(i) + pixel, x.plane, m.channels, vectors, packed),
                                     [&](int o, int v, vf t) { store(to + o * active.plane + v * VL, gelu(t)); });
            }
            // Both dates' channels lie one after the other.
            fuse(m.fusion, vectors, P::source(active.data + pixel, active.plane, DATES * m.channels, vectors, packed),
                 s.fused, [&](int o, int v, vf t) { store(fused.data + o * fused.plane + pixel + v * VL, t); });
        }
    });
}

// The two large convolutions, in place.
template <class P>
void run_wide(const Context& c, const Scam<P>& m, const Map& fused) {
    const int row = fused.stride + 2 * PAD, W = fused.width, H = fused.height;
    c.share(m.channels, [&](int begin, int end, int worker) {
        Memory memory = c.scratch_of(worker);
        const ScamScratch s = scam_scratch<P>(memory, fused);
        const size_t padded = (size_t)(ABOVE + H + BELOW) * row;
        memset(s.near, 0, padded * sizeof(float));
        memset(s.far, 0, padded * sizeof(float));
        float *near = s.near + ABOVE * row + PAD, *far = s.far + ABOVE * row + PAD;
        for (int k = begin; k < end; k++) {
            float* own = fused.data + k * fused.plane;
            for (int y = 0; y < H; y++) memcpy(near + (size_t)y * row, own + (size_t)y * fused.stride, W * sizeof(float));
            convolve<5, 1>(near, row, H, fused.stride, m.near + k * 25, m.near_bias[k], [&](int y, int x, vf t) {
                store(far + (size_t)y * row + x, x + VL <= W ? t : first(t, W - x));
            });
            convolve<7, 3>(far, row, H, fused.stride, m.far + k * 49, m.far_bias[k],
                           [&](int y, int x, vf t) { store(own + (size_t)y * fused.stride + x, t); });
        }
    });
}

// y = kept x + 1x1(active * 1x1(fused)).
template <class P>
void run_after(const Context& c, const Scam<P>& m, const Map& x, const Map& active, const Map& fused, const Map& y) {
    c.share(parts(x.pixels(), BLOCK), [&](int begin, int end, int worker) {
        Memory memory = c.scratch_of(worker);
        const ScamScratch s = scam_scratch<P>(memory, x);
        auto* packed = (typename P::Wide*)s.packed;
        for (int b = begin; b < end; b++) {
            const int pixel = b * BLOCK, vectors = least(BLOCK, x.pixels() - pixel) / VL;
            products<P, OUTPUTS>(m.channels, m.channels, vectors, m.gate, m.gate_bias,
                                 P::source(fused.data + pixel, fused.plane, m.channels, vectors, packed),
                                 [&](int o, int v, vf t) { store(s.fused + o * BLOCK + v * VL, t); });
            for (int i = 0; i < DATES; i++) {
                const float *own = x.date(i) + pixel, *a = active.date(i) + pixel;
                float* to = y.date(i) + pixel;
                for (int k = 0; k < m.channels; k++)
                    for (int v = 0; v < vectors; v++) {
                        const int at = k * BLOCK + v * VL;
                        store(s.gated + at, mul(load(s.fused + at), load(a + k * active.plane + v * VL)));
                    }
                products<P, OUTPUTS>(m.channels, m.channels, vectors, m.after, m.after_bias,
                                     P::source(s.gated, BLOCK, m.channels, vectors, packed), [&](int o, int v, vf t) {
                                         store(to + o * y.plane + v * VL,
                                               fma(load(own + o * x.plane + v * VL), all(m.kept[o]), t));
                                     });
            }
        }
    });
}

template <class P>
struct MlpScratch {
    StripScratch<P> strip;
    typename P::Wide* wide;
};
template <class P>
MlpScratch<P> mlp_scratch(Memory& memory, const Map& x, int wide) {
    const auto strip = strip_scratch<P>(memory, x, wide, MLP_EXPAND, MLP_STRIP);
    return {strip, memory.take<typename P::Wide>((size_t)wide / P::PAIR * round_up(MLP_STRIP * x.stride, BLOCK))};
}

// y = x + MLP(x); strips of one date read each other's rows of x, so y is another map.
template <class P>
void run_mlp(const Context& c, const Residual<P>& m, const Map& x, const Map& y) {
    const int strips = parts(x.height, MLP_STRIP);
    c.share(DATES * strips, [&](int begin, int end, int worker) {
        Memory memory = c.scratch_of(worker);
        const MlpScratch<P> s = mlp_scratch<P>(memory, x, m.wide);
        clear_rows(s.strip, x, MLP_EXPAND, MLP_STRIP + 2);
        for (int unit = begin; unit < end; unit++) {
            const int date = unit / strips, at = unit % strips, top = at * MLP_STRIP, start = top * x.stride;
            const int rows = least(MLP_STRIP, x.height - top), pixels = rows * x.stride;
            const auto sink = P::sink(s.wide, m.wide, false, s.strip.even, 0);
            strip<P, MLP_EXPAND, Same, Gelu>(
                m, x, date, top, rows, unit > begin && at > 0, s.strip, MLP_STRIP + 2,
                [&](int e, int pixel, int, vf t) { sink.put(e, pixel - start, t); }, [](int) {});
            const float* kept = x.date(date) + start;
            float* to = y.date(date) + start;
            project(s.wide, m, m.project_packed, 0, parts(pixels, BLOCK), pixels, [&](int o, int pixel, vf t) {
                store(to + o * y.plane + pixel, add(t, load(kept + o * x.plane + pixel)));
            });
        }
    });
}

// x becomes SCAM(x), in place; `room` holds five maps of one date.
template <class P>
void run_scam(const Context& c, const Scam<P>& m, const Map& x, float* room) {
    const size_t date = m.channels * x.plane;
    Map active = x, fused = x, attended = x;
    active.data = room, attended.data = room + DATES * date, fused.data = room + 2 * DATES * date;
    run_before(c, m, x, active, fused);
    run_wide(c, m, fused);
    run_after(c, m, x, active, fused, attended);
    run_mlp(c, m.mlp, attended, x);
}

}  // namespace
