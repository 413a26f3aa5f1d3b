// The C interface: choice of kernels, memory, and errors as numbers.
#include <cstdlib>
#include <cstring>

#include "kernels.h"
#include "schanger.h"
#include "team.h"
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

const Kernels* const ALL[] = {
#if defined(__x86_64__)
    &kernels_avx512, &kernels_avx512_bf16, &kernels_avx2,
#elif defined(__aarch64__)
    &kernels_neon,
#endif
    &kernels_plain,
};
constexpr size_t PAGE = 1 << 21;  // of huge pages
constexpr int STAGES = 6, WIDEST = 128, LARGEST = 1 << 13, MOST_THREADS = 1024;

// Asked here and not in the kernels' own files, whose every function may be made of what the processor lacks.
bool supported(const Kernels* kernels) { return supported_by_processor(kernels->isa, kernels->precision); }

const Kernels* find(const char* isa, const char* precision) {
    for (const Kernels* kernels : ALL)
        if (!strcmp(kernels->isa, isa) && !strcmp(kernels->precision, precision) && supported(kernels)) return kernels;
    return nullptr;
}

bool sound(const int32_t* widths, int32_t tile, int32_t threads) {
    for (int i = 0; i < STAGES; i++)
        if (widths[i] < 8 || widths[i] > WIDEST || widths[i] % 8) return false;
    return tile >= 16 && tile <= LARGEST && tile % 16 == 0 && threads >= 1 && threads <= MOST_THREADS;
}

// Zeros, so that what a map's columns beside its pixels hold is finite from the start. The system gives pages when they
// are first touched.
void* zeroed(size_t bytes, void** aligned) {
    void* memory = calloc(bytes + PAGE, 1);
    *aligned = (void*)(((uintptr_t)memory + PAGE - 1) / PAGE * PAGE);
#if defined(__linux__)
    if (memory) madvise(*aligned, bytes / PAGE * PAGE, MADV_HUGEPAGE);  // where it is off, nothing is lost
#endif
    return memory;
}

}  // namespace

struct schanger_network {
    const Kernels* kernels;
    size_t pixels, bytes;
    void *memory, *network;
    Team team;
    pthread_mutex_t running;
};

int32_t schanger_interface(void) { return SCHANGER_INTERFACE; }

int32_t schanger_kernels(int32_t index, const char** isa, const char** precision) {
    for (const Kernels* kernels : ALL)
        if (supported(kernels) && index-- == 0) {
            *isa = kernels->isa, *precision = kernels->precision;
            return 1;
        }
    return 0;
}

schanger_network* schanger_open(const char* isa, const char* precision, const int32_t* widths, int32_t tile,
                                int32_t threads, const float* weights, size_t count, int32_t* status) {
    *status = SCHANGER_BAD_ARGUMENT;
    const Kernels* kernels = find(isa, precision);
    const size_t bytes = kernels && sound(widths, tile, threads) ? kernels->measure(widths, tile, threads, count) : 0;
    if (!bytes) return nullptr;
    *status = SCHANGER_NO_MEMORY;
    auto* made = (schanger_network*)calloc(1, sizeof(schanger_network));
    void* aligned = nullptr;
    void* memory = made ? zeroed(bytes, &aligned) : nullptr;
    if (!memory || !team_start(&made->team, threads)) {
        if (memory) *status = SCHANGER_NO_THREAD;
        free(memory);
        free(made);
        return nullptr;
    }
    made->kernels = kernels, made->pixels = (size_t)tile * tile, made->bytes = bytes, made->memory = memory;
    made->network = kernels->lay_out(widths, tile, threads, weights, count, aligned);
    pthread_mutex_init(&made->running, nullptr);
    *status = SCHANGER_OK;
    return made;
}

int32_t schanger_run(schanger_network* network, const uint8_t* before, const uint8_t* after, int32_t pairs,
                     float* probability) {
    if (!network || pairs < 0) return SCHANGER_BAD_ARGUMENT;
    pthread_mutex_lock(&network->running);
    for (size_t i = 0; i < (size_t)pairs; i++)
        network->kernels->run(network->network, &network->team, before + i * 3 * network->pixels,
                              after + i * 3 * network->pixels, probability + i * network->pixels);
    pthread_mutex_unlock(&network->running);
    return SCHANGER_OK;
}

size_t schanger_memory(const schanger_network* network) { return network->bytes; }

void schanger_close(schanger_network* network) {
    if (!network) return;
    team_end(&network->team);
    pthread_mutex_destroy(&network->running);
    free(network->memory);
    free(network);
}
