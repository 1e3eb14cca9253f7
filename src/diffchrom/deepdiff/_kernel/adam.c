/* Adam with the gradient's norm clipped first, in two passes over the vector; the arithmetic is in adam_isa.h. */
#include <math.h>

#include "kernel.h"
#include "step.h"
#include "threads.h"

enum { CHUNK = 1 << 16, MOST_TASKS = 1024 }; /* values that take longer than waking a thread */

struct update {
    const struct adam *adam;
    const struct isa *isa;
    int64_t chunk; /* values of a task */
    double squares[MOST_TASKS];
    float clip, rate, root; /* factor of the gradient, step size, 1 / square root of the second bias correction */
};

static int64_t end_of(const struct update *u, int64_t task)
{
    const int64_t end = (task + 1) * u->chunk;
    return end < u->adam->size ? end : u->adam->size;
}

static void sum_squares(void *argument, int64_t task)
{
    struct update *u = argument;
    const int64_t first = task * u->chunk;
    u->squares[task] = u->isa->sum_squares(u->adam->gradient + first, end_of(u, task) - first);
}

static void update(void *argument, int64_t task)
{
    const struct update *u = argument;
    u->isa->adam(u->adam, u->clip, u->rate, u->root, task * u->chunk, end_of(u, task));
}

EXPORT void adam_step(const struct adam *a)
{
    struct update u = {.adam = a, .isa = isa_in_use(), .chunk = CHUNK};
    while ((a->size + u.chunk - 1) / u.chunk > MOST_TASKS) u.chunk *= 2;
    const int64_t tasks = (a->size + u.chunk - 1) / u.chunk;
    run_tasks(sum_squares, &u, tasks, a->threads);
    double square = 0;
    for (int64_t task = 0; task < tasks; task++) square += u.squares[task];
    const double taken = *a->step += 1, clip = a->clip_norm / (sqrt(square) + 1e-6);
    u.clip = (float)(clip > 1 ? 1 : clip); /* NaN stays */
    u.rate = (float)(a->rate / (1 - pow(a->beta1, taken)));
    u.root = (float)(1 / sqrt(1 - pow(a->beta2, taken)));
    run_tasks(update, &u, tasks, a->threads);
}
