/* What Python hands over for a training step of a DeepDiff variant. Mirrored field by field by __init__.py.
 *
 * B genes, M marks, T bins; S sequences in all, each with an embedding of E values from Level I; L blocks at Level II,
 * each with a summary of D values. Which variant it is shows in what the pointers point at.
 */
#ifndef DIFFCHROM_STEP_H
#define DIFFCHROM_STEP_H

#include <stdint.h>

#include "job.h"

/* y = W x + b for every gene, and max(0, y) where rectified. */
struct dense {
    int64_t inputs, outputs, rectified;
    int64_t stride; /* of the genes in x and grad_x; those of y lie side by side */
    const float *weight, *bias;      /* [outputs, inputs], [outputs] */
    float *grad_weight, *grad_bias;
    const float *x;
    float *y, *grad_y, *grad_x;      /* grad_x is added to */
};

struct step {
    int64_t batch, marks, bins, sequences, embedding_size, summary_size, n_level1, n_level2, n_dense, threads;
    int64_t classes;         /* of the auxiliary heads: 1 where they regress */
    int64_t siamese;         /* whether the embeddings that blocks 0 and 1 of Level II read are compared */
    int64_t compare_dropped; /* with what dropout leaves of them */
    int64_t halved;          /* the contrastive loss of the paper's text, not of its code */
    float cell_weight, contrastive_weight, margin, change_threshold;

    const struct job *level1;  /* [n_level1]; of `x`, to `embedding` */
    const struct job *level2;  /* [L]; their x [1, B, J, E] is written here */
    const struct dense *dense; /* in the order in which they are computed */
    const int64_t *sources;    /* [S]: whose signal a sequence is, 0 of cell A, 1 of B, 2 A - B; of the marks in turn */
    const int64_t *rows;       /* [S]: rows of `x` and `embedding` at which the genes of a sequence begin */
    const int64_t *first;      /* [L]: first sequence that a block reads; it reads level2[].steps of them */

    const float *a, *b; /* [B, M, T], signal */
    float *x;           /* [rows, T], Level I's input is written here */
    const float *embedding;     /* [rows, E] */
    float *grad_embedding;      /* the same */
    const float *kept_embedding; /* [S, B, E], dropout's factors; NULL without dropout */
    const float *kept_summary;   /* [L, B, D] */
    float *features;            /* [B, L * D]: all summaries, what dropout leaves of them */
    float *grad_features;

    const float *log2fc, *target, *weight; /* [B]; weight may be NULL */
    float *grad_log2fc;
    const float *expression[2]; /* [B, classes], cells A and B */
    const void *level[2];       /* [B], log2(expression + 1) as float, or class as int64_t; NULL where there is none */
    float *grad_expression[2];
    float *loss;
};

/* Adam on one vector, after its gradient was scaled to a norm of at most clip_norm. */
struct adam {
    int64_t size, threads;
    float *values;
    const float *gradient;
    float *mean, *square;
    float *step; /* taken so far, one more afterwards */
    double rate, beta1, beta2, epsilon, clip_norm;
};

#endif
