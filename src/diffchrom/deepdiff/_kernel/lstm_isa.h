/* The LSTM and its attention for one instruction set: included by lstm.c once for each.
 *
 * The includer defines ISA(name), which makes names unique; VW, the floats in a vector; MR, the rows of the register
 * tile (4 * MR accumulators, MR broadcasts and a weight must fit the registers); and LEAST and GREATEST of two
 * vectors, which give the second where either is NaN.
 *
 * Sizes as in job.h. Units are padded to U vectors of VW; Hp = U * VW. Within one (sequence, direction), gates
 * are packed as [u][row][gate][lane], so that one tile computes the four gates of VW units for MR genes, and the
 * cell update follows in registers. docs/kernel.md derives the backward pass and shows the layouts.
 */

typedef float ISA(vec) __attribute__((vector_size(4 * VW), may_alias));
typedef float ISA(uvec) __attribute__((vector_size(4 * VW), aligned(4), may_alias)); /* anywhere in memory */
#define vec ISA(vec)
#define uvec ISA(uvec)
#define AHEAD 2 /* steps to fetch from memory in advance: the saved gates outgrow the second-level cache */
#define PROJECTED (2 * MR) /* genes of a backward tile: 2 * PROJECTED accumulators and 2 weights */
#ifndef ADD_PRODUCT /* sum += *scalar * weight */
#define ADD_PRODUCT(sum, weight, scalar) (sum) += *(scalar) * (weight)
#endif
#ifndef QUOTIENT
#define QUOTIENT(a, b) ((a) / (b))
#endif
#define GATES (4 * VW) /* floats of the four gates of one vector of units */

static ALWAYS_INLINE vec ISA(splat)(float a) { return a - (vec){}; }

/* tanh as x P(x^2) / Q(x^2), minimax in relative error on [0, 8.1]; within 4e-7 of tanh with float arithmetic. At the
 * limit it rounds to 1 with and without fused multiply-add, so that what saturates has no gradient at all. */
static ALWAYS_INLINE vec ISA(tanh)(vec x)
{
    x = LEAST(ISA(splat)(8.22000313f), GREATEST(ISA(splat)(-8.22000313f), x));
    const vec y = x * x;
    vec p = y * 2.292506288970042e-11f - 1.4503603651405683e-08f;
    p = p * y + 9.817886166274548e-06f;
    p = p * y + 0.0029795628506690264f;
    p = p * y + 0.12973468005657196f;
    p = p * y + 1.0f;
    vec q = y * 0.00023631274234503508f + 0.02400246262550354f;
    q = q * y + 0.46306782960891724f;
    q = q * y + 1.0f;
    return QUOTIENT(x * p, q);
}

/* acc[row][v] += sum over k of a[row * a_row + k * a_k] * b[k * b_k + v]. `soon`, if any, is memory to fetch
 * meanwhile, a cache line for each k: fetched in one burst, it would leave the arithmetic waiting.
 * `rows` and `width` are constants wherever it is inlined, so that acc stays in registers. */
static ALWAYS_INLINE void ISA(multiply)(const int rows, const int width, vec *acc, int64_t depth, const float *a,
                                        int64_t a_row, int64_t a_k, const float *b, int64_t b_k, const char *soon)
{
    UNROLL_2 for (int64_t k = 0; k < depth; k++) {
        if (soon) __builtin_prefetch(soon + k * 64, 1);
        vec spread[MR];
        UNROLL for (int r = 0; r < rows; r++) spread[r] = ISA(splat)(a[r * a_row + k * a_k]);
        UNROLL for (int v = 0; v < width; v++) {
            const vec right = *(const vec *)(b + k * b_k + v * VW);
            UNROLL for (int r = 0; r < rows; r++) acc[r * width + v] += spread[r] * right;
        }
    }
}

static ALWAYS_INLINE vec ISA(load_some)(const float *from, int64_t lanes)
{
    if (lanes >= VW) return *(const uvec *)from;
    vec value = {};
    for (int64_t lane = 0; lane < lanes; lane++) value[lane] = from[lane];
    return value;
}

static ALWAYS_INLINE void ISA(store_some)(float *to, vec value, int64_t lanes)
{
    if (lanes >= VW) *(uvec *)to = value;
    else
        for (int64_t lane = 0; lane < lanes; lane++) to[lane] = value[lane];
}

/* Sizes of one (sequence, direction), and the scratch of one task. */
struct ISA(sizes) {
    int64_t units;  /* vectors of hidden units, U */
    int64_t padded; /* U * VW */
    int64_t rows;   /* rows of the packed weights: I inputs, the bias, H hidden units */
    int64_t columns; /* of the transposed weights: Hp, then I padded where x needs a gradient */
    int64_t chunk;   /* gene-steps collected before the weight gradients are updated */
};

static struct ISA(sizes) ISA(sizes_of)(const struct job *job)
{
    struct ISA(sizes) s;
    s.units = (job->hidden + VW - 1) / VW;
    s.padded = s.units * VW;
    s.rows = job->input + 1 + job->hidden;
    s.columns = s.padded + (job->grad_x ? (job->input + VW - 1) / VW * VW : 0);
    s.chunk = 120;
    return s;
}

static int64_t ISA(saved_size)(const struct job *job)
{
    return job->n_sequences * 2 * job->batch * job->steps * 5 * ISA(sizes_of)(job).padded;
}

/* Where in the packed weights and gradients a gate of a unit lies; its rows are GATES apart. */
static ALWAYS_INLINE int64_t ISA(packed_at)(const struct ISA(sizes) *s, int64_t gate, int64_t unit)
{
    return unit / VW * s->rows * GATES + gate * VW + unit % VW;
}

/* Packs one (sequence, direction) for the forward pass: rows are inputs, bias, hidden units. The sigmoid gates are
 * halved, exactly, because sigmoid(z) = 1/2 + tanh(z/2) / 2. */
static void ISA(pack)(const struct job *job, const struct ISA(sizes) *s, int64_t which, float *packed)
{
    const int64_t H = job->hidden, I = job->input;
    memset(packed, 0, sizeof(float) * s->units * s->rows * GATES);
    for (int64_t gate = 0; gate < 4; gate++) {
        const float scale = gate == 2 ? 1.0f : 0.5f;
        for (int64_t unit = 0; unit < H; unit++) {
            float *to = packed + ISA(packed_at)(s, gate, unit);
            const int64_t row = (which * 4 + gate) * H + unit;
            for (int64_t k = 0; k < I; k++) to[k * GATES] = scale * job->weight_ih[row * I + k];
            to[I * GATES] = scale * (job->bias_ih[row] + job->bias_hh[row]);
            for (int64_t k = 0; k < H; k++) to[(I + 1 + k) * GATES] = scale * job->weight_hh[row * H + k];
        }
    }
}

/* Runs the T steps of `rows` genes, from `first` on, in one direction. */
static ALWAYS_INLINE void ISA(forward_tile)(const int rows, const struct job *job, const struct ISA(sizes) *s,
                                            int64_t which, int64_t first, const float *packed, float *state)
{
    const int64_t H = job->hidden, I = job->input, T = job->steps, U = s->units, Hp = s->padded;
    const int64_t direction = which & 1, gene = (which >> 1) * job->batch + first;
    float *cell = state, *h_old = state + MR * Hp, *h_new = state + 2 * MR * Hp;
    memset(state, 0, sizeof(float) * 3 * MR * Hp);
    float *save = job->saved ? job->saved + (which * T * job->batch + first) * 5 * Hp : NULL;
    for (int64_t step = 0; step < T; step++) {
        const int64_t t = direction ? T - 1 - step : step;
        const float *x = job->x + (gene * T + t) * I;
        float *out = job->hidden_states + (gene * T + t) * 2 * H + direction * H;
        const char *soon = save ? (const char *)(save + (step + AHEAD) * job->batch * 5 * Hp) : NULL;
        for (int64_t u = 0; u < U; u++) {
            const float *weights = packed + u * s->rows * GATES;
            vec acc[MR * 4];
            UNROLL for (int r = 0; r < rows; r++)
                UNROLL for (int gate = 0; gate < 4; gate++)
                    acc[r * 4 + gate] = *(const vec *)(weights + I * GATES + gate * VW);
            ISA(multiply)(rows, 4, acc, I, x, T * I, 1, weights, GATES, NULL);
            ISA(multiply)(rows, 4, acc, H, h_old, Hp, 1, weights + (I + 1) * GATES, GATES, soon);
            if (soon) soon += rows * 5 * VW * sizeof(float);
            UNROLL for (int r = 0; r < rows; r++) {
                const vec i = ISA(tanh)(acc[r * 4]) * 0.5f + 0.5f;
                const vec f = ISA(tanh)(acc[r * 4 + 1]) * 0.5f + 0.5f;
                const vec g = ISA(tanh)(acc[r * 4 + 2]);
                const vec o = ISA(tanh)(acc[r * 4 + 3]) * 0.5f + 0.5f;
                vec *c = (vec *)(cell + r * Hp + u * VW);
                *c = f * *c + i * g;
                const vec h = o * ISA(tanh)(*c);
                *(vec *)(h_new + r * Hp + u * VW) = h;
                ISA(store_some)(out + r * T * 2 * H + u * VW, h, H - u * VW);
                if (save) {
                    vec *to = (vec *)(save + ((step * job->batch + r) * U + u) * 5 * VW);
                    to[0] = i, to[1] = f, to[2] = g, to[3] = o, to[4] = *c;
                }
            }
        }
        float *swap = h_old;
        h_old = h_new;
        h_new = swap;
    }
}

static int64_t ISA(forward_scratch)(const struct job *job)
{
    const struct ISA(sizes) s = ISA(sizes_of)(job);
    return s.units * s.rows * GATES + 3 * MR * s.padded;
}

/* One task: genes first .. first + count - 1 of one (sequence, direction). */
static void ISA(forward)(const struct job *job, int64_t which, int64_t first, int64_t count, float *scratch)
{
    const struct ISA(sizes) s = ISA(sizes_of)(job);
    float *state = scratch + s.units * s.rows * GATES;
    ISA(pack)(job, &s, which, scratch);
    for (int64_t tiles = (count + MR - 1) / MR; tiles; tiles--) {
        const int64_t rows = (count + tiles - 1) / tiles; /* as even as can be */
#define TILE(n) case n: ISA(forward_tile)(n, job, &s, which, first, scratch, state); break;
        switch (rows) { FOR_EACH_ROW_COUNT(TILE) }
#undef TILE
        first += rows;
        count -= rows;
    }
}

/* Everything backward keeps at hand for one task. */
struct ISA(backward_scratch) {
    float *transposed; /* [u][gate][lane] x columns: weight_hh, then weight_ih */
    float *grad;       /* gradients of the packed weights, [u][row][gate][lane] */
    float *grad_gates; /* [u][gene-step of the chunk][gate][lane] */
    float *inputs;     /* [gene-step of the chunk][x, 1, h of the step before] */
    float *grad_h, *grad_c; /* [gene][Hp], carried from step to step */
};

static int64_t ISA(backward_scratch)(const struct job *job)
{
    const struct ISA(sizes) s = ISA(sizes_of)(job);
    const int64_t inputs = (s.chunk * s.rows + VW - 1) / VW * VW;
    return 4 * s.padded * s.columns + s.units * s.rows * GATES + s.units * s.chunk * GATES + inputs
         + 2 * PROJECTED * s.padded;
}

static void ISA(transpose)(const struct job *job, const struct ISA(sizes) *s, int64_t which, float *to)
{
    const int64_t H = job->hidden, I = job->input;
    memset(to, 0, sizeof(float) * 4 * s->padded * s->columns);
    for (int64_t gate = 0; gate < 4; gate++)
        for (int64_t unit = 0; unit < H; unit++) {
            const int64_t row = (which * 4 + gate) * H + unit;
            float *line = to + (unit / VW * GATES + gate * VW + unit % VW) * s->columns;
            memcpy(line, job->weight_hh + row * H, sizeof(float) * H);
            if (job->grad_x) memcpy(line + s->padded, job->weight_ih + row * I, sizeof(float) * I);
        }
}

/* Adds the chunk's outer products (inputs x grad_gates) to the weight gradients: one matrix product. */
static ALWAYS_INLINE void ISA(accumulate_tile)(const int rows, const struct ISA(sizes) *s, int64_t count,
                                               const float *inputs, const float *grad_gates, float *grad)
{
    vec acc[MR * 4];
    UNROLL for (int k = 0; k < rows * 4; k++) acc[k] = *(vec *)(grad + k * VW);
    ISA(multiply)(rows, 4, acc, count, inputs, 1, s->rows, grad_gates, GATES, NULL);
    UNROLL for (int k = 0; k < rows * 4; k++) *(vec *)(grad + k * VW) = acc[k];
}

static void ISA(accumulate)(const struct ISA(sizes) *s, int64_t count, const struct ISA(backward_scratch) *w)
{
    for (int64_t u = 0; u < s->units; u++) {
        int64_t first = 0;
        for (int64_t tiles = (s->rows + MR - 1) / MR; tiles; tiles--) {
            const int64_t rows = (s->rows - first + tiles - 1) / tiles;
            const float *grad_gates = w->grad_gates + u * s->chunk * GATES;
            float *grad = w->grad + (u * s->rows + first) * GATES;
#define TILE(n) case n: ISA(accumulate_tile)(n, s, count, w->inputs + first, grad_gates, grad); break;
            switch (rows) { FOR_EACH_ROW_COUNT(TILE) }
#undef TILE
            first += rows;
        }
    }
}

/* Gradients of h of the step before, and of x, for `width` vectors of columns: the gates' gradients of one step
 * x the transposed weights. */
static ALWAYS_INLINE void ISA(project_columns)(const int rows, const int width, const struct job *job,
                                               const struct ISA(sizes) *s, const struct ISA(backward_scratch) *w,
                                               int64_t slot, int64_t column, float *grad_x, const char *soon)
{
    vec acc[2 * PROJECTED];
    UNROLL for (int k = 0; k < rows * width; k++) acc[k] = (vec){};
    for (int64_t u = 0; u < s->units; u++) {
        const float *grad_gates = w->grad_gates + (u * s->chunk + slot) * GATES;
        const float *right = w->transposed + u * GATES * s->columns + column;
        const int64_t lanes = job->hidden - u * VW;
        /* a last vector's padding holds no gradient, and may hold NaN where the input did */
        const int64_t depth = lanes >= VW ? GATES : lanes;
        for (int64_t gate = 0; gate < GATES; gate += depth == GATES ? GATES : VW)
            UNROLL_2 for (int64_t k = gate; k < gate + depth; k++) {
                vec weights[2];
                __builtin_prefetch(soon);
                soon += 64;
                UNROLL for (int v = 0; v < width; v++) weights[v] = *(const vec *)(right + k * s->columns + v * VW);
                UNROLL for (int r = 0; r < rows; r++)
                    UNROLL for (int v = 0; v < width; v++)
                        ADD_PRODUCT(acc[r * width + v], weights[v], grad_gates + r * GATES + k);
            }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < width; v++) {
            const int64_t at = column + v * VW;
            if (at < s->padded) *(vec *)(w->grad_h + r * s->padded + at) = acc[r * width + v];
            else
                ISA(store_some)(grad_x + r * job->steps * job->input + at - s->padded, acc[r * width + v],
                                job->input - (at - s->padded));
        }
}

static void ISA(project)(int64_t rows, const struct job *job, const struct ISA(sizes) *s,
                         const struct ISA(backward_scratch) *w, int64_t slot, float *grad_x, const char *soon)
{
    int64_t column = 0;
    for (; column + 2 * VW <= s->columns; column += 2 * VW)
#define TILE(n) case n: ISA(project_columns)(n, 2, job, s, w, slot, column, grad_x, soon); break;
        switch (rows) { FOR_EACH_PROJECTED(TILE) }
#undef TILE
    if (column < s->columns)
#define TILE(n) case n: ISA(project_columns)(n, 1, job, s, w, slot, column, grad_x, soon); break;
        switch (rows) { FOR_EACH_PROJECTED(TILE) }
#undef TILE
}

/* Gradient that reaches h of gene r from outside the recurrence: given, or made from attention's. */
static ALWAYS_INLINE vec ISA(outer_gradient)(const struct job *job, int64_t gene, int64_t t, int64_t at,
                                             int64_t lanes)
{
    const int64_t features = 2 * job->hidden;
    if (job->grad_hidden_states)
        return ISA(load_some)(job->grad_hidden_states + (gene * job->steps + t) * features + at, lanes);
    const vec embedding = ISA(load_some)(job->grad_embedding + gene * features + at, lanes);
    const vec context = ISA(load_some)(job->context + gene / job->batch * features + at, lanes);
    return job->alpha[gene * job->steps + t] * embedding + job->grad_score[gene * job->steps + t] * context;
}

static void ISA(backward_tile)(int64_t rows, const struct job *job, const struct ISA(sizes) *s,
                                             int64_t which, int64_t first,
                                             const struct ISA(backward_scratch) *w)
{
    const int64_t H = job->hidden, I = job->input, T = job->steps, U = s->units, Hp = s->padded;
    const int64_t direction = which & 1, gene = (which >> 1) * job->batch + first;
    const float *save = job->saved + (which * T * job->batch + first) * 5 * Hp;
    float *grad_x = job->grad_x ? job->grad_x + (direction * job->n_sequences * job->batch + gene) * T * I : NULL;
    int64_t slot = 0;
    memset(w->grad_h, 0, sizeof(float) * PROJECTED * Hp);
    memset(w->grad_c, 0, sizeof(float) * PROJECTED * Hp);
    for (int64_t step = T - 1; step >= 0; step--) {
        const int64_t t = direction ? T - 1 - step : step, t_before = direction ? t + 1 : t - 1;
        const float *states = job->hidden_states + (gene * T + t) * 2 * H + direction * H;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t u = 0; u < U; u++) {
                const vec *saved = (const vec *)(save + ((step * job->batch + r) * U + u) * 5 * VW);
                const vec i = saved[0], f = saved[1], g = saved[2], o = saved[3];
                const vec c_before = step ? saved[4 - 5 * U * job->batch] : (vec){};
                const vec h = ISA(load_some)(states + r * T * 2 * H + u * VW, H - u * VW);
                /* A saturated o is 0 to rounding, on either side of it, and h / o means nothing: hence the bounds. */
                const vec ratio = QUOTIENT(h, GREATEST(ISA(splat)(1e-30f), o));
                const vec tanh_c = LEAST(ISA(splat)(1.0f), GREATEST(ISA(splat)(-1.0f), ratio));
                vec *grad_c = (vec *)(w->grad_c + r * Hp + u * VW);
                const vec grad_h = *(vec *)(w->grad_h + r * Hp + u * VW)
                                 + ISA(outer_gradient)(job, gene + r, t, direction * H + u * VW, H - u * VW);
                const vec d_c = *grad_c + grad_h * o * (1.0f - tanh_c * tanh_c);
                vec *to = (vec *)(w->grad_gates + (u * s->chunk + slot + r) * GATES);
                to[0] = d_c * g * (i * (1.0f - i));
                to[1] = d_c * c_before * (f * (1.0f - f));
                to[2] = d_c * i * (1.0f - g * g);
                to[3] = grad_h * tanh_c * (o * (1.0f - o));
                *grad_c = d_c * f;
            }
        for (int r = 0; r < rows; r++) {
            const float *x = job->x + ((gene + r) * T + t) * I;
            const float *h = job->hidden_states + ((gene + r) * T + t_before) * 2 * H + direction * H;
            float *inputs = w->inputs + (slot + r) * s->rows;
            for (int64_t k = 0; k < I; k++) inputs[k] = x[k];
            inputs[I] = 1.0f;
            for (int64_t u = 0; u < U; u++)
                ISA(store_some)(inputs + I + 1 + u * VW, step ? ISA(load_some)(h + u * VW, H - u * VW) : (vec){},
                                H - u * VW);
        }
        if (step || grad_x) ISA(project)(rows, job, s, w, slot, grad_x ? grad_x + t * I : NULL,
                         (const char *)(save + (step - AHEAD) * job->batch * 5 * Hp));
        slot += rows;
        if (slot + rows > s->chunk || step == 0) {
            ISA(accumulate)(s, slot, w);
            slot = 0;
        }
    }
}

/* Writes the packed gradients of one (sequence, direction) in torch's layout, or adds them to what is there. */
static void ISA(unpack)(const struct job *job, const struct ISA(sizes) *s, int64_t which, const float *grad)
{
    const int64_t H = job->hidden, I = job->input;
    for (int64_t gate = 0; gate < 4; gate++)
        for (int64_t unit = 0; unit < H; unit++) {
            const float *from = grad + ISA(packed_at)(s, gate, unit);
            const int64_t row = (which * 4 + gate) * H + unit;
            for (int64_t k = 0; k < I; k++) job->grad_weight_ih[row * I + k] = from[k * GATES];
            job->grad_bias[row] = from[I * GATES];
            for (int64_t k = 0; k < H; k++) job->grad_weight_hh[row * H + k] = from[(I + 1 + k) * GATES];
        }
}

/* One task: all genes of one (sequence, direction), so that the weight gradients have one order of summation. */
static void ISA(backward)(const struct job *job, int64_t which, float *scratch)
{
    const struct ISA(sizes) s = ISA(sizes_of)(job);
    struct ISA(backward_scratch) w;
    w.transposed = scratch;
    w.grad = w.transposed + 4 * s.padded * s.columns;
    w.grad_gates = w.grad + s.units * s.rows * GATES;
    w.grad_h = w.grad_gates + s.units * s.chunk * GATES;
    w.grad_c = w.grad_h + PROJECTED * s.padded;
    w.inputs = w.grad_c + PROJECTED * s.padded;
    ISA(transpose)(job, &s, which, w.transposed);
    memset(w.grad, 0, sizeof(float) * s.units * s.rows * GATES);
    int64_t first = 0;
    for (int64_t tiles = (job->batch + PROJECTED - 1) / PROJECTED; tiles; tiles--) {
        const int64_t rows = (job->batch - first + tiles - 1) / tiles;
        ISA(backward_tile)(rows, job, &s, which, first, &w);
        first += rows;
    }
    ISA(unpack)(job, &s, which, w.grad);
}

/* Sum of the products of two rows of 2H features. */
static ALWAYS_INLINE float ISA(dot)(const float *a, const float *b, int64_t features)
{
    vec sums = {};
    for (int64_t k = 0; k < features; k += VW)
        sums += ISA(load_some)(a + k, features - k) * ISA(load_some)(b + k, features - k);
    return SUM(sums);
}

/* to = sum over rows of weight * row, for the T rows of one gene. */
static ALWAYS_INLINE void ISA(weighted_sum)(const float *weights, const float *rows, int64_t steps, int64_t features,
                                            float *to)
{
    for (int64_t k = 0; k < features; k += VW) {
        vec even = {}, odd = {}; /* two chains of additions take half as long as one */
        int64_t t = 0;
        for (; t + 2 <= steps; t += 2) {
            even += weights[t] * ISA(load_some)(rows + t * features + k, features - k);
            odd += weights[t + 1] * ISA(load_some)(rows + (t + 1) * features + k, features - k);
        }
        if (t < steps) even += weights[t] * ISA(load_some)(rows + t * features + k, features - k);
        ISA(store_some)(to + k, even + odd, features - k);
    }
}

/* One task: alpha and embedding of every gene of a sequence. */
static void ISA(attend)(const struct job *job, int64_t sequence)
{
    const int64_t T = job->steps, features = 2 * job->hidden;
    const float *context = job->context + sequence * features;
    for (int64_t gene = sequence * job->batch; gene < (sequence + 1) * job->batch; gene++) {
        const float *states = job->hidden_states + gene * T * features;
        float *alpha = job->alpha + gene * T, highest = -INFINITY, total = 0;
        for (int64_t t = 0; t < T; t++) {
            alpha[t] = ISA(dot)(states + t * features, context, features);
            if (!(alpha[t] <= highest)) highest = alpha[t]; /* NaN stays */
        }
        for (int64_t t = 0; t < T; t++) total += alpha[t] = expf(alpha[t] - highest);
        for (int64_t t = 0; t < T; t++) alpha[t] /= total;
        ISA(weighted_sum)(alpha, states, T, features, job->embedding + gene * features);
    }
}

/* One task: gradients of a sequence's scores and of its context. With q_t = dL/dembedding . h_t + dL/dalpha_t,
 * the softmax gives dL/dscore_t = alpha_t (q_t - sum_s alpha_s q_s). */
static void ISA(attend_backward)(const struct job *job, int64_t sequence)
{
    const int64_t T = job->steps, features = 2 * job->hidden;
    float *grad_context = job->grad_context + sequence * features;
    memset(grad_context, 0, sizeof(float) * features);
    for (int64_t gene = sequence * job->batch; gene < (sequence + 1) * job->batch; gene++) {
        const float *states = job->hidden_states + gene * T * features, *alpha = job->alpha + gene * T;
        float *score = job->grad_score + gene * T, mean = 0;
        for (int64_t t = 0; t < T; t++) {
            score[t] = ISA(dot)(job->grad_embedding + gene * features, states + t * features, features);
            if (job->grad_alpha) score[t] += job->grad_alpha[gene * T + t];
            mean += alpha[t] * score[t];
        }
        for (int64_t t = 0; t < T; t++) score[t] = alpha[t] * (score[t] - mean);
        for (int64_t k = 0; k < features; k += VW) {
            vec sum = ISA(load_some)(grad_context + k, features - k);
            for (int64_t t = 0; t < T; t++)
                sum += score[t] * ISA(load_some)(states + t * features + k, features - k);
            ISA(store_some)(grad_context + k, sum, features - k);
        }
    }
}

static const struct isa ISA(table) = {
    ISA_NAME, ISA(saved_size), ISA(forward_scratch), ISA(forward), ISA(backward_scratch), ISA(backward),
    ISA(attend), ISA(attend_backward),
};

#undef vec
#undef uvec
#undef GATES
#undef QUOTIENT
#undef PROJECTED
#undef ADD_PRODUCT
#undef AHEAD
#undef VW
#undef MR
#undef LEAST
#undef SUM
#undef GREATEST
#undef ISA
#undef ISA_NAME
#undef FOR_EACH_ROW_COUNT
#undef FOR_EACH_PROJECTED
