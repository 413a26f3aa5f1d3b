/* Runs the native library without Python: under a sanitizer, or under an emulator of another processor.
 *
 *   native_driver ISA PRECISION WIDTHS(6) TILE THREADS PAIRS WEIGHTS BEFORE AFTER PROBABILITY
 *
 * The last four are files of bare numbers. Opens, runs and closes three times, and prints the largest difference from
 * PROBABILITY, or what failed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../native/src/schanger.h"

static void* read_file(const char* path, size_t* bytes) {
    FILE* file = fopen(path, "rb");
    if (!file) exit(2);
    fseek(file, 0, SEEK_END);
    *bytes = (size_t)ftell(file);
    rewind(file);
    void* content = malloc(*bytes);
    if (fread(content, 1, *bytes, file) != *bytes) exit(2);
    fclose(file);
    return content;
}

int main(int count, char** given) {
    if (count != 16) return 2;
    int32_t widths[6], tile = atoi(given[9]), threads = atoi(given[10]), pairs = atoi(given[11]), status;
    for (int i = 0; i < 6; i++) widths[i] = atoi(given[3 + i]);
    size_t weights_size, ignored, wanted_size;
    float* weights = read_file(given[12], &weights_size);
    uint8_t *before = read_file(given[13], &ignored), *after = read_file(given[14], &ignored);
    float* wanted = read_file(given[15], &wanted_size);
    float* got = malloc(wanted_size);
    double worst = 0;
    for (int turn = 0; turn < 3; turn++) {
        schanger_network* network = schanger_open(given[1], given[2], widths, tile, threads, weights,
                                                  weights_size / sizeof(float), &status);
        if (!network) return printf("status %d\n", (int)status), 1;
        if (schanger_run(network, before, after, pairs, got)) return printf("run failed\n"), 1;
        for (size_t i = 0; i < wanted_size / sizeof(float); i++) {
            const double difference = fabs((double)got[i] - wanted[i]);
            if (!(difference <= worst)) worst = difference; /* also if it is no number */
        }
        schanger_close(network);
    }
    printf("%g\n", worst);
    free(got), free(wanted), free(after), free(before), free(weights);
    return 0;
}
