// How many float32 multiply-adds a core does: chains in registers, enough of them to hide the latency of each.
#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
constexpr int CHAINS = 12;  // of 16 registers, the fewest that a processor with FMA has

typedef float Vector __attribute__((vector_size(4 * LANES)));

// Multiply-adds `count` numbers; what is returned keeps the compiler from leaving them out.
extern "C" float multiply_add(long long count, float factor, float term) {
    Vector chains[CHAINS];
    for (int i = 0; i < CHAINS; i++) chains[i] = Vector{} + float(i);
    for (long long left = count; left > 0; left -= CHAINS * LANES)
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) chains[i] = chains[i] * factor + term;
    for (int i = 1; i < CHAINS; i++) chains[0] += chains[i];
    return chains[0][0];
}
