// The C interface of the library: SChanger on a CPU, uint8 tiles in, probability out.
//
// A network belongs to whoever opened it. Different networks may run in different threads at the same time; calls on one
// network wait for each other. Nothing is allocated while it runs, and no C++ runtime is needed.
#ifndef SCHANGER_H
#define SCHANGER_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define SCHANGER_API __declspec(dllexport)
#else
#define SCHANGER_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

// Of the interface and of the order of the weights; whoever loads the library checks it.
#define SCHANGER_INTERFACE 1

enum { SCHANGER_OK = 0, SCHANGER_BAD_ARGUMENT = 1, SCHANGER_NO_MEMORY = 2, SCHANGER_NO_THREAD = 3 };

typedef struct schanger_network schanger_network;

SCHANGER_API int32_t schanger_interface(void);

// The kinds of kernels that this processor runs, best first: such as "avx512" with "fp32". False past the last one.
SCHANGER_API int32_t schanger_kernels(int32_t index, const char** isa, const char** precision);

// widths: channels of the six stages. weights: all of them, in the order of network.h, `count` numbers.
// tile: height and width, a multiple of 16. NULL where that fails; *status says why.
SCHANGER_API schanger_network* schanger_open(const char* isa, const char* precision, const int32_t* widths, int32_t tile,
                                             int32_t threads, const float* weights, size_t count, int32_t* status);

// before, after: (pairs, 3, tile, tile); probability: (pairs, tile, tile).
SCHANGER_API int32_t schanger_run(schanger_network* network, const uint8_t* before, const uint8_t* after, int32_t pairs,
                                  float* probability);

// Bytes that an open network holds.
SCHANGER_API size_t schanger_memory(const schanger_network* network);

SCHANGER_API void schanger_close(schanger_network* network);

#ifdef __cplusplus
}
#endif
#endif
