/* Adam's two passes over a vector for one instruction set: included by lstm.c once for each, before lstm_isa.h. The loops
 * are plain, so that the compiler makes vectors of them. */

enum { ISA(LANES) = 4 * VW };

static double ISA(sum_squares)(const float *gradient, int64_t size)
{
    float lanes[ISA(LANES)] = {0};
    double total = 0;
    int64_t k = 0;
    for (; k + ISA(LANES) <= size; k += ISA(LANES))
        for (int lane = 0; lane < ISA(LANES); lane++) lanes[lane] += gradient[k + lane] * gradient[k + lane];
    for (; k < size; k++) total += (double)gradient[k] * gradient[k];
    for (int lane = 0; lane < ISA(LANES); lane++) total += lanes[lane];
    return total;
}

static void ISA(adam)(const struct adam *a, float clip, float rate, float root, int64_t first, int64_t end)
{
    float *restrict values = a->values, *restrict mean = a->mean, *restrict square = a->square;
    const float *restrict gradient = a->gradient;
    const float towards = (float)(1 - a->beta1), beta2 = (float)a->beta2, rest = (float)(1 - a->beta2);
    const float epsilon = (float)a->epsilon;
    for (int64_t k = first; k < end; k++) {
        const float g = gradient[k] * clip;
        mean[k] += towards * (g - mean[k]);
        square[k] = beta2 * square[k] + rest * g * g;
        values[k] -= rate * mean[k] / (sqrtf(square[k]) * root + epsilon);
    }
}
