// How feature maps and scratch memory lie, and how work is handed to threads.
#pragma once

#include "kernels.h"
#include "vector.h"

namespace {

constexpr int BLOCK = 64;  // pixels worked on together where a step needs all channels of them: they stay in the cache
constexpr int DATES = 2;
constexpr int PAD = 16;  // floats beside a row that a convolution reads, zeros

INLINE int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }
INLINE int parts(int n, int size) { return (n + size - 1) / size; }
INLINE int least(int a, int b) { return a < b ? a : b; }
INLINE int most(int a, int b) { return a > b ? a : b; }

// Both dates of a feature map, channel by channel. Rows lie at multiples of 16 floats, so that every instruction set has
// whole vectors; what stands in the columns from `width` on is computed like the rest, and read by nobody.
struct Map {
    float* data;
    int channels, height, width, stride;
    size_t plane;  // 16 floats more than a whole one: else channels would fall into the same sets of the cache

    int pixels() const { return height * stride; }
    float* date(int i) const { return data + (size_t)i * channels * plane; }
    float* channel(int i, int c) const { return date(i) + (size_t)c * plane; }
};

INLINE Map map_of(int channels, int height, int width, float* data = nullptr) {
    const int stride = round_up(width, 16);
    return {data, channels, height, width, stride, (size_t)height * stride + PAD};
}
INLINE size_t floats_of(const Map& m) { return (size_t)DATES * m.channels * m.plane; }

// Memory handed out piece by piece. Without a base it only counts: so sizes and places come from the same lines.
struct Memory {
    char* base;
    size_t used;

    template <class T>
    T* take(size_t count) {
        used = (used + 63) / 64 * 64;
        T* piece = base ? (T*)(base + used) : nullptr;
        used += count * sizeof(T);
        return piece;
    }
};

// What kernels are called with: the threads, and the scratch memory of each.
struct Context {
    Team* team;
    char* scratch;
    size_t scratch_each;

    int threads() const { return team_size(team); }
    Memory scratch_of(int worker) const { return {scratch + worker * scratch_each, 0}; }
    // Units are taken as threads come free; twice as many as threads, or a busy core would hold up all.
    int shares(int n) const { return threads() == 1 ? 1 : least(n, 2 * threads()); }
    template <class F>
    void each(int units, F work) const {
        team_run(team, units, [](void* data, int unit, int worker) { (*(F*)data)(unit, worker); }, &work);
    }
    // `n` things in equal shares: work(first, end, worker).
    template <class F>
    void share(int n, F work) const {
        const int count = shares(n);
        each(count, [&](int i, int worker) { work((int)((int64_t)n * i / count), (int)((int64_t)n * (i + 1) / count), worker); });
    }
};

}  // namespace
