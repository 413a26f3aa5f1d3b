// Training on a CPU: the wide middle of an LFEM (BatchNorm, SiLU, depthwise 3x3, BatchNorm, SiLU, squeeze-excite gate)
// as one operation, and depthwise convolutions of any size and dilation. One thread, AVX-512. Tensors are channels_last (N, H, W, C) of float or bfloat16, C a multiple of 16; what is cheap
// is computed again in the backward pass, so that the activations are read and written as seldom as can be.
#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

using V = __m512;
using bf16 = uint16_t;

static inline V load(const float* p) { return _mm512_loadu_ps(p); }
static inline void store(float* p, V v) { _mm512_storeu_ps(p, v); }
static inline V load(const bf16* p) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
static inline void store(bf16* p, V v) {
    __m512i bits = _mm512_castps_si512(v);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
}

static inline V sigmoid(V y) {
    const V log2e = _mm512_set1_ps(-1.44269504f);
    V t = _mm512_mul_ps(_mm512_max_ps(_mm512_min_ps(y, _mm512_set1_ps(87.f)), _mm512_set1_ps(-87.f)), log2e);
    V n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    V f = _mm512_sub_ps(t, n);  // 2^t = 2^n 2^f, f in -0.5..0.5
    V p = _mm512_set1_ps(1.5403530e-4f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.3333558e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.6181291e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.5504109e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.4022651e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.9314718e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.f));
    V e = _mm512_add_ps(_mm512_scalef_ps(p, n), _mm512_set1_ps(1.f));
    V r = _mm512_rcp14_ps(e);
    return _mm512_mul_ps(r, _mm512_fnmadd_ps(e, r, _mm512_set1_ps(2.f)));
}
static inline V silu(V y) { return _mm512_mul_ps(y, sigmoid(y)); }
static inline V silu_slope(V y) {
    V s = sigmoid(y);
    return _mm512_mul_ps(s, _mm512_fmadd_ps(y, _mm512_sub_ps(_mm512_set1_ps(1.f), s), _mm512_set1_ps(1.f)));
}

struct Sums {  // per channel: of rows in float, of everything in double
    int C;
    std::vector<float> row;
    std::vector<double> all;
    Sums(int C, int kinds) : C(C), row(C * kinds, 0.f), all(C * kinds, 0.) {}
    float* of(int kind) { return row.data() + kind * C; }
    void flush() {
        for (size_t i = 0; i < row.size(); i++) all[i] += row[i], row[i] = 0.f;
    }
    void give(double* out) { std::memcpy(out, all.data(), all.size() * sizeof(double)); }
};

// sum and sum of squares of x, per channel
template <class T>
static void moments(const T* x, long pixels, int C, double* out) {
    Sums sums(C, 2);
    const long part = 256;
    for (long first = 0; first < pixels; first += part) {
        long last = first + part < pixels ? first + part : pixels;
        for (int c = 0; c < C; c += 16) {
            V s = _mm512_setzero_ps(), q = s;
            for (long p = first; p < last; p++) {
                V v = load(x + p * C + c);
                s = _mm512_add_ps(s, v), q = _mm512_fmadd_ps(v, v, q);
            }
            store(sums.of(0) + c, s), store(sums.of(1) + c, q);
        }
        sums.flush();
    }
    sums.give(out);
}

// d = depthwise(silu(a x + b)), and the moments of d; w is (9, C)
template <class T>
static void forward(const T* x, T* d, const float* a, const float* b, const float* w, int N, int H, int W, int C,
                    double* out) {
    Sums sums(C, 2);
    const long wide = (long)(W + 2) * C;
    std::vector<float> ring(3 * wide, 0.f);
    for (int n = 0; n < N; n++) {
        const T* image = x + (long)n * H * W * C;
        T* result = d + (long)n * H * W * C;
        auto fill = [&](int r) {
            float* row = ring.data() + ((r + 3) % 3) * wide;
            if (r < 0 || r >= H) return (void)std::memset(row, 0, wide * sizeof(float));
            const T* from = image + (long)r * W * C;
            for (int p = 0; p < W; p++)
                for (int c = 0; c < C; c += 16)
                    store(row + (p + 1) * C + c, silu(_mm512_fmadd_ps(load(from + p * C + c), load(a + c), load(b + c))));
        };
        fill(-1), fill(0);
        for (int r = 0; r < H; r++) {
            fill(r + 1);
            const float* rows[3];
            for (int k = 0; k < 3; k++) rows[k] = ring.data() + ((r + 2 + k) % 3) * wide;
            T* to = result + (long)r * W * C;
            for (int c = 0; c < C; c += 16) {
                V k[9];
                for (int t = 0; t < 9; t++) k[t] = load(w + t * C + c);
                V left[3], mid[3], right[3], s = _mm512_setzero_ps(), q = s;
                for (int y = 0; y < 3; y++) left[y] = load(rows[y] + c), mid[y] = load(rows[y] + C + c);
                for (int p = 0; p < W; p++) {
                    V sum = _mm512_setzero_ps();
                    for (int y = 0; y < 3; y++) {
                        right[y] = load(rows[y] + (p + 2) * C + c);
                        sum = _mm512_fmadd_ps(left[y], k[3 * y], sum);
                        sum = _mm512_fmadd_ps(mid[y], k[3 * y + 1], sum);
                        sum = _mm512_fmadd_ps(right[y], k[3 * y + 2], sum);
                        left[y] = mid[y], mid[y] = right[y];
                    }
                    store(to + p * C + c, sum);
                    s = _mm512_add_ps(s, sum), q = _mm512_fmadd_ps(sum, sum, q);
                }
                store(sums.of(0) + c, s), store(sums.of(1) + c, q);
            }
            sums.flush();
        }
    }
    sums.give(out);
}

// mean over each image of silu(a d + b): (N, C)
template <class T>
static void pooled(const T* d, const float* a, const float* b, int N, long pixels, int C, float* out) {
    for (int n = 0; n < N; n++) {
        Sums sums(C, 1);
        const T* image = d + n * pixels * C;
        for (long p = 0; p < pixels; p++) {
            for (int c = 0; c < C; c += 16) {
                V v = silu(_mm512_fmadd_ps(load(image + p * C + c), load(a + c), load(b + c)));
                store(sums.of(0) + c, _mm512_add_ps(load(sums.of(0) + c), v));
            }
            if (p % 128 == 127) sums.flush();
        }
        sums.flush();
        for (int c = 0; c < C; c++) out[n * C + c] = (float)(sums.all[c] / pixels);
    }
}

// y = gate silu(a d + b); gate is (N, C)
template <class T>
static void gated(const T* d, const float* a, const float* b, const float* gate, int N, long pixels, int C, T* y) {
    for (int n = 0; n < N; n++)
        for (long p = n * pixels; p < (n + 1) * pixels; p++)
            for (int c = 0; c < C; c += 16) {
                V v = silu(_mm512_fmadd_ps(load(d + p * C + c), load(a + c), load(b + c)));
                store(y + p * C + c, _mm512_mul_ps(v, load(gate + n * C + c)));
            }
}

// gradient of the gate: sum over each image of g silu(a d + b)
template <class T>
static void gate_gradient(const T* d, const T* g, const float* a, const float* b, int N, long pixels, int C, float* out) {
    for (int n = 0; n < N; n++) {
        Sums sums(C, 1);
        const T *image = d + n * pixels * C, *slope = g + n * pixels * C;
        for (long p = 0; p < pixels; p++) {
            for (int c = 0; c < C; c += 16) {
                V v = silu(_mm512_fmadd_ps(load(image + p * C + c), load(a + c), load(b + c)));
                store(sums.of(0) + c, _mm512_fmadd_ps(v, load(slope + p * C + c), load(sums.of(0) + c)));
            }
            if (p % 128 == 127) sums.flush();
        }
        sums.flush();
        for (int c = 0; c < C; c++) out[n * C + c] = (float)sums.all[c];
    }
}

static inline V slope_after(V d, V g, const float* a, const float* b, const float* gate, const float* mean) {
    V y = _mm512_fmadd_ps(d, load(a), load(b));
    return _mm512_mul_ps(_mm512_fmadd_ps(g, load(gate), load(mean)), silu_slope(y));
}

// sums over everything of s and s d, where s is the gradient before the second SiLU
template <class T>
static void second_sums(const T* d, const T* g, const float* a, const float* b, const float* gate, const float* mean,
                        int N, long pixels, int C, double* out) {
    Sums sums(C, 2);
    for (int n = 0; n < N; n++)
        for (long p = 0; p < pixels; p++) {
            const long at = (n * pixels + p) * C;
            for (int c = 0; c < C; c += 16) {
                V v = load(d + at + c);
                V s = slope_after(v, load(g + at + c), a + c, b + c, gate + n * C + c, mean + n * C + c);
                store(sums.of(0) + c, _mm512_add_ps(load(sums.of(0) + c), s));
                store(sums.of(1) + c, _mm512_fmadd_ps(s, v, load(sums.of(1) + c)));
            }
            if (p % 128 == 127 || p == pixels - 1) sums.flush();
        }
    sums.give(out);
}

// Back through the second BatchNorm (gradient of d = u s + v d + t), the depthwise convolution and the first SiLU.
// gx: gradient before that SiLU; weights: (9, C); out: sums of gx and gx x.
template <class T>
static void backward(const T* x, const T* d, const T* g, T* gx, const float* a1, const float* b1, const float* w,
                     const float* a2, const float* b2, const float* gate, const float* mean, const float* u,
                     const float* v, const float* t, int N, int H, int W, int C, double* weights, double* out) {
    Sums sums(C, 2), kernel(C, 9);
    const long wide = (long)(W + 2) * C;
    std::vector<float> ring(3 * wide, 0.f);
    for (int n = 0; n < N; n++) {
        const long image = (long)n * H * W * C;
        auto fill = [&](int r) {
            float* row = ring.data() + ((r + 3) % 3) * wide;
            if (r < 0 || r >= H) return (void)std::memset(row, 0, wide * sizeof(float));
            const long at = image + (long)r * W * C;
            for (int p = 0; p < W; p++)
                for (int c = 0; c < C; c += 16) {
                    V dv = load(d + at + p * C + c);
                    V s = slope_after(dv, load(g + at + p * C + c), a2 + c, b2 + c, gate + n * C + c, mean + n * C + c);
                    V back = _mm512_fmadd_ps(s, load(u + c), _mm512_fmadd_ps(dv, load(v + c), load(t + c)));
                    store(row + (p + 1) * C + c, back);
                }
        };
        fill(-1), fill(0);
        for (int r = 0; r < H; r++) {
            fill(r + 1);
            const float* rows[3];  // output rows r+1, r, r-1 saw input row r through kernel rows 0, 1, 2
            for (int k = 0; k < 3; k++) rows[k] = ring.data() + ((r + 4 - k) % 3) * wide;
            const long at = image + (long)r * W * C;
            for (int c = 0; c < C; c += 16) {
                V k[9], gk[9], left[3], mid[3], right[3], s = _mm512_setzero_ps(), q = s;
                for (int i = 0; i < 9; i++) k[i] = load(w + i * C + c), gk[i] = _mm512_setzero_ps();
                const V a = load(a1 + c), b = load(b1 + c);
                for (int y = 0; y < 3; y++) left[y] = load(rows[y] + c), mid[y] = load(rows[y] + C + c);
                for (int p = 0; p < W; p++) {
                    V in = load(x + at + p * C + c);
                    V y1 = _mm512_fmadd_ps(in, a, b), sig = sigmoid(y1), act = _mm512_mul_ps(y1, sig);
                    V sum = _mm512_setzero_ps();
                    for (int y = 0; y < 3; y++) {
                        right[y] = load(rows[y] + (p + 2) * C + c);
                        sum = _mm512_fmadd_ps(right[y], k[3 * y], sum);
                        sum = _mm512_fmadd_ps(mid[y], k[3 * y + 1], sum);
                        sum = _mm512_fmadd_ps(left[y], k[3 * y + 2], sum);
                        gk[3 * y] = _mm512_fmadd_ps(right[y], act, gk[3 * y]);
                        gk[3 * y + 1] = _mm512_fmadd_ps(mid[y], act, gk[3 * y + 1]);
                        gk[3 * y + 2] = _mm512_fmadd_ps(left[y], act, gk[3 * y + 2]);
                        left[y] = mid[y], mid[y] = right[y];
                    }
                    V slope = _mm512_fmadd_ps(act, _mm512_sub_ps(_mm512_set1_ps(1.f), sig), sig);
                    sum = _mm512_mul_ps(sum, slope);
                    store(gx + at + p * C + c, sum);
                    s = _mm512_add_ps(s, sum), q = _mm512_fmadd_ps(sum, in, q);
                }
                store(sums.of(0) + c, s), store(sums.of(1) + c, q);
                for (int i = 0; i < 9; i++) store(kernel.of(i) + c, gk[i]);
            }
            sums.flush(), kernel.flush();
        }
    }
    sums.give(out), kernel.give(weights);
}

// gx = u gx + v x + t: back through the first BatchNorm, in place
template <class T>
static void first_norm(const T* x, T* gx, const float* u, const float* v, const float* t, long pixels, int C) {
    for (long p = 0; p < pixels; p++)
        for (int c = 0; c < C; c += 16) {
            V back = _mm512_fmadd_ps(load(x + p * C + c), load(v + c), load(t + c));
            store(gx + p * C + c, _mm512_fmadd_ps(load(gx + p * C + c), load(u + c), back));
        }
}

// Depthwise convolutions: sixteen channels of one image at a time, with a border of zeros around them.

static inline V load(const float* p, __mmask16 m) { return _mm512_maskz_loadu_ps(m, p); }
static inline void store(float* p, V v, __mmask16 m) { _mm512_mask_storeu_ps(p, m, v); }
static inline V load(const bf16* p, __mmask16 m) {
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
static inline void store(bf16* p, V v, __mmask16 m) {
    bf16 all[16];
    store(all, v);
    _mm256_mask_storeu_epi16(p, m, _mm256_loadu_si256((const __m256i*)all));
}

struct Block {
    int H, W, border, wide;
    std::vector<float> values;
    Block(int H, int W, int border)
        : H(H), W(W), border(border), wide(W + 2 * border), values((long)(H + 2 * border) * wide * 16, 0.f) {}
    const float* at(int row, int col) const { return values.data() + ((long)(row + border) * wide + col + border) * 16; }
    template <class T>
    void take(const T* from, int C, __mmask16 m) {
        for (int r = 0; r < H; r++)
            for (int c = 0; c < W; c++) store(const_cast<float*>(at(r, c)), load(from + ((long)r * W + c) * C, m));
    }
};

template <int P>
static inline void filter(const Block& block, int row, int col, const float* k, int K, int step, V start, V* sums) {
    for (int p = 0; p < P; p++) sums[p] = start;
    const int half = K / 2;
    for (int y = 0; y < K; y++)
        for (int x = 0; x < K; x++) {
            const float* from = block.at(row + (y - half) * step, col + (x - half) * step);
            const V weight = load(k + (y * K + x) * 16);
            for (int p = 0; p < P; p++) sums[p] = _mm512_fmadd_ps(load(from + p * 16), weight, sums[p]);
        }
}

template <class T>
static void filtered(const Block& block, const float* k, int K, int step, V start, T* to, int C, __mmask16 m) {
    for (int r = 0; r < block.H; r++) {
        int c = 0;
        for (; c + 8 <= block.W; c += 8) {
            V sums[8];
            filter<8>(block, r, c, k, K, step, start, sums);
            for (int p = 0; p < 8; p++) store(to + ((long)r * block.W + c + p) * C, sums[p], m);
        }
        for (; c < block.W; c++) {
            V sum[1];
            filter<1>(block, r, c, k, K, step, start, sum);
            store(to + ((long)r * block.W + c) * C, sum[0], m);
        }
    }
}

// y = depthwise(x) + bias; w is (K K, C), bias (C)
template <class T>
static void depthwise(const T* x, const float* w, const float* bias, int N, int H, int W, int C, int K, int step, T* y) {
    Block block(H, W, K / 2 * step);
    std::vector<float> k(K * K * 16);
    for (int c = 0; c < C; c += 16) {
        const __mmask16 m = C - c >= 16 ? 0xffff : (1 << (C - c)) - 1;
        for (int i = 0; i < K * K; i++) store(k.data() + i * 16, load(w + i * C + c, m));
        for (int n = 0; n < N; n++) {
            const long image = (long)n * H * W * C + c;
            block.take(x + image, C, m);
            filtered(block, k.data(), K, step, load(bias + c, m), y + image, C, m);
        }
    }
}

// gradients: gx, weights (K K, C), bias (C)
template <class T>
static void depthwise_back(const T* x, const T* g, const float* w, int N, int H, int W, int C, int K, int step, T* gx,
                           double* weights, double* bias) {
    const int half = K / 2;
    Block in(H, W, half * step), out(H, W, half * step);
    std::vector<float> k(K * K * 16);
    std::vector<double> sums((K * K + 1) * 16);
    for (int c = 0; c < C; c += 16) {
        const int part = C - c >= 16 ? 16 : C - c;
        const __mmask16 m = part == 16 ? 0xffff : (1 << part) - 1;
        for (int i = 0; i < K * K; i++) store(k.data() + i * 16, load(w + (K * K - 1 - i) * C + c, m));
        std::fill(sums.begin(), sums.end(), 0.);
        float lane[16];
        auto add = [&](int i, V v) {
            store(lane, v);
            for (int j = 0; j < 16; j++) sums[i * 16 + j] += lane[j];
        };
        for (int n = 0; n < N; n++) {
            const long image = (long)n * H * W * C + c;
            in.take(x + image, C, m), out.take(g + image, C, m);
            filtered(out, k.data(), K, step, _mm512_setzero_ps(), gx + image, C, m);
            for (int r = 0; r < H; r++) {
                V total = _mm512_setzero_ps();
                for (int p = 0; p < W; p++) total = _mm512_add_ps(total, load(out.at(r, p)));
                add(K * K, total);
                for (int y = 0; y < K; y++) {
                    V s[7];
                    for (int i = 0; i < K; i++) s[i] = _mm512_setzero_ps();
                    const float *from = in.at(r + (y - half) * step, -half * step), *slope = out.at(r, 0);
                    auto row = [&](auto taps) {
                        V t[decltype(taps)::value];
                        for (auto& v : t) v = _mm512_setzero_ps();
                        for (int p = 0; p < W; p++) {
                            const V gv = load(slope + p * 16);
                            for (int i = 0; i < decltype(taps)::value; i++)
                                t[i] = _mm512_fmadd_ps(gv, load(from + (p + i * step) * 16), t[i]);
                        }
                        for (int i = 0; i < decltype(taps)::value; i++) s[i] = t[i];
                    };
                    if (K == 3) row(std::integral_constant<int, 3>());
                    else if (K == 5) row(std::integral_constant<int, 5>());
                    else row(std::integral_constant<int, 7>());
                    for (int i = 0; i < K; i++) add(y * K + i, s[i]);
                }
            }
        }
        for (int j = 0; j < part; j++) {
            for (int i = 0; i < K * K; i++) weights[i * C + c + j] = sums[i * 16 + j];
            bias[c + j] = sums[K * K * 16 + j];
        }
    }
}

#define BOTH(T, S)                                                                                                      \
    extern "C" void moments_##S(const T* x, long p, int C, double* o) { moments(x, p, C, o); }                          \
    extern "C" void forward_##S(const T* x, T* d, const float* a, const float* b, const float* w, int N, int H, int W,  \
                                int C, double* o) { forward(x, d, a, b, w, N, H, W, C, o); }                            \
    extern "C" void pooled_##S(const T* d, const float* a, const float* b, int N, long p, int C, float* o) {            \
        pooled(d, a, b, N, p, C, o); }                                                                                  \
    extern "C" void gated_##S(const T* d, const float* a, const float* b, const float* g, int N, long p, int C, T* y) { \
        gated(d, a, b, g, N, p, C, y); }                                                                                \
    extern "C" void gate_gradient_##S(const T* d, const T* g, const float* a, const float* b, int N, long p, int C,     \
                                      float* o) { gate_gradient(d, g, a, b, N, p, C, o); }                              \
    extern "C" void second_sums_##S(const T* d, const T* g, const float* a, const float* b, const float* gate,          \
                                    const float* m, int N, long p, int C, double* o) {                                  \
        second_sums(d, g, a, b, gate, m, N, p, C, o); }                                                                 \
    extern "C" void backward_##S(const T* x, const T* d, const T* g, T* gx, const float* a1, const float* b1,           \
                                 const float* w, const float* a2, const float* b2, const float* gate, const float* m,   \
                                 const float* u, const float* v, const float* t, int N, int H, int W, int C,            \
                                 double* k, double* o) {                                                                \
        backward(x, d, g, gx, a1, b1, w, a2, b2, gate, m, u, v, t, N, H, W, C, k, o); }                                 \
    extern "C" void first_norm_##S(const T* x, T* gx, const float* u, const float* v, const float* t, long p, int C) {  \
        first_norm(x, gx, u, v, t, p, C); }                                                                             \
    extern "C" void depthwise_##S(const T* x, const float* w, const float* b, int N, int H, int W, int C, int K,        \
                                  int step, T* y) { depthwise(x, w, b, N, H, W, C, K, step, y); }                       \
    extern "C" void depthwise_back_##S(const T* x, const T* g, const float* w, int N, int H, int W, int C, int K,       \
                                       int step, T* gx, double* k, double* b) {                                         \
        depthwise_back(x, g, w, N, H, W, C, K, step, gx, k, b); }

BOTH(float, float)
BOTH(bf16, bf16)
