#ifndef DIFFCHROM_THREADS_H
#define DIFFCHROM_THREADS_H

#include <stdint.h>

typedef void task_body(void *argument, int64_t task);

/* Calls body(argument, 0 .. tasks - 1), at most `threads` at once, and returns when all are done. */
void run_tasks(task_body *body, void *argument, int64_t tasks, int64_t threads);

#endif
