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
#ifndef ADD_PRODUCTS /* each of the two sums += *scalar * its weight */
#define ADD_PRODUCTS(sum, weight, scalar) ((sum)[0] += *(scalar) * (weight)[0], (sum)[1] += *(scalar) * (weight)[1])
#endif
#ifndef RECIPROCAL
#define RECIPROCAL(a) (1.0f / (a))
#endif
#ifndef FRACTION /* z - floor(z), and floor(z) or what serves TIMES_POWER(p, whole) = p 2^whole as well */
typedef int32_t ISA(ivec) __attribute__((vector_size(4 * VW), may_alias));
#define FRACTION(z, whole) ISA(fraction)(z, &(whole))
#define TIMES_POWER(p, whole) ((vec)((ISA(ivec))(p) + (__builtin_convertvector(whole, ISA(ivec)) << 23)))
static ALWAYS_INLINE vec ISA(fraction)(vec z, vec *whole)
{
    z = GREATEST(-125.5f - (vec){}, z);
    *whole = z - 0.5f + 12582912.0f; /* 1.5 * 2^23: rounds to an integer */
    *whole -= 12582912.0f;
    return z - *whole;
}
#endif
#define GATES (4 * VW) /* floats of the four gates of one vector of units */

static ALWAYS_INLINE vec ISA(splat)(float a) { return a - (vec){}; }

/* 2^z, the polynomial minimax in relative error on [0, 1]; within 2e-7. Bounded by 2^60, so that no sigmoid comes out as
 * zero. */
static ALWAYS_INLINE vec ISA(exp2)(vec z)
{
    z = LEAST(ISA(splat)(60.0f), z);
    vec whole;
    const vec part = FRACTION(z, whole);
    vec p = part * 0.0018775766948238015f + 0.008989340625703335f;
    p = p * part + 0.05582631751894951f;
    p = p * part + 0.24015361070632935f;
    p = p * part + 0.6931530833244324f;
    p = p * part + 0.9999999403953552f;
    return TIMES_POWER(p, whole);
}

/* Sigmoid of -z / log2(e), and with it tanh(z) = 2 sigmoid(2 z) - 1. Exactly 1 where 2^z vanishes beside 1, and then the
 * tanh is exactly 1 or -1, so that what saturates has no gradient. */
static ALWAYS_INLINE vec ISA(sigmoid)(vec z)
{
    return RECIPROCAL(1.0f + ISA(exp2)(z));
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
    s.chunk = 80;
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

/* Packs one (sequence, direction) for the forward pass: rows are inputs, bias, hidden units. Scaled to what
 * ISA(sigmoid) takes, for gate g twice that: tanh(z) = 2 sigmoid(2 z) - 1. */
static void ISA(pack)(const struct job *job, const struct ISA(sizes) *s, int64_t which, float *packed)
{
    const int64_t H = job->hidden, I = job->input;
    memset(packed, 0, sizeof(float) * s->units * s->rows * GATES);
    for (int64_t gate = 0; gate < 4; gate++) {
        const float scale = gate == 2 ? 2 * MINUS_LOG2_E : MINUS_LOG2_E;
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
    const int64_t ahead = (direction ? -AHEAD : AHEAD) * 2 * H;
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
            UNROLL for (int r = 0; r < rows; r++) __builtin_prefetch(out + ahead + r * T * 2 * H + u * VW, 1);
            vec *to = save ? (vec *)(save + (step * job->batch * U + u) * 5 * VW) : NULL;
            UNROLL for (int r = 0; r < rows; r++) { /* two loops, so that rows overlap in the processor */
                const vec i = ISA(sigmoid)(acc[r * 4]), f = ISA(sigmoid)(acc[r * 4 + 1]);
                const vec g = 2.0f * ISA(sigmoid)(acc[r * 4 + 2]) - 1.0f, o = ISA(sigmoid)(acc[r * 4 + 3]);
                vec *c = (vec *)(cell + r * Hp + u * VW);
                *c = acc[r * 4] = f * *c + i * g;
                acc[r * 4 + 3] = o;
                if (to) {
                    vec *of = to + r * U * 5;
                    of[0] = i, of[1] = f, of[2] = g, of[3] = o, of[4] = *c;
                }
            }
            UNROLL for (int r = 0; r < rows; r++) {
                const vec tanh_c = 2.0f * ISA(sigmoid)(acc[r * 4] * (2 * MINUS_LOG2_E)) - 1.0f;
                const vec h = acc[r * 4 + 3] * tanh_c;
                *(vec *)(h_new + r * Hp + u * VW) = h;
                ISA(store_some)(out + r * T * 2 * H + u * VW, h, H - u * VW);
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
                    if (width == 2) ADD_PRODUCTS(acc + r * 2, weights, grad_gates + r * GATES + k);
                    else acc[r] += grad_gates[r * GATES + k] * weights[0];
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

/* The elementwise part of one step of backward for gene `gene + r`, which is row `r` of its tile: d(z) from d(h) and d(c),
 * and what d(z) multiplies in the weights' gradients. */
static ALWAYS_INLINE void ISA(backward_row)(const struct job *job, const struct ISA(sizes) *s, int64_t which,
                                            int64_t gene, int64_t r, int64_t step, const float *save, int64_t slot,
                                            const struct ISA(backward_scratch) *w)
{
    /* Vectors may alias whatever they are stored to: what is needed again lies in variables. */
    const int64_t H = job->hidden, I = job->input, T = job->steps, U = s->units, before = 5 * U * job->batch;
    const int64_t direction = which & 1, t = direction ? T - 1 - step : step, at = (gene + r) * T + t;
    const int64_t features = 2 * H, side = direction * H, gate_stride = s->chunk * GATES;
    const float *h_now = job->hidden_states + at * features + side;
    const float *h_before = h_now + (direction ? features : -features);
    const int64_t ahead = (direction ? AHEAD : -AHEAD) * features;
    const float *given = job->grad_hidden_states, *context = job->context, *embedding = job->grad_embedding;
    const float alpha = given ? 0.0f : job->alpha[at], score = given ? 0.0f : job->grad_score[at];
    if (given) given += at * features + side;
    else context += (which >> 1) * features + side, embedding += (gene + r) * features + side;
    const vec *saved = (const vec *)save + (step * job->batch + r) * U * 5;
    vec *grad_c = (vec *)(w->grad_c + r * s->padded), *grad_h = (vec *)(w->grad_h + r * s->padded);
    float *gates = w->grad_gates + (slot + r) * GATES, *inputs = w->inputs + (slot + r) * s->rows;
    const float *x = job->x + at * I;
    for (int64_t k = 0; k < I; k++) inputs[k] = x[k];
    inputs[I] = 1.0f;
    inputs += I + 1;
    for (int64_t u = 0; u < U; u++) {
        const int64_t lanes = H - u * VW;
        const vec i = saved[0], f = saved[1], g = saved[2], o = saved[3];
        const vec c_before = step ? saved[4 - before] : (vec){};
        const vec h = ISA(load_some)(h_now + u * VW, lanes);
        /* What reaches h from outside the recurrence: given, or made from the gradients of attention. */
        vec d_h = grad_h[u];
        if (given) d_h += ISA(load_some)(given + u * VW, lanes);
        else
            d_h += alpha * ISA(load_some)(embedding + u * VW, lanes) + score * ISA(load_some)(context + u * VW, lanes);
        /* o is at least 2^-60, and h no larger */
        const vec d_c = grad_c[u] + d_h * (o - h * (h * RECIPROCAL(o)));
        const vec d_ci = d_c * i, d_cig = d_ci * g, d_cf = d_c * f, d_cfc = d_cf * c_before, d_hh = d_h * h;
        vec *to = (vec *)(gates + u * gate_stride);
        to[0] = d_cig - d_cig * i;
        to[1] = d_cfc - d_cfc * f;
        to[2] = d_ci - d_cig * g;
        to[3] = d_hh - d_hh * o;
        grad_c[u] = d_cf;
        __builtin_prefetch(h_before + u * VW + ahead);
        ISA(store_some)(inputs + u * VW, step ? ISA(load_some)(h_before + u * VW, lanes) : (vec){}, lanes);
        saved += 5;
    }
}

static void ISA(backward_tile)(int64_t rows, const struct job *job, const struct ISA(sizes) *s, int64_t which,
                               int64_t first, const struct ISA(backward_scratch) *w)
{
    const int64_t I = job->input, T = job->steps, Hp = s->padded;
    const int64_t direction = which & 1, gene = (which >> 1) * job->batch + first;
    const float *save = job->saved + (which * T * job->batch + first) * 5 * Hp;
    float *grad_x = job->grad_x ? job->grad_x + (direction * job->n_sequences * job->batch + gene) * T * I : NULL;
    int64_t slot = 0;
    memset(w->grad_h, 0, sizeof(float) * PROJECTED * Hp);
    memset(w->grad_c, 0, sizeof(float) * PROJECTED * Hp);
    for (int64_t step = T - 1; step >= 0; step--) {
        const int64_t t = direction ? T - 1 - step : step;
        for (int64_t r = 0; r < rows; r++) ISA(backward_row)(job, s, which, gene, r, step, save, slot, w);
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
            if (job->grad_bias_hh) job->grad_bias_hh[row] = from[I * GATES];
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

/* to[t] = product of `vector` and row t, of `features` each. */
static void ISA(dots)(const float *vector, const float *rows, int64_t steps, int64_t features, float *to)
{
    int64_t t = 0;
    for (; t + 4 <= steps; t += 4, rows += 4 * features) {
        vec sums[4] = {};
        for (int64_t k = 0; k < features; k += VW)
            UNROLL for (int r = 0; r < 4; r++)
                sums[r] += ISA(load_some)(vector + k, features - k) * ISA(load_some)(rows + r * features + k, features - k);
        UNROLL for (int r = 0; r < 4; r++) to[t + r] = SUM(sums[r]);
    }
    for (; t < steps; t++, rows += features) {
        vec sum = {};
        for (int64_t k = 0; k < features; k += VW)
            sum += ISA(load_some)(vector + k, features - k) * ISA(load_some)(rows + k, features - k);
        to[t] = SUM(sum);
    }
}

/* to += sum over t of weights[t] * row t, for up to four vectors of each row at a time. */
static void ISA(add_weighted)(const float *weights, const float *rows, int64_t steps, int64_t features, float *to)
{
    int64_t k = 0;
    for (; k + 4 * VW <= features; k += 4 * VW) {
        vec even[4], odd[4] = {}; /* two chains of additions take half as long as one */
        UNROLL for (int v = 0; v < 4; v++) even[v] = *(const uvec *)(to + k + v * VW);
        const float *row = rows + k;
        int64_t t = 0;
        for (; t + 2 <= steps; t += 2, row += 2 * features)
            UNROLL for (int v = 0; v < 4; v++) {
                even[v] += weights[t] * *(const uvec *)(row + v * VW);
                odd[v] += weights[t + 1] * *(const uvec *)(row + features + v * VW);
            }
        if (t < steps) UNROLL for (int v = 0; v < 4; v++) even[v] += weights[t] * *(const uvec *)(row + v * VW);
        UNROLL for (int v = 0; v < 4; v++) *(uvec *)(to + k + v * VW) = even[v] + odd[v];
    }
    for (; k < features; k += VW) {
        vec sum = ISA(load_some)(to + k, features - k);
        for (int64_t t = 0; t < steps; t++) sum += weights[t] * ISA(load_some)(rows + t * features + k, features - k);
        ISA(store_some)(to + k, sum, features - k);
    }
}

/* Scores to their softmax, in place. */
static void ISA(softmax)(float *scores, int64_t steps)
{
    float highest = -INFINITY, total = 0;
    for (int64_t t = 0; t < steps; t++)
        if (!(scores[t] <= highest)) highest = scores[t]; /* NaN stays */
    for (int64_t t = 0; t < steps; t += VW) {
        const vec e = ISA(exp2)((ISA(load_some)(scores + t, steps - t) - highest) * -MINUS_LOG2_E);
        ISA(store_some)(scores + t, e, steps - t);
    }
    for (int64_t t = 0; t < steps; t++) total += scores[t];
    for (int64_t t = 0; t < steps; t++) scores[t] /= total;
}

/* Alpha and embedding of genes first .. first + count - 1 of a sequence. */
static void ISA(attend)(const struct job *job, int64_t sequence, int64_t first, int64_t count)
{
    const int64_t T = job->steps, features = 2 * job->hidden;
    for (int64_t gene = sequence * job->batch + first, end = gene + count; gene < end; gene++) {
        const float *states = job->hidden_states + gene * T * features;
        float *alpha = job->alpha + gene * T, *embedding = job->embedding + gene * features;
        ISA(dots)(job->context + sequence * features, states, T, features, alpha);
        ISA(softmax)(alpha, T);
        memset(embedding, 0, sizeof(float) * features);
        ISA(add_weighted)(alpha, states, T, features, embedding);
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
        ISA(dots)(job->grad_embedding + gene * features, states, T, features, score);
        if (job->grad_alpha)
            for (int64_t t = 0; t < T; t++) score[t] += job->grad_alpha[gene * T + t];
        for (int64_t t = 0; t < T; t++) mean += alpha[t] * score[t];
        for (int64_t t = 0; t < T; t++) score[t] = alpha[t] * (score[t] - mean);
        ISA(add_weighted)(score, states, T, features, grad_context);
    }
}

static const struct isa ISA(table) = {
    ISA_NAME, ISA(saved_size), ISA(forward_scratch), ISA(forward), ISA(backward_scratch), ISA(backward),
    ISA(attend), ISA(attend_backward), ISA(dots), ISA(add_weighted),
    ISA(sum_squares), ISA(adam),
};

#undef vec
#undef uvec
#undef GATES
#undef RECIPROCAL
#undef FRACTION
#undef TIMES_POWER
#undef PROJECTED
#undef ADD_PRODUCTS
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
