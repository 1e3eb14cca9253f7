/* What Python hands over: sizes and addresses. Mirrored field by field by `KernelJob` in __init__.py.
 *
 * All arrays are contiguous float32 in row-major order; N sequences, B genes, T steps, I inputs, H hidden units,
 * directions 0 (forward) and 1 (backward), gates in torch's order i, f, g, o. NULL where not asked for.
 */
#ifndef DIFFCHROM_JOB_H
#define DIFFCHROM_JOB_H

#include <stdint.h>

/* Raised whenever `struct job` or what its arrays hold changes, here and in __init__.py: a library that was built
 * before such a change is refused instead of reading the wrong addresses. */
#define LSTM_INTERFACE 3

struct job {
    int64_t n_sequences, batch, steps, input, hidden;
    int64_t threads; /* at most this many work at once; never changes a result */

    const float *x;         /* [N, B, T, I] */
    const float *weight_ih; /* [N, 2, 4H, I] */
    const float *weight_hh; /* [N, 2, 4H, H] */
    const float *bias_ih;   /* [N, 2, 4H] */
    const float *bias_hh;   /* [N, 2, 4H] */
    const float *context;   /* [N, 2H], attention only */

    float *hidden_states; /* [N, B, T, 2H], written by forward, read by backward; NULL for attention's results alone */
    float *saved;         /* lstm_saved_size() floats on a 64-byte boundary: gates and cell states for backward */
    float *alpha;         /* [N, B, T], attention only */
    float *embedding;     /* [N, B, 2H], attention only */

    const float *grad_hidden_states; /* [N, B, T, 2H]; or, with attention, the two that follow instead */
    const float *grad_embedding;     /* [N, B, 2H] */
    const float *grad_alpha;         /* [N, B, T], may be NULL */
    float *grad_score;               /* [N, B, T], attention's scratch */

    float *grad_x;         /* [2, N, B, T, I], one for each direction; NULL where x needs no gradient */
    float *grad_weight_ih; /* [N, 2, 4H, I] */
    float *grad_weight_hh; /* [N, 2, 4H, H] */
    float *grad_bias;      /* [N, 2, 4H], the gradient of either bias */
    float *grad_bias_hh;   /* [N, 2, 4H], the same once more; may be NULL */
    float *grad_context;   /* [N, 2H], attention only */
};

#endif
