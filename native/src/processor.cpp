// What this processor, and the operating system on it, can do.
#include "kernels.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>

namespace {

// Whether the operating system keeps these registers when it changes between programs.
bool keeps(unsigned state) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27)) return false;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & state) == state;
}

}  // namespace

bool supported_by_processor(const char* isa, const char* precision) {
    if (!std::strcmp(isa, "plain")) return true;
    unsigned a, b, c, d, features, more;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 12) || !(c & 1u << 28)) return false;  // FMA, AVX
    if (!__get_cpuid_count(7, 0, &a, &features, &c, &d) || !(features & 1u << 5)) return false;  // AVX2
    if (!std::strcmp(isa, "avx2")) return keeps(0x6);
    const unsigned wanted = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // AVX-512 F, DQ, BW, VL
    if ((features & wanted) != wanted || !keeps(0xe6)) return false;
    if (std::strcmp(precision, "bf16")) return true;
    return __get_cpuid_count(7, 1, &more, &b, &c, &d) && (more & 1u << 5);
}
#else
bool supported_by_processor(const char*, const char*) { return true; }  // NEON is part of every 64-bit Arm
#endif
