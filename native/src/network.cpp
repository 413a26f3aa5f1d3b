// SChanger: how its parts follow each other. Compiled once for each instruction set and precision, see kernels.h.
//
// Weights come in the order in which the network takes them, each 1x1 as [out][in], each larger convolution as
// [channel][row][column]; every constant scale and shift is folded into them already, as in the model file.
#include "ends.h"
#include "lfem.h"
#ifdef SCHANGER_BF16
#include "bf16.h"
#endif

namespace {

#ifdef SCHANGER_BF16
using Products = Bf16;
#else
using Products = Fp32;
#endif
constexpr int STAGES = 5;

struct Weights {
    const float* at;
    size_t left;
    bool enough;

    const float* take(size_t count) {
        const float* from = at;
        if (count > left) {
            enough = false;
            return from;
        }
        at += count, left -= count;
        return from;
    }
};

struct Network {
    int tile;
    Stem stem;
    Lfem<Products> encoder[STAGES][2], decoder[STAGES][2];
    Scam<Products> scam[STAGES];
    Head<Products> head[STAGES];
    float bias;
    Map first, skip[STAGES], x[STAGES], y[STAGES];  // maps of level 0 (largest) to 4; x and y share two pieces of memory
    float* side[STAGES];
    LfemScratch lfem;
    char* scratch;
    size_t scratch_each;
};

// Packs, or only counts: without a base there are no weights to read.
struct Layout {
    Memory memory;
    Weights weights;
    size_t wide = 0, sums = 0, gate = 0, gated = 0, scratch = 0;

    using Packed = typename Products::Weight;

    const float* numbers(size_t count, float scale = 1) {
        const float* from = weights.take(count);
        float* to = memory.take<float>(count);
        if (to) for (size_t i = 0; i < count; i++) to[i] = from[i] * scale;
        return to;
    }
    const Packed* matrix(int out, int in, int group, float scale = 1) {
        const float* from = weights.take((size_t)out * in);
        Packed* to = memory.take<Packed>((size_t)out * in / Products::PAIR);
        float every[1024];
        for (int k = 0; k < in; k++) every[k] = scale;
        if (to) pack<Products>(from, out, in, group, every, to);
        return to;
    }
    void needs(const Memory& used) { scratch = used.used > scratch ? used.used : scratch; }

    Stem stem(int out, const Map& y) {
        Stem m;
        m.out = out;
        m.mean = numbers(DATES * 3), m.scale = numbers(DATES * 3);
        const float* from = weights.take((size_t)out * 27);
        float* to = memory.take<float>((size_t)out * 27);
        float every[27];
        for (float& one : every) one = SILU_IN;
        if (to) pack<Fp32>(from, out, 27, OUTPUTS, every, to);
        m.weight = to, m.bias = numbers(out, SILU_IN);
        Memory own{nullptr, 0};
        stem_scratch(own, y), needs(own);
        return m;
    }
    // SiLU's factor goes in before it and out after it; through the 3x3 between two SiLUs it passes as it is.
    Lfem<Products> lfem(int in, int out, const Map& x) {
        Lfem<Products> m;
        const int E = 6 * in, R = in / 4;
        m.residual.in = in, m.residual.wide = E, m.residual.out = out;
        m.residual.expand = matrix(E, in, EXPAND, SILU_IN), m.residual.expand_bias = numbers(E, SILU_IN);
        m.residual.taps = numbers((size_t)E * 9), m.residual.taps_bias = numbers(E, SILU_IN);
        m.reduced = R;
        m.reduce = numbers((size_t)R * E), m.reduce_bias = numbers(R);
        m.expand = numbers((size_t)E * R), m.expand_bias = numbers(E);
        m.residual.project = numbers((size_t)out * E), m.residual.project_bias = numbers(out);
        m.residual.project_packed = nullptr;
        const size_t date = wide_words<Products>(E, x), small = (size_t)1 << 22;  // two dates below 16 MB go together
        const size_t both = DATES * date <= small ? DATES * date : date;
        wide = both > wide ? both : wide;
        const size_t counted = (size_t)DATES * parts(x.height, STRIP) * E;
        sums = counted > sums ? counted : sums;
        gate = (size_t)E > gate ? E : gate;
        gated = (size_t)out * E > gated ? (size_t)out * E : gated;
        Memory own{nullptr, 0};
        strip_scratch<Products>(own, x, E, EXPAND, STRIP), needs(own);
        return m;
    }
    Fusion<Products> fusion(int out) {
        Fusion<Products> m;
        m.out = out;
        m.weight = matrix(out, 2 * out, OUTPUTS), m.bias = numbers(out);
        m.norm_weight = numbers(out), m.norm_bias = numbers(out);
        return m;
    }
    Scam<Products> scam(int C, const Map& x) {
        Scam<Products> m;
        m.channels = C;
        m.before = matrix(C, C, OUTPUTS), m.before_bias = numbers(C);
        m.fusion = fusion(C);
        m.near = numbers((size_t)C * 25), m.near_bias = numbers(C);
        m.far = numbers((size_t)C * 49), m.far_bias = numbers(C);
        m.gate = matrix(C, C, OUTPUTS), m.gate_bias = numbers(C);
        m.after = matrix(C, C, OUTPUTS), m.after_bias = numbers(C);
        m.kept = numbers(C);
        m.mlp.in = m.mlp.out = C, m.mlp.wide = 4 * C, m.mlp.project = nullptr;
        m.mlp.expand = matrix(4 * C, C, MLP_EXPAND), m.mlp.expand_bias = numbers(4 * C);
        m.mlp.taps = numbers((size_t)4 * C * 9), m.mlp.taps_bias = numbers(4 * C);
        m.mlp.project_packed = matrix(C, 4 * C, OUTPUTS), m.mlp.project_bias = numbers(C);
        const size_t room = (size_t)5 * C * x.plane;
        wide = room > wide ? room : wide;
        Memory own{nullptr, 0}, of_mlp{nullptr, 0};
        scam_scratch<Products>(own, x), needs(own);
        mlp_scratch<Products>(of_mlp, x, 4 * C), needs(of_mlp);
        return m;
    }
    Head<Products> head(int C, const Map& x) {
        Head<Products> m;
        m.fusion = fusion(C);
        m.taps = numbers((size_t)C * 9), m.bias = numbers(1);
        Memory own{nullptr, 0}, of_double{nullptr, 0}, of_end{nullptr, 0};
        head_scratch(own, x), needs(own);
        double_scratch(of_double, x), needs(of_double);
        end_scratch(of_end, x.height << (STAGES - 1)), needs(of_end);
        return m;
    }
};

// Where everything lies, and the weights in it; counts only where the layout has no base.
void lay_out_network(Network& n, Layout& l, const int32_t* widths, int tile, int threads) {
    Map level[STAGES];
    size_t largest = 0;
    for (int k = 0; k < STAGES; k++) {
        level[k] = map_of(0, tile >> k, tile >> k);
        // A level's widest map besides its skip: what comes from the level above or below it, and goes there.
        const int wide = most(widths[k + 1], k ? widths[k] : widths[1]);
        const size_t floats = (size_t)DATES * wide * level[k].plane;
        largest = floats > largest ? floats : largest;
    }
    const auto of = [&](int k, int channels, float* data) {
        Map m = level[k];
        m.channels = channels, m.data = data;
        return m;
    };
    n.tile = tile;
    n.stem = l.stem(widths[0], level[0]);
    for (int k = 0; k < STAGES; k++) {
        n.encoder[k][0] = l.lfem(widths[k], widths[k + 1], of(k, widths[k], nullptr));
        n.encoder[k][1] = l.lfem(widths[k + 1], widths[k + 1], of(k, widths[k + 1], nullptr));
    }
    for (int k = 0; k < STAGES; k++) {
        const int at = STAGES - 1 - k, in = widths[at + 1], out = widths[at];
        n.scam[k] = l.scam(in, of(at, in, nullptr));
        n.decoder[k][0] = l.lfem(in, in, of(at, in, nullptr));
        n.decoder[k][1] = l.lfem(in, out, of(at, in, nullptr));
        n.head[k] = l.head(out, of(at, out, nullptr));
    }
    const float* last = l.weights.take(STAGES + 1);  // of the fused logit, coarsest side first, and its bias
    for (int k = 0; k < STAGES && l.memory.base; k++) n.head[k].weight = last[k];
    if (l.memory.base) n.bias = last[STAGES];
    for (int k = 0; k < STAGES; k++) {
        Map& m = n.skip[k] = of(k, widths[k + 1], nullptr);
        m.data = l.memory.take<float>(floats_of(m));
        n.side[k] = l.memory.take<float>((size_t)level[k].height * level[k].stride);
    }
    float *a = l.memory.take<float>(largest), *b = l.memory.take<float>(largest);
    for (int k = 0; k < STAGES; k++) n.x[k] = of(k, 0, a), n.y[k] = of(k, 0, b);
    n.lfem.wide = l.memory.take<float>(l.wide), n.lfem.wide_words = l.wide;
    n.lfem.sums = l.memory.take<float>(l.sums), n.lfem.gate = l.memory.take<float>(l.gate);
    for (void*& gated : n.lfem.gated) gated = l.memory.take<float>(l.gated);
    n.scratch_each = (l.scratch + 4095) / 4096 * 4096;
    n.scratch = l.memory.take<char>(threads * n.scratch_each);
}

Map with(Map m, int channels) {
    m.channels = channels;
    return m;
}

void run_network(const Network& n, const Context& c, const uint8_t* before, const uint8_t* after, float* probability) {
    const uint8_t* images[DATES] = {before, after};
    Map x = with(n.x[0], n.stem.out);
    run_stem(c, n.stem, images, x);
    for (int k = 0; k < STAGES; k++) {
        const auto& [first, second] = n.encoder[k];
        if (k) run_pool(c, n.skip[k - 1], x = with(n.x[k], first.residual.in));
        const Map y = with(n.y[k], first.residual.out);
        run_lfem(c, first, x, y, n.lfem);
        run_lfem(c, second, y, n.skip[k], n.lfem);
    }
    Side sides[STAGES];
    for (int k = 0; k < STAGES; k++) {
        const int at = STAGES - 1 - k;
        const auto& [first, second] = n.decoder[k];
        const Map& skip = n.skip[at];
        run_scam(c, n.scam[k], skip, n.lfem.wide);
        if (k) run_double(c, x, skip);
        const Map y = with(n.y[at], first.residual.out);
        run_lfem(c, first, skip, y, n.lfem);
        x = with(n.x[at], second.residual.out);
        run_lfem(c, second, y, x, n.lfem);
        run_head(c, n.head[k], x, n.side[at]);
        sides[k] = {n.side[at], skip.height, skip.stride, n.head[k].weight};
    }
    run_end(c, sides, STAGES, n.bias, n.tile, probability);
}

size_t measure(const int32_t* widths, int32_t tile, int32_t threads, size_t count) {
    Network network;
    Layout layout{{nullptr, 0}, {nullptr, count, true}};
    layout.memory.take<Network>(1);
    lay_out_network(network, layout, widths, tile, threads);
    return layout.weights.enough && layout.weights.left == 0 ? layout.memory.used : 0;
}

void* lay_out(const int32_t* widths, int32_t tile, int32_t threads, const float* weights, size_t count, void* memory) {
    Layout layout{{(char*)memory, 0}, {weights, count, true}};
    Network* network = layout.memory.take<Network>(1);
    lay_out_network(*network, layout, widths, tile, threads);
    return network;
}

void run(void* network, Team* team, const uint8_t* before, const uint8_t* after, float* probability) {
    const Network& n = *(const Network*)network;
    run_network(n, {team, n.scratch, n.scratch_each}, before, after, probability);
}

}  // namespace

#define JOINED(a, b) a##b
#define TABLE(name) JOINED(kernels_, name)
extern const Kernels TABLE(SCHANGER_NAME);
const Kernels TABLE(SCHANGER_NAME) = {ISA, Products::NAME, measure, lay_out, run};
