// Threads that wait asleep for work and are joined at the end; see kernels.h for what kernels see of them.
//
// They are those of the system, not of C++: so the library needs no C++ runtime, which a cross-compiler would have to
// build first.
#pragma once

#include <pthread.h>

#include <cstdint>

struct Team {
    int threads;  // the caller's among them
    int started;  // beside it
    pthread_t* handles;
    pthread_mutex_t mutex;
    pthread_cond_t begun, ended;
    uint64_t turn;
    int busy;
    bool over;
    int next, units;
    void (*work)(void*, int, int);
    void* data;
};

// False where a thread does not start, or there is no memory; what had begun is undone.
bool team_start(Team* team, int threads);
void team_end(Team* team);
