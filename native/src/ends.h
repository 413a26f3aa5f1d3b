// Where the network begins and ends, and what lies between its levels: colours to the first map, halving, doubling, and
// side logits to the one map that comes out.
#pragma once

#include "attention.h"

namespace {

// The first 3x3 over normalized colours, and SiLU.
struct Stem {
    int out;
    const float *mean, *scale;     // [date][colour]
    const float *weight, *bias;    // packed [out / OUTPUTS][27][OUTPUTS]
};
struct StemScratch {
    float* colours;  // [colour][rows + 2][row], zeros around
};
INLINE StemScratch stem_scratch(Memory& memory, const Map& y) {
    return {memory.take<float>((size_t)3 * (STRIP + 2) * (y.stride + 2 * PAD))};
}

// (3, T, T) bytes of each date -> y; T is a multiple of 16, so that rows have no rest.
void run_stem(const Context& c, const Stem& m, const uint8_t* const* images, const Map& y) {
    const int T = y.height, strips = parts(T, STRIP), row = y.stride + 2 * PAD;
    c.share(DATES * strips, [&](int begin, int end, int worker) {
        Memory memory = c.scratch_of(worker);
        float* colours = stem_scratch(memory, y).colours;
        const size_t each = (size_t)(STRIP + 2) * row;
        int offset[27];
        for (int k = 0; k < 27; k++) offset[k] = (int)(k / 9 * each) + k % 9 / 3 * row + PAD + k % 3 - 1;
        for (int unit = begin; unit < end; unit++) {
            const int date = unit / strips, top = unit % strips * STRIP, rows = least(STRIP, T - top);
            memset(colours, 0, 3 * each * sizeof(float));
            for (int colour = 0; colour < 3; colour++) {
                const float mean = m.mean[date * 3 + colour], scale = m.scale[date * 3 + colour];
                for (int y0 = most(top - 1, 0); y0 < least(top + rows + 1, T); y0++) {
                    const uint8_t* from = images[date] + ((size_t)colour * T + y0) * T;
                    float* to = colours + colour * each + (size_t)(y0 - top + 1) * row + PAD;
                    for (int x = 0; x < T; x++) to[x] = ((float)from[x] - mean) * scale;
                }
            }
            for (int r = 0; r < rows; r++) {
                float* to = y.date(date) + (size_t)(top + r) * y.stride;
                const float* from = colours + (size_t)r * row;
                products<Fp32, OUTPUTS>(27, m.out, y.stride / VL, m.weight, m.bias,
                                        [&](int k, int v) { return load(from + offset[k] + v * VL); },
                                        [&](int o, int v, vf t) {
                                            store(to + o * y.plane + v * VL, mul(silu_scaled(t), all(SILU_OUT)));
                                        });
            }
        }
    });
}

// y = the largest of every 2 x 2 pixels of x.
void run_pool(const Context& c, const Map& x, const Map& y) {
    c.share(DATES * x.channels, [&](int begin, int end, int) {
        for (int i = begin; i < end; i++)
            for (int r = 0; r < y.height; r++) {
                const float *__restrict a = x.data + i * x.plane + (size_t)2 * r * x.stride, *__restrict b = a + x.stride;
                float* __restrict to = y.data + i * y.plane + (size_t)r * y.stride;
                for (int k = 0; k < y.width; k++) {
                    const float u = a[2 * k] > a[2 * k + 1] ? a[2 * k] : a[2 * k + 1];
                    const float v = b[2 * k] > b[2 * k + 1] ? b[2 * k] : b[2 * k + 1];
                    to[k] = u > v ? u : v;
                }
            }
    });
}

// Bilinear, corners on corners: pixel i of `length` lies at i (source - 1) / (length - 1) of `source`.
INLINE void place_of(int i, int source, int length, int* low, float* share) {
    const double at = (double)i * (source - 1) / (length - 1);
    const int below = least((int)at, most(source - 2, 0));
    *low = below, *share = (float)(at - below);
}

struct DoubleScratch {
    float *row, *even, *odd;
};
INLINE DoubleScratch double_scratch(Memory& memory, const Map& x) {
    float* row = memory.take<float>(x.width + 2);
    float* even = memory.take<float>(x.width);
    return {row, even, memory.take<float>(x.width)};
}

// y += x, twice as high and wide. Pixel 2k of y lies between k - 1 and k of x, pixel 2k + 1 between k and k + 1.
void run_double(const Context& c, const Map& x, const Map& y) {
    const int w = x.width, h = x.height;
    c.share(DATES * x.channels, [&](int begin, int end, int worker) {
        Memory memory = c.scratch_of(worker);
        const DoubleScratch s = double_scratch(memory, x);
        float *__restrict row = s.row + 1, *__restrict even = s.even, *__restrict odd = s.odd;
        for (int k = 0; k < w; k++) {
            even[k] = k ? (float)(1 - (double)k / (2 * w - 1)) : 1.f;
            odd[k] = (float)((double)(w - 1 - k) / (2 * w - 1));
        }
        for (int i = begin; i < end; i++)
            for (int r = 0; r < y.height; r++) {
                int low;
                float share;
                place_of(r, h, y.height, &low, &share);
                const float *__restrict a = x.data + i * x.plane + (size_t)low * x.stride;
                const float* __restrict b = a + (h > 1 ? x.stride : 0);
                for (int k = 0; k < w; k++) row[k] = a[k] + (b[k] - a[k]) * share;
                row[-1] = row[0], row[w] = row[w - 1];
                float* __restrict to = y.data + i * y.plane + (size_t)r * y.stride;
                for (int k = 0; k < w; k++) {
                    to[2 * k] += row[k - 1] + (row[k] - row[k - 1]) * even[k];
                    to[2 * k + 1] += row[k] + (row[k + 1] - row[k]) * odd[k];
                }
            }
    });
}

// A side head: temporal fusion and a 3x3 to one logit.
template <class P>
struct Head {
    Fusion<P> fusion;
    const float *taps, *bias;
    float weight;  // of this side in the fused logit
};
constexpr int HEAD_STRIP = 16;

struct HeadScratch {
    float *fused, *block, *packed;  // [channel][rows + 2][row], zeros around; [channel][pixel of a block]
};
INLINE HeadScratch head_scratch(Memory& memory, const Map& x) {
    float* fused = memory.take<float>((size_t)x.channels * (HEAD_STRIP + 2) * (x.stride + 2 * PAD));
    float* block = memory.take<float>((size_t)x.channels * BLOCK);
    return {fused, block, memory.take<float>((size_t)DATES * x.channels * BLOCK)};
}

// side (height x stride) of x.
template <class P>
void run_head(const Context& c, const Head<P>& m, const Map& x, float* side) {
    const int row = x.stride + 2 * PAD, H = x.height;
    c.share(parts(H, HEAD_STRIP), [&](int begin, int end, int worker) {
        Memory memory = c.scratch_of(worker);
        const HeadScratch s = head_scratch(memory, x);
        const size_t each = (size_t)(HEAD_STRIP + 2) * row;
        for (int unit = begin; unit < end; unit++) {
            const int top = unit * HEAD_STRIP, rows = least(HEAD_STRIP, H - top);
            memset(s.fused, 0, x.channels * each * sizeof(float));
            for (int y = most(top - 1, 0); y < least(top + rows + 1, H); y++)
                for (int col = 0; col < x.stride; col += BLOCK) {
                    const int vectors = least(BLOCK, x.stride - col) / VL;
                    float* to = s.fused + (size_t)(y - top + 1) * row + PAD + col;
                    fuse(m.fusion, vectors,
                         P::source(x.data + (size_t)y * x.stride + col, x.plane, DATES * x.channels, vectors,
                                   (typename P::Wide*)s.packed),
                         s.block, [&](int o, int v, vf t) {
                             const int left = x.width - col - v * VL;
                             store(to + o * each + v * VL, left >= VL ? t : first(t, most(left, 0)));
                         });
                }
            for (int r = 0; r < rows; r++)
                for (int col = 0; col < x.stride; col += VL) {
                    vf sum = all(m.bias[0]);
                    for (int k = 0; k < x.channels; k++) {
                        const float *from = s.fused + k * each + (size_t)r * row + PAD + col, *taps = m.taps + k * 9;
                        UNROLL for (int j = 0; j < 9; j++)
                            sum = fma(all(taps[j]), load(from + j / 3 * row + j % 3 - 1), sum);
                    }
                    store(side + (size_t)(top + r) * x.stride + col, sum);
                }
        }
    });
}

struct Side {
    const float* data;
    int size, stride;
    float weight;
};
struct EndScratch {
    float *row, *share;
    int* low;
};
INLINE EndScratch end_scratch(Memory& memory, int T) {
    float *row = memory.take<float>(T), *share = memory.take<float>(T);
    return {row, share, memory.take<int>(T)};
}

// The sides, enlarged and weighted, and a sigmoid -> probability (T x T).
void run_end(const Context& c, const Side* sides, int count, float bias, int T, float* probability) {
    c.share(T, [&](int begin, int end, int worker) {
        Memory memory = c.scratch_of(worker);
        const EndScratch s = end_scratch(memory, T);
        for (size_t i = (size_t)begin * T; i < (size_t)end * T; i++) probability[i] = bias;
        for (const Side* side = sides; side < sides + count; side++) {
            for (int x = 0; x < T; x++) place_of(x, side->size, T, &s.low[x], &s.share[x]);
            const int next = side->size > 1 ? 1 : 0;
            for (int y = begin; y < end; y++) {
                int low;
                float share;
                place_of(y, side->size, T, &low, &share);
                const float *a = side->data + (size_t)low * side->stride, *b = a + next * side->stride;
                for (int x = 0; x < side->size; x++) s.row[x] = a[x] + (b[x] - a[x]) * share;
                float* to = probability + (size_t)y * T;
                for (int x = 0; x < T; x++) {
                    const float left = s.row[s.low[x]], right = s.row[s.low[x] + next];
                    to[x] += side->weight * (left + (right - left) * s.share[x]);
                }
            }
        }
        for (size_t i = (size_t)begin * T; i < (size_t)end * T; i += VL)
            store(probability + i, sigmoid(load(probability + i)));
    });
}

}  // namespace
