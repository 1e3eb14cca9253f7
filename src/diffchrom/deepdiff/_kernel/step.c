/* A training step of a DeepDiff variant around its LSTMs: Level II's input, heads, losses, and their gradients.
 *
 * The tensors are small, a few hundred values a gene, so that here calls and passes count and arithmetic hardly does.
 * docs/kernel.md shows the order of the phases.
 */
#include <math.h>
#include <string.h>

#include "kernel.h"
#include "step.h"
#include "threads.h"

/* What `torch.nn.functional.pairwise_distance` adds to each difference. */
#define DISTANCE_EPSILON 1e-6f

/* What Level I reads: the signal of both cells, or its difference, by sequence. */
static void arrange(const struct step *s)
{
    const int64_t T = s->bins;
    for (int64_t k = 0; k < s->sequences; k++)
        for (int64_t b = 0; b < s->batch; b++) {
            const int64_t at = (b * s->marks + k % s->marks) * T;
            const float *first = (s->sources[k] == 1 ? s->b : s->a) + at, *second = s->b + at;
            float *to = s->x + (s->rows[k] + b) * T;
            if (s->sources[k] < 2) memcpy(to, first, sizeof(float) * T);
            else
                for (int64_t t = 0; t < T; t++) to[t] = first[t] - second[t];
        }
}

/* What Level II's blocks read: the embeddings of their sequences, gene by gene. */
static void gather(const struct step *s)
{
    const int64_t E = s->embedding_size, B = s->batch;
    for (int64_t k = 0; k < s->n_level2; k++)
        for (int64_t j = 0, J = s->level2[k].steps; j < J; j++) {
            const int64_t sequence = s->first[k] + j;
            const float *from = s->embedding + s->rows[sequence] * E;
            const float *kept = s->kept_embedding ? s->kept_embedding + sequence * B * E : NULL;
            for (int64_t b = 0; b < B; b++) {
                float *to = (float *)s->level2[k].x + (b * J + j) * E;
                for (int64_t e = 0; e < E; e++) to[e] = kept ? from[b * E + e] * kept[b * E + e] : from[b * E + e];
            }
        }
}

/* The way back: adds what reached Level II's input to the gradients of the embeddings. */
static void scatter(const struct step *s)
{
    const int64_t E = s->embedding_size, B = s->batch;
    for (int64_t k = 0; k < s->n_level2; k++)
        for (int64_t j = 0, J = s->level2[k].steps; j < J; j++) {
            const int64_t sequence = s->first[k] + j;
            float *to = s->grad_embedding + s->rows[sequence] * E;
            const float *kept = s->kept_embedding ? s->kept_embedding + sequence * B * E : NULL;
            for (int64_t b = 0; b < B; b++) {
                const float *forward = s->level2[k].grad_x + (b * J + j) * E, *backward = forward + B * J * E;
                for (int64_t e = 0; e < E; e++) {
                    const float grad = forward[e] + backward[e];
                    to[b * E + e] += kept ? grad * kept[b * E + e] : grad;
                }
            }
        }
}

/* Summaries of Level II to features of the heads; or, backward, gradients of those to gradients of these. */
static void summaries(const struct step *s, int backward)
{
    const int64_t D = s->summary_size, B = s->batch, L = s->n_level2;
    for (int64_t k = 0; k < L; k++)
        for (int64_t b = 0; b < B; b++) {
            const float *kept = s->kept_summary ? s->kept_summary + (k * B + b) * D : NULL;
            const int64_t feature = (b * L + k) * D;
            const float *from = backward ? s->grad_features + feature : s->level2[k].embedding + b * D;
            float *to = backward ? (float *)s->level2[k].grad_embedding + b * D : s->features + feature;
            for (int64_t d = 0; d < D; d++) to[d] = kept ? from[d] * kept[d] : from[d];
        }
}

static void dense_forward(const struct isa *isa, const struct dense *layer, int64_t batch)
{
    const int64_t O = layer->outputs;
    for (int64_t b = 0; b < batch; b++) {
        float *y = layer->y + b * O;
        isa->dots(layer->x + b * layer->stride, layer->weight, O, layer->inputs, y);
        for (int64_t o = 0; o < O; o++) {
            y[o] += layer->bias[o];
            if (layer->rectified && y[o] < 0) y[o] = 0;
        }
    }
}

static void dense_backward(const struct isa *isa, const struct dense *layer, int64_t batch)
{
    const int64_t I = layer->inputs, O = layer->outputs;
    memset(layer->grad_weight, 0, sizeof(float) * O * I);
    memset(layer->grad_bias, 0, sizeof(float) * O);
    for (int64_t b = 0; b < batch; b++) {
        const float *restrict x = layer->x + b * layer->stride, *y = layer->y + b * O;
        float *grad_y = layer->grad_y + b * O;
        for (int64_t o = 0; o < O; o++) {
            if (layer->rectified && y[o] <= 0) grad_y[o] = 0;
            float *restrict grad_weight = layer->grad_weight + o * I;
            layer->grad_bias[o] += grad_y[o];
            for (int64_t i = 0; i < I; i++) grad_weight[i] += grad_y[o] * x[i];
        }
        isa->add_weighted(grad_y, layer->weight, O, I, layer->grad_x + b * layer->stride);
    }
}

/* Mean squared error of log2fc, of weighted genes where there are weights. */
static double change_loss(const struct step *s)
{
    double loss = 0;
    for (int64_t b = 0; b < s->batch; b++) {
        const float error = s->log2fc[b] - s->target[b], weight = (s->weight ? s->weight[b] : 1.0f) / (float)s->batch;
        loss += (double)weight * error * error;
        s->grad_log2fc[b] = 2.0f * weight * error;
    }
    return loss;
}

/* Mean squared error of a cell's expression over the genes for which it is known. */
static double level_loss(const struct step *s, int cell)
{
    const float *level = s->level[cell], *predicted = s->expression[cell];
    double loss = 0;
    int64_t known = 0;
    for (int64_t b = 0; b < s->batch; b++) known += isfinite(level[b]) != 0;
    const float weight = s->cell_weight / (float)(known ? known : 1);
    for (int64_t b = 0; b < s->batch; b++) {
        const float error = isfinite(level[b]) ? predicted[b] - level[b] : 0;
        loss += (double)weight * error * error;
        s->grad_expression[cell][b] = 2.0f * weight * error;
    }
    return loss;
}

/* Cross entropy of a cell's classes, 0 .. C - 1, over the genes for which they are known. */
static double class_loss(const struct step *s, int cell)
{
    const int64_t *class = s->level[cell], C = s->classes;
    double loss = 0;
    int64_t known = 0;
    for (int64_t b = 0; b < s->batch; b++) known += class[b] >= 0 && class[b] < C;
    const float weight = s->cell_weight / (float)(known ? known : 1);
    for (int64_t b = 0; b < s->batch; b++) {
        const float *logits = s->expression[cell] + b * C;
        float *grad = s->grad_expression[cell] + b * C, highest = -INFINITY, total = 0;
        const float counts = class[b] >= 0 && class[b] < C ? weight : 0;
        for (int64_t c = 0; c < C; c++)
            if (!(logits[c] <= highest)) highest = logits[c]; /* NaN stays */
        for (int64_t c = 0; c < C; c++) total += grad[c] = expf(logits[c] - highest);
        for (int64_t c = 0; c < C; c++) grad[c] = counts * (grad[c] / total - (c == class[b]));
        if (counts) loss += (double)counts * (logf(total) + highest - logits[class[b]]);
    }
    return loss;
}

/* One gene's value that is compared, and with which factor its embedding counts in it. */
static float compared(const struct step *s, int64_t sequence, int64_t b, int64_t e, float *factor)
{
    const int64_t E = s->embedding_size;
    *factor = s->compare_dropped && s->kept_embedding ? s->kept_embedding[(sequence * s->batch + b) * E + e] : 1.0f;
    return *factor * s->embedding[(s->rows[sequence] + b) * E + e];
}

/* Mean contrastive loss of the distances between both cells' embeddings; adds to the gradients of these. */
static double contrastive_loss(const struct step *s)
{
    const int64_t E = s->embedding_size, J = s->level2[0].steps;
    const float weight = s->contrastive_weight / (float)s->batch * (s->halved ? 0.5f : 1.0f);
    double loss = 0;
    for (int64_t b = 0; b < s->batch; b++) {
        float of_a, of_b;
        double square = 0;
        for (int64_t j = 0; j < J; j++)
            for (int64_t e = 0; e < E; e++) {
                const float a = compared(s, s->first[0] + j, b, e, &of_a);
                const float difference = a - compared(s, s->first[1] + j, b, e, &of_b) + DISTANCE_EPSILON;
                square += (double)difference * difference;
            }
        const float distance = (float)sqrt(square);
        const float left = s->margin > distance ? s->margin - distance : 0;
        const int changed = fabsf(s->target[b]) >= s->change_threshold;
        loss += (double)weight * (changed ? left * left : s->halved ? distance : distance * distance);
        const float slope = weight * (changed ? -2.0f * left : s->halved ? 1.0f : 2.0f * distance);
        for (int64_t j = 0; j < J && distance > 0; j++)
            for (int64_t e = 0; e < E; e++) {
                const float a = compared(s, s->first[0] + j, b, e, &of_a);
                const float difference = a - compared(s, s->first[1] + j, b, e, &of_b) + DISTANCE_EPSILON;
                s->grad_embedding[(s->rows[s->first[0] + j] + b) * E + e] += slope * difference / distance * of_a;
                s->grad_embedding[(s->rows[s->first[1] + j] + b) * E + e] -= slope * difference / distance * of_b;
            }
    }
    return loss;
}

/* The loss, and its gradients of what the heads and Level I give. */
static void losses(const struct step *s)
{
    double loss = change_loss(s);
    for (int cell = 0; cell < 2; cell++)
        if (s->level[cell]) loss += s->classes > 1 ? class_loss(s, cell) : level_loss(s, cell);
        else if (s->expression[cell]) memset(s->grad_expression[cell], 0, sizeof(float) * s->batch * s->classes);
    if (s->siamese) loss += contrastive_loss(s);
    *s->loss = (float)loss;
}

/* Loss and gradients of a batch; 0, or -1 where memory ran out. */
EXPORT int step_gradients(const struct step *s)
{
    const struct isa *isa = isa_in_use();
    arrange(s);
    if (run_forward(s->level1, s->n_level1, s->threads)) return -1;
    gather(s);
    if (run_forward(s->level2, s->n_level2, s->threads)) return -1;
    summaries(s, 0);
    for (int64_t k = 0; k < s->n_dense; k++) dense_forward(isa, s->dense + k, s->batch);
    for (int64_t k = 0; k < s->n_dense; k++) /* hidden layers, too: what follows them adds to it */
        memset(s->dense[k].grad_y, 0, sizeof(float) * s->batch * s->dense[k].outputs);
    memset(s->grad_features, 0, sizeof(float) * s->batch * s->n_level2 * s->summary_size);
    for (int64_t k = 0; k < s->sequences; k++)
        memset(s->grad_embedding + s->rows[k] * s->embedding_size, 0, sizeof(float) * s->batch * s->embedding_size);
    losses(s);
    for (int64_t k = s->n_dense - 1; k >= 0; k--) dense_backward(isa, s->dense + k, s->batch);
    summaries(s, 1);
    if (run_backward(s->level2, s->n_level2, s->threads)) return -1;
    scatter(s);
    return run_backward(s->level1, s->n_level1, s->threads);
}
