// What stands between the border (border.cpp, one) and the kernels (network.cpp, once per instruction set).
//
// A kernel's file is compiled for a processor that the running one need not be. So it shares no inline function and no
// template of the standard library with the others: the linker would keep one copy of it, perhaps the wrong one.
#pragma once

#include <cstddef>
#include <cstdint>

// Threads that take units of work by number; the caller is worker 0. See team.cpp.
struct Team;
int team_size(const Team*);
void team_run(Team*, int units, void (*work)(void* data, int unit, int worker), void* data);

struct Kernels {
    const char* isa;
    const char* precision;
    // Bytes of memory a network takes; 0 where `count` is not its number of weights.
    size_t (*measure)(const int32_t* widths, int32_t tile, int32_t threads, size_t count);
    // Lay the network out in that memory and pack the weights; what is returned lies in it.
    void* (*lay_out)(const int32_t* widths, int32_t tile, int32_t threads, const float* weights, size_t count, void* memory);
    void (*run)(void* network, Team* team, const uint8_t* before, const uint8_t* after, float* probability);
};

bool supported_by_processor(const char* isa, const char* precision);  // processor.cpp

extern const Kernels kernels_plain;
#if defined(__x86_64__)
extern const Kernels kernels_avx2, kernels_avx512, kernels_avx512_bf16;
#elif defined(__aarch64__)
extern const Kernels kernels_neon;
#endif
