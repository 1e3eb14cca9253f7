/* A few sleeping threads that share out numbered tasks. Which thread runs a task never changes its result.
 *
 * One call at a time uses the pool; a second one, from another Python thread, does its tasks by itself. After
 * fork() the child starts with an empty pool, since threads don't survive it.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "threads.h"

static struct {
    pthread_mutex_t busy; /* held by the call that uses the pool */
    pthread_mutex_t lock; /* guards what follows, down to running */
    pthread_cond_t wake, done;
    uint64_t call;   /* counts the calls, so that a worker joins each at most once */
    int64_t threads; /* started */
    int64_t seats;   /* workers that may still join this call */
    int64_t running; /* workers that joined and haven't left */
    task_body *body;
    void *argument;
    int64_t tasks;
    _Atomic int64_t next;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .done = PTHREAD_COND_INITIALIZER};

static void take_tasks(void)
{
    for (int64_t task; (task = atomic_fetch_add(&pool.next, 1)) < pool.tasks;) pool.body(pool.argument, task);
}

static void *work(void *unused)
{
    (void)unused;
    uint64_t joined = 0;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (pool.call == joined || pool.seats == 0) pthread_cond_wait(&pool.wake, &pool.lock);
        joined = pool.call;
        pool.seats--;
        pool.running++;
        pthread_mutex_unlock(&pool.lock);
        take_tasks();
        pthread_mutex_lock(&pool.lock);
        if (--pool.running == 0) pthread_cond_signal(&pool.done);
    }
    return NULL;
}

static void start_workers(int64_t wanted)
{
    sigset_t all, before; /* signals stay with Python's threads */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.threads < wanted) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL)) break; /* fewer threads only take longer */
        pthread_detach(thread);
        pool.threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void run_tasks(task_body *body, void *argument, int64_t tasks, int64_t threads)
{
    if (threads > tasks) threads = tasks;
    if (threads < 2 || pthread_mutex_trylock(&pool.busy)) {
        for (int64_t task = 0; task < tasks; task++) body(argument, task);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    start_workers(threads - 1);
    pool.body = body;
    pool.argument = argument;
    pool.tasks = tasks;
    atomic_store(&pool.next, 0);
    pool.seats = threads - 1;
    pool.call++;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    take_tasks();
    pthread_mutex_lock(&pool.lock);
    pool.seats = 0; /* who wakes up now has come too late */
    while (pool.running) pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    pthread_mutex_unlock(&pool.busy);
}

static void forget_threads(void)
{
    pthread_mutex_init(&pool.busy, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.threads = pool.seats = pool.running = 0;
}

__attribute__((constructor)) static void survive_fork(void) { pthread_atfork(NULL, NULL, forget_threads); }
