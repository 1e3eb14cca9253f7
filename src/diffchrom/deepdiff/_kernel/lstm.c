/* Fused bidirectional LSTMs with attention pooling, forward and backward: entry points, dispatch and threads.
 *
 * Plain C with the vector extensions of GCC and Clang, no dependency on torch or Python: Python loads this library
 * with ctypes (which releases the GIL around calls) and hands over a `struct job`. The arithmetic is in lstm_isa.h,
 * compiled for several instruction sets and chosen at run time.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "kernel.h"
#include "step.h"
#include "threads.h"

#define ALWAYS_INLINE inline __attribute__((always_inline, unused))
#define UNROLL _Pragma("GCC unroll 32")
#define UNROLL_2 _Pragma("GCC unroll 2")
#define PASTE_(a, b) a##_##b
#define PASTE(a, b) PASTE_(a, b)
#define MINUS_LOG2_E (-1.44269504f)

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define X86 1
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* begin/end of code for one instruction set */
#if defined(__clang__)
#define TARGET_BEGIN_(features) _Pragma(#features)
#define TARGET_BEGIN(features) TARGET_BEGIN_(clang attribute push(__attribute__((target(features))), apply_to = function))
#define TARGET_END _Pragma("clang attribute pop")
#else
#define TARGET_BEGIN_(features) _Pragma(#features)
#define TARGET_BEGIN(features) _Pragma("GCC push_options") TARGET_BEGIN_(GCC target(features))
#define TARGET_END _Pragma("GCC pop_options")
#endif

#define ROWS_1_TO_3(do) do(1) do(2) do(3)
#define ROWS_1_TO_6(do) ROWS_1_TO_3(do) do(4) do(5) do(6)
#define ROWS_1_TO_12(do) ROWS_1_TO_6(do) do(7) do(8) do(9) do(10) do(11) do(12)

#ifdef X86
TARGET_BEGIN("avx512f,avx512vl,avx512dq,avx512bw,fma,avx2")
#define ISA(name) PASTE(name, avx512)
#define ISA_NAME "avx512"
#define VW 16
#define LEAST _mm512_min_ps
#define GREATEST _mm512_max_ps
#define SUM _mm512_reduce_add_ps
/* One Newton step from the 14-bit reciprocal: rounds as well as a division here, and takes a fifth of its time. */
#define RECIPROCAL(a) reciprocal_avx512(a)
static ALWAYS_INLINE __m512 reciprocal_avx512(__m512 a)
{
    const __m512 r = _mm512_rcp14_ps(a);
    return r * (2.0f - a * r);
}
#define FRACTION(z, whole) (whole = (z), _mm512_reduce_ps(z, 1)) /* 1: what floor leaves */
#define TIMES_POWER(p, whole) _mm512_scalef_ps(p, whole)         /* takes the floor by itself */
/* One register for the scalar, just when it is needed: compilers load all rows' first, and spill. */
#define ADD_PRODUCTS(sum, weight, scalar)                                                              \
    do {                                                                                               \
        __m512 spread;                                                                                 \
        __asm__("vbroadcastss %5, %2\n\tvfmadd231ps %2, %3, %0\n\tvfmadd231ps %2, %4, %1"              \
                : "+v"((sum)[0]), "+v"((sum)[1]), "=&v"(spread)                                        \
                : "v"((weight)[0]), "v"((weight)[1]), "m"(*(scalar)));                                 \
    } while (0)
#define MR 6
#define FOR_EACH_ROW_COUNT ROWS_1_TO_6
#define FOR_EACH_PROJECTED ROWS_1_TO_12
#include "adam_isa.h"
#include "lstm_isa.h"
TARGET_END

TARGET_BEGIN("avx2,fma")
#define ISA(name) PASTE(name, avx2)
#define ISA_NAME "avx2"
#define VW 8
#define LEAST _mm256_min_ps
#define GREATEST _mm256_max_ps
#define SUM(v) (((v)[0] + (v)[4]) + ((v)[1] + (v)[5]) + (((v)[2] + (v)[6]) + ((v)[3] + (v)[7])))
#define MR 3
#define FOR_EACH_ROW_COUNT ROWS_1_TO_3
#define FOR_EACH_PROJECTED ROWS_1_TO_6
#include "adam_isa.h"
#include "lstm_isa.h"
TARGET_END
#endif

/* What every processor of this architecture has: SSE2, NEON, ... */
#define ISA(name) PASTE(name, baseline)
#define ISA_NAME "baseline"
#define VW 4
#define SUM(v) (((v)[0] + (v)[2]) + ((v)[1] + (v)[3]))
#if defined(X86)
#define LEAST _mm_min_ps
#define GREATEST _mm_max_ps
#elif defined(__aarch64__)
#define LEAST vminq_f32
#define GREATEST vmaxq_f32
#else
#define LEAST(a, b) select_lanes((a) < (b), (a), (b))
#define GREATEST(a, b) select_lanes((a) > (b), (a), (b))
typedef float float4 __attribute__((vector_size(16), may_alias));
typedef int32_t int4 __attribute__((vector_size(16)));
static ALWAYS_INLINE float4 select_lanes(int4 mask, float4 yes, float4 no)
{
    return (float4)((mask & (int4)yes) | (~mask & (int4)no));
}
#endif
#ifdef __aarch64__ /* 32 vector registers */
#define MR 6
#define FOR_EACH_ROW_COUNT ROWS_1_TO_6
#define FOR_EACH_PROJECTED ROWS_1_TO_12
#else
#define MR 3
#define FOR_EACH_ROW_COUNT ROWS_1_TO_3
#define FOR_EACH_PROJECTED ROWS_1_TO_6
#endif
#include "adam_isa.h"
#include "lstm_isa.h"

static const struct isa *const known[] = {
#ifdef X86
    &table_avx512,
    &table_avx2,
#endif
    &table_baseline,
};
enum { KNOWN = sizeof known / sizeof *known };

static bool runs_here(const struct isa *isa)
{
#ifdef X86
    if (isa == &table_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
    if (isa == &table_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return true;
}

static const struct isa *chosen;

const struct isa *isa_in_use(void)
{
    if (!chosen)
        for (int k = KNOWN - 1; k >= 0; k--) /* best last; racing threads choose the same */
            if (runs_here(known[k])) chosen = known[k];
    return chosen;
}

/* Which `struct job` this library was built for. */
EXPORT int lstm_interface(void) { return LSTM_INTERFACE; }

/* Name of the k-th instruction set this processor runs, best first; NULL past the last. */
EXPORT const char *lstm_isa(int k)
{
    for (int at = 0; at < KNOWN; at++)
        if (runs_here(known[at]) && k-- == 0) return known[at]->name;
    return NULL;
}

/* Computes with the instruction set of that name from now on; NULL for the best. False where it can't. */
EXPORT bool lstm_use_isa(const char *name)
{
    chosen = NULL;
    if (!name) return true;
    for (int k = 0; k < KNOWN; k++)
        if (!strcmp(known[k]->name, name) && runs_here(known[k])) chosen = known[k];
    return chosen != NULL;
}

/* Scratch memory of a thread, kept from task to task and call to call. */
static pthread_key_t scratch_key;
static __thread float *scratch;
static __thread size_t scratch_bytes;

__attribute__((constructor)) static void make_scratch_key(void) { pthread_key_create(&scratch_key, free); }

static float *get_scratch(int64_t floats)
{
    const size_t bytes = ((size_t)floats * sizeof(float) + 4095) / 4096 * 4096;
    if (bytes > scratch_bytes) {
        free(scratch);
        scratch_bytes = 0;
        scratch = aligned_alloc(4096, bytes);
        pthread_setspecific(scratch_key, scratch);
        if (scratch) scratch_bytes = bytes;
    }
    return scratch;
}

/* Gradients that fade over many steps end in subnormal numbers, which take 100 times as long as zeros. */
static unsigned long flush_subnormals(void)
{
#if defined(X86)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);
#elif defined(__aarch64__)
    unsigned long before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" ::"r"(before | 1ul << 24));
#else
    const unsigned before = 0;
#endif
    return before;
}

static void restore_subnormals(unsigned long before)
{
#if defined(X86)
    _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" ::"r"(before));
#else
    (void)before;
#endif
}

struct call {
    const struct job *jobs;
    int64_t n_jobs, tasks;
    const struct isa *isa;
    atomic_bool failed;
};

enum { BLOCK = 12 }; /* genes of a forward task, at most: their hidden states stay in the second-level cache */

/* Blocks of the genes of a sequence; one sequence keeps two threads busy. */
static int64_t blocks_of(const struct job *job)
{
    const int64_t blocks = (job->batch + BLOCK - 1) / BLOCK;
    return blocks < 2 && job->batch > 1 ? 2 : blocks;
}

static int64_t forward_tasks(const struct job *job) { return job->n_sequences * blocks_of(job); }
static int64_t attention_tasks(const struct job *job) { return job->context ? job->n_sequences : 0; }
static int64_t backward_tasks(const struct job *job) { return job->n_sequences * 2; }

/* The job of a task; afterwards the task is numbered within it. */
static const struct job *job_of(const struct call *call, int64_t (*tasks_of)(const struct job *), int64_t *task)
{
    const struct job *job = call->jobs;
    while (*task >= tasks_of(job)) *task -= tasks_of(job++);
    return job;
}

static void run_all(task_body *body, struct call *call, int64_t (*tasks_of)(const struct job *), int64_t threads)
{
    call->tasks = 0;
    for (int64_t k = 0; k < call->n_jobs; k++) call->tasks += tasks_of(call->jobs + k);
    run_tasks(body, call, call->tasks, threads);
}

/* Both directions of a block of genes of one sequence, and their attention while the hidden states are at hand. */
static bool forward_block(const struct isa *isa, const struct job *job, int64_t sequence, int64_t first, int64_t count)
{
    float *memory = get_scratch(isa->forward_scratch(job));
    if (!memory) return false;
    const unsigned long mode = flush_subnormals();
    for (int64_t direction = 0; direction < 2; direction++)
        isa->forward(job, 2 * sequence + direction, first, count, memory);
    restore_subnormals(mode);
    if (job->context) isa->attend(job, sequence, first, count);
    return true;
}

static int64_t hidden_floats(const struct job *job)
{
    const int64_t floats = (job->batch < BLOCK ? job->batch : BLOCK) * job->steps * 2 * job->hidden;
    return (floats + 15) / 16 * 16; /* what follows stays on a 64-byte boundary */
}

/* The same where only the attention's results are asked for: hidden states in scratch memory. */
static bool infer_block(const struct isa *isa, const struct job *all, int64_t sequence, int64_t first, int64_t count)
{
    const int64_t gene = sequence * all->batch + first, H = all->hidden;
    float *memory = get_scratch(hidden_floats(all) + isa->forward_scratch(all));
    if (!memory) return false;
    struct job few = *all;
    few.n_sequences = 1;
    few.batch = count;
    few.x += gene * all->steps * all->input;
    few.weight_ih += sequence * 8 * H * all->input;
    few.weight_hh += sequence * 8 * H * H;
    few.bias_ih += sequence * 8 * H;
    few.bias_hh += sequence * 8 * H;
    few.context += sequence * 2 * H;
    few.hidden_states = memory;
    few.alpha += gene * all->steps;
    few.embedding += gene * 2 * H;
    const unsigned long mode = flush_subnormals();
    for (int64_t direction = 0; direction < 2; direction++)
        isa->forward(&few, direction, 0, count, memory + hidden_floats(all));
    restore_subnormals(mode);
    isa->attend(&few, 0, 0, count);
    return true;
}

static void forward_task(void *argument, int64_t task)
{
    struct call *call = argument;
    const struct job *job = job_of(call, forward_tasks, &task);
    const int64_t blocks = blocks_of(job), sequence = task / blocks, block = task % blocks;
    const int64_t first = job->batch * block / blocks, end = job->batch * (block + 1) / blocks;
    if (!(job->hidden_states ? forward_block : infer_block)(call->isa, job, sequence, first, end - first))
        atomic_store(&call->failed, true);
}

static void attend_backward_task(void *argument, int64_t task)
{
    struct call *call = argument;
    const struct job *job = job_of(call, attention_tasks, &task);
    const unsigned long mode = flush_subnormals();
    call->isa->attend_backward(job, task);
    restore_subnormals(mode);
}

static void backward_task(void *argument, int64_t task)
{
    struct call *call = argument;
    /* From the last sequence to the first: what forward wrote last is still in the caches. */
    task = call->tasks - 1 - task;
    const struct job *job = job_of(call, backward_tasks, &task);
    float *memory = get_scratch(call->isa->backward_scratch(job));
    if (!memory) {
        atomic_store(&call->failed, true);
        return;
    }
    const unsigned long mode = flush_subnormals();
    call->isa->backward(job, task, memory);
    restore_subnormals(mode);
}

int run_forward(const struct job *jobs, int64_t n_jobs, int64_t threads)
{
    struct call call = {.jobs = jobs, .n_jobs = n_jobs, .isa = isa_in_use()};
    run_all(forward_task, &call, forward_tasks, threads);
    return atomic_load(&call.failed) ? -1 : 0;
}

int run_backward(const struct job *jobs, int64_t n_jobs, int64_t threads)
{
    struct call call = {.jobs = jobs, .n_jobs = n_jobs, .isa = isa_in_use()};
    run_all(attend_backward_task, &call, attention_tasks, threads);
    run_all(backward_task, &call, backward_tasks, threads);
    return atomic_load(&call.failed) ? -1 : 0;
}

/* Floats that forward needs in job->saved where a backward pass is to follow. */
EXPORT int64_t lstm_saved_size(const struct job *job) { return isa_in_use()->saved_size(job); }

EXPORT int lstm_forward(const struct job *job) { return run_forward(job, 1, job->threads); }
EXPORT int lstm_backward(const struct job *job) { return run_backward(job, 1, job->threads); }
