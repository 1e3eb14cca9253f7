/* Support vector regression with a precomputed kernel: sequential minimal optimisation.
 *
 * Problem (Smola and Schoelkopf 2004), in beta = alpha - alpha*:
 *
 *     minimise  beta' K beta / 2 - y' beta + epsilon |beta|_1
 *     subject to  sum(beta) = 0,  -upper[i] <= beta[i] <= upper[i]
 *
 * Genes with upper[i] = 0 take no part in it, but margin[i] = (K beta)[i] comes out for them too: that is
 * their prediction, less the bias. So one kernel matrix serves every fold of a cross-validation in place.
 *
 * Working sets are chosen by second order information (Fan, Chen and Lin 2005). LIBSVM computes the kernel
 * anew for every fit and keeps 2 n variables; here an iteration is two passes over n floats.
 */
#include <stdint.h>
#include <stddef.h>

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
#define EVERY_ISA __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define EVERY_ISA
#endif
#define EXPORT __attribute__((visibility("default")))

/* Raised, here and in kernel_svr.py, whenever the arguments of svr_solve change. */
EXPORT int svr_interface(void) { return 1; }

/* Derivative of a variable that may not move: larger than any that may. */
static const float NEVER = 1e30f;

static float lesser(float a, float b) { return a < b ? a : b; }

/* Gain of moving i up and each k down; returns the largest. */
EVERY_ISA static float gains(
    int64_t n, const float *restrict row, const float *restrict diagonal, const float *restrict down,
    float up_i, float diagonal_i, float *restrict gain)
{
    float best = 0;
#pragma omp simd reduction(max : best)
    for (int64_t k = 0; k < n; k++) {
        float slope = down[k] - up_i;
        float curvature = diagonal_i + diagonal[k] - 2 * row[k];
        slope = slope > 0 ? slope : 0;
        curvature = curvature > 1e-6f ? curvature : 1e-6f;
        float value = slope * slope / curvature;
        gain[k] = value;
        best = value > best ? value : best;
    }
    return best;
}

/* Move the derivatives along by step * (row_i - row_j); lowers *lowest and raises *highest to their extremes. */
EVERY_ISA static void move(
    int64_t n, const float *restrict row_i, const float *restrict row_j, float step,
    float *restrict up, float *restrict down, float *lowest, float *highest)
{
    float low = *lowest, high = *highest;
#pragma omp simd reduction(min : low) reduction(max : high)
    for (int64_t k = 0; k < n; k++) {
        float change = step * (row_i[k] - row_j[k]);
        up[k] += change;
        down[k] += change;
        low = up[k] < low ? up[k] : low;
        high = down[k] > high ? down[k] : high;
    }
    *lowest = low;
    *highest = high;
}

/* First position of a value that is known to be there. */
EVERY_ISA static int64_t position(int64_t n, const float *restrict values, float wanted)
{
    int64_t first = 0;
    for (; first + 64 <= n; first += 64) {
        int found = 0;
#pragma omp simd reduction(| : found)
        for (int64_t k = first; k < first + 64; k++)
            found |= values[k] == wanted;
        if (found)
            break;
    }
    while (first < n - 1 && values[first] != wanted)
        first++;
    return first;
}

/* margin = K beta, from beta itself: the rounding of many small moves doesn't stay in the result. */
EVERY_ISA static void multiply(
    int64_t n, const float *restrict kernel, const double *restrict beta, double *restrict margin)
{
    for (int64_t k = 0; k < n; k++)
        margin[k] = 0;
    for (int64_t i = 0; i < n; i++) {
        if (beta[i] == 0)
            continue;
        const float *row = kernel + i * n;
        double weight = beta[i];
#pragma omp simd
        for (int64_t k = 0; k < n; k++)
            margin[k] += weight * row[k];
    }
}

/* Derivatives of moving gene i up and down from its beta; the kink of |beta| lies at 0. */
static void derivatives(double gradient, double beta, double upper, double epsilon, float *up, float *down)
{
    *up = beta < upper ? (float)(gradient + (beta >= 0 ? epsilon : -epsilon)) : NEVER;
    *down = beta > -upper ? (float)(gradient + (beta > 0 ? epsilon : -epsilon)) : -NEVER;
}

/* Longest useful step of beta_i up and beta_j down: a parabola with a kink where either crosses zero. */
static double best_step(double slope, double curvature, double beta_i, double beta_j,
                        double upper_i, double upper_j, double epsilon)
{
    double limit = upper_i - beta_i < upper_j + beta_j ? upper_i - beta_i : upper_j + beta_j;
    double kinks[2] = {beta_i < 0 ? -beta_i : -1, beta_j > 0 ? beta_j : -1};
    if (kinks[0] > kinks[1]) {
        double first = kinks[1];
        kinks[1] = kinks[0];
        kinks[0] = first;
    }
    double step = slope / curvature;
    for (int k = 0; k < 2; k++) {
        if (kinks[k] <= 0 || step <= kinks[k])
            continue;
        slope -= 2 * epsilon;
        step = slope / curvature;
        if (step < kinks[k])
            step = kinks[k];
    }
    return step < limit ? step : limit;
}

/* Solve; returns the iterations made, or -1 when max_iterations did not suffice.
 *
 * kernel     [n, n], symmetric
 * labels, diagonal, upper   [n]
 * beta       [n], start (must sum to 0 within the bounds) and result
 * margin     [n], K beta, start and result
 * bias       result; prediction = margin + bias
 * workspace  3 n floats
 */
EXPORT int64_t svr_solve(
    int64_t n, const float *kernel, const double *labels, const float *diagonal, const double *upper,
    double epsilon, double tolerance, int64_t max_iterations,
    double *beta, double *margin, double *bias, float *workspace)
{
    float *up = workspace, *down = workspace + n, *gain = workspace + 2 * n;
    for (int64_t k = 0; k < n; k++)
        derivatives(margin[k] - labels[k], beta[k], upper[k], epsilon, up + k, down + k);
    int64_t iteration = 0;
    float lowest = NEVER, highest = -NEVER;
    move(n, kernel, kernel, 0, up, down, &lowest, &highest);
    for (; highest - lowest > tolerance && iteration < max_iterations; iteration++) {
        int64_t i = position(n, up, lowest);
        const float *row_i = kernel + i * n;
        float best = gains(n, row_i, diagonal, down, lowest, diagonal[i], gain);
        if (!(best > 0))
            break;
        int64_t j = position(n, gain, best);
        const float *row_j = kernel + j * n;
        double curvature = (double)diagonal[i] + diagonal[j] - 2 * (double)row_i[j];
        if (curvature < 1e-6)
            curvature = 1e-6;
        /* beta before the move tells what epsilon was added, hence the gradients */
        double gradient_i = up[i] - (beta[i] >= 0 ? epsilon : -epsilon);
        double gradient_j = down[j] - (beta[j] > 0 ? epsilon : -epsilon);
        double step = best_step((double)down[j] - up[i], curvature, beta[i], beta[j], upper[i], upper[j], epsilon);
        /* out of the way: their derivatives are set anew below */
        up[i] = up[j] = NEVER;
        down[i] = down[j] = -NEVER;
        lowest = NEVER;
        highest = -NEVER;
        move(n, row_i, row_j, (float)step, up, down, &lowest, &highest);
        beta[i] += step;
        beta[j] -= step;
        /* land on bounds and on the kink exactly */
        if (beta[i] > upper[i] - 1e-12 * upper[i])
            beta[i] = upper[i];
        if (beta[j] < -upper[j] + 1e-12 * upper[j])
            beta[j] = -upper[j];
        double tiny_i = 1e-12 * upper[i], tiny_j = 1e-12 * upper[j];
        if (beta[i] < tiny_i && beta[i] > -tiny_i)
            beta[i] = 0;
        if (beta[j] < tiny_j && beta[j] > -tiny_j)
            beta[j] = 0;
        gradient_i += step * ((double)row_i[i] - row_j[i]);
        gradient_j += step * ((double)row_i[j] - row_j[j]);
        derivatives(gradient_i, beta[i], upper[i], epsilon, up + i, down + i);
        derivatives(gradient_j, beta[j], upper[j], epsilon, up + j, down + j);
        lowest = lesser(lowest, lesser(up[i], up[j]));
        highest = -lesser(-highest, lesser(-down[i], -down[j]));
    }
    *bias = -0.5 * ((double)lowest + highest);
    int done = highest - lowest <= tolerance || iteration < max_iterations;
    multiply(n, kernel, beta, margin);
    return done ? iteration : -1;
}
