// LFEM: the inverted residual with a gate per channel, from the mean over the whole tile (squeeze-excite).
//
// The gate is known only when the whole wide map is: pass 1 stores the map after its 3x3 and sums it strip by strip;
// then the gate is multiplied into the last weights, and pass 2 projects.
#pragma once

#include "residual.h"

namespace {

constexpr size_t FAR = 1 << 20;  // words: a larger map does not stay in the caches until it is read

template <class P>
struct Lfem {
    Residual<P> residual;
    int reduced;
    const float *reduce, *reduce_bias, *expand, *expand_bias;  // of the gate
};

// Shared by all threads; sums are [date][strip][channel], gated [date][out][wide].
struct LfemScratch {
    float* wide;
    size_t wide_words;
    float *sums, *gate;
    void* gated[DATES];
};

INLINE float sigmoid_of(float x) { return 1 / (1 + expf(-x)); }

template <class P>
void gate_weights(const Lfem<P>& m, const float* sums, int strips, int pixels, float* gate, typename P::Weight* gated) {
    const int wide = m.residual.wide;
    float mean[1024], hidden[64];
    for (int e = 0; e < wide; e++) {
        double sum = 0;
        for (int s = 0; s < strips; s++) sum += sums[(size_t)s * wide + e];
        mean[e] = (float)(sum / pixels * SILU_OUT);
    }
    for (int i = 0; i < m.reduced; i++) {
        float sum = m.reduce_bias[i];
        for (int e = 0; e < wide; e++) sum += m.reduce[(size_t)i * wide + e] * mean[e];
        hidden[i] = sum * sigmoid_of(sum);
    }
    for (int e = 0; e < wide; e++) {
        float sum = m.expand_bias[e];
        for (int i = 0; i < m.reduced; i++) sum += m.expand[(size_t)e * m.reduced + i] * hidden[i];
        gate[e] = sigmoid_of(sum) * SILU_OUT;
    }
    pack<P>(m.residual.project, m.residual.out, wide, OUTPUTS, gate, gated);
}

template <class P>
void run_lfem(const Context& c, const Lfem<P>& m, const Map& x, const Map& y, const LfemScratch& s) {
    const Residual<P>& r = m.residual;
    const int strips = parts(x.height, STRIP), blocks = parts(x.pixels(), BLOCK);
    const size_t each = wide_words<P>(r.wide, x);
    // Both dates at once where there is room: fewer waits for the last thread. The largest maps go one by one, so that
    // memory does not double.
    const int together = DATES * each <= s.wide_words ? DATES : 1;
    const bool far = each > FAR;
    auto wide_of = [&](int i) { return (typename P::Wide*)s.wide + i * each; };
    for (int first_date = 0; first_date < DATES; first_date += together) {
        c.share(together * strips, [&](int begin, int end, int worker) {
            Memory memory = c.scratch_of(worker);
            const StripScratch<P> own = strip_scratch<P>(memory, x, r.wide, EXPAND, STRIP);
            clear_rows(own, x, EXPAND, STRIP + 2);
            for (int unit = begin; unit < end; unit++) {
                const int i = unit / strips, at = unit % strips, top = at * STRIP;
                float* sums = s.sums + ((size_t)i * strips + at) * r.wide;
                const auto sink = P::sink(wide_of(i), r.wide, far, own.even, top * x.stride);
                vf sum = all(0.f);
                strip<P, EXPAND, Silu, Silu>(
                    r, x, first_date + i, top, least(STRIP, x.height - top), unit > begin && at > 0, own, STRIP + 2,
                    [&](int e, int pixel, int col, vf t) {
                        sink.put(e, pixel, t);
                        sum = add(sum, col + VL <= x.width ? t : first(t, x.width - col));
                    },
                    [&](int e) {
                        sums[e] = total(sum);
                        sum = all(0.f);
                    });
            }
            settle();
        });
        for (int i = 0; i < together; i++)
            gate_weights(m, s.sums + (size_t)i * strips * r.wide, strips, x.height * x.width, s.gate,
                         (typename P::Weight*)s.gated[i]);
        c.share(together * blocks, [&](int begin, int end, int) {
            for (int i = 0; i < together; i++) {
                const int date = first_date + i, low = most(begin - i * blocks, 0), high = least(end - i * blocks, blocks);
                const float* kept = r.in == r.out ? x.date(date) : nullptr;
                float* to = y.date(date);
                project(wide_of(i), r, (const typename P::Weight*)s.gated[i], low, high, x.pixels(),
                        [&](int o, int pixel, vf t) {
                            const size_t place = o * y.plane + pixel;
                            store(to + place, kept ? add(t, load(kept + place)) : t);
                        });
            }
        });
    }
}

}  // namespace
