/* What the sources of this library share. */
#ifndef DIFFCHROM_KERNEL_H
#define DIFFCHROM_KERNEL_H

#include <stdint.h>

#include "job.h"
#include "step.h"

#define EXPORT __attribute__((visibility("default")))

/* What lstm_isa.h and adam_isa.h give for one instruction set. Tasks are numbered by (sequence, direction). */
struct isa {
    const char *name;
    int64_t (*saved_size)(const struct job *);
    int64_t (*forward_scratch)(const struct job *);
    void (*forward)(const struct job *, int64_t which, int64_t first, int64_t count, float *scratch);
    int64_t (*backward_scratch)(const struct job *);
    void (*backward)(const struct job *, int64_t which, float *scratch);
    void (*attend)(const struct job *, int64_t sequence, int64_t first, int64_t count);
    void (*attend_backward)(const struct job *, int64_t sequence);
    void (*dots)(const float *vector, const float *rows, int64_t n_rows, int64_t features, float *to);
    void (*add_weighted)(const float *weights, const float *rows, int64_t n_rows, int64_t features, float *to);
    double (*sum_squares)(const float *gradient, int64_t size);
    void (*adam)(const struct adam *, float clip, float rate, float root, int64_t first, int64_t end);
};

const struct isa *isa_in_use(void);

/* All jobs at once; 0, or -1 where memory ran out. */
int run_forward(const struct job *jobs, int64_t n_jobs, int64_t threads);
int run_backward(const struct job *jobs, int64_t n_jobs, int64_t threads);

#endif
