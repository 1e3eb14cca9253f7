/* Decode one inflated data block of a bigWig and add its signal to bins of windows and stretches of the genome.
 *
 * Every number of the block is checked before it is used: the block may come from a damaged or hostile file.
 * Layout of a block: Kent et al. 2010, supplement, tables 13 to 15.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "numbers of a bigWig are read as they stand"
#endif
#define EXPORT __attribute__((visibility("default")))

/* Raised, here and in blocks.py, whenever the arguments of bin_block change. */
EXPORT int binning_interface(void) { return 2; }

enum { OK, TOO_SHORT, UNKNOWN_TYPE, NOT_SORTED, INFINITE_VALUE };
enum { BEDGRAPH = 1, VARIABLE_STEP = 2, FIXED_STEP = 3, HEADER_SIZE = 24 };

static uint32_t u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* Windows of equal width on one chromosome, sorted by start. */
struct windows {
    int64_t n, n_bins, bin_size;
    const int64_t *start;
    double *sums;     /* [n][n_bins] */
    int64_t *covered; /* [n] */
};

/* Add a value over [start, end) to the bins of every window that meets it; windows before `first` end earlier. */
static void add(const struct windows *w, int64_t first, int64_t start, int64_t end, double value)
{
    int64_t width = w->n_bins * w->bin_size;
    for (int64_t i = first; i < w->n && w->start[i] < end; i++) {
        int64_t origin = w->start[i];
        int64_t low = start > origin ? start : origin;
        int64_t high = end < origin + width ? end : origin + width;
        int64_t bin = (int64_t)((uint32_t)(low - origin) / (uint32_t)w->bin_size);
        int64_t edge = origin + (bin + 1) * w->bin_size;
        double *sums = w->sums + i * w->n_bins;
        w->covered[i] += high - low;
        for (; edge < high; edge += w->bin_size, bin++) {
            sums[bin] += value * (double)(edge - low);
            low = edge;
        }
        sums[bin] += value * (double)(high - low);
    }
}

/* Stretches of one chromosome between cuts, which are sorted and counted in parts of a base. */
struct segments {
    int64_t n, parts; /* n cuts */
    const int64_t *cut;
    double *sums;     /* [n]; the last is not used */
    int64_t *covered; /* [n] */
};

/* Add a value over [start, end) to the stretches that meet it; those before `at` end earlier.
 *
 * Returns the first that a later interval can meet. */
static int64_t spread(const struct segments *s, int64_t at, int64_t start, int64_t end, double value)
{
    start *= s->parts;
    end *= s->parts;
    while (at + 1 < s->n && s->cut[at + 1] <= start)
        at++;
    for (int64_t i = at; i + 1 < s->n && s->cut[i] < end; i++) {
        int64_t low = start > s->cut[i] ? start : s->cut[i];
        int64_t high = end < s->cut[i + 1] ? end : s->cut[i + 1];
        s->sums[i] += value * (double)(high - low);
        s->covered[i] += high - low;
    }
    return at;
}

/* First window that ends after `position`. */
static int64_t first_window(const struct windows *w, int64_t position)
{
    int64_t low = 0, high = w->n, width = w->n_bins * w->bin_size;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (w->start[middle] + width > position)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Returns OK and the end of the last interval in `*position`, or what is wrong and where.
 *
 * `previous_end` is where the block before ended: intervals are sorted across blocks too. A window is
 * narrower than 2^31 bases. `*segment` is the first stretch that this block can meet, and is moved on.
 */
EXPORT int bin_block(
    const uint8_t *block, int64_t size, int64_t chrom_size, int64_t previous_end, int64_t n_windows,
    int64_t n_bins, int64_t bin_size, const int64_t *window_start, double *sums, int64_t *covered,
    int64_t n_cuts, int64_t parts, const int64_t *cut, double *cut_sums, int64_t *cut_covered,
    int64_t *segment, int64_t *position)
{
    struct windows w = {n_windows, n_bins, bin_size, window_start, sums, covered};
    struct segments s = {n_cuts, parts, cut, cut_sums, cut_covered};
    if (size < HEADER_SIZE)
        return TOO_SHORT;
    int type = block[20];
    int64_t count = block[22] | block[23] << 8;
    int64_t item = type == BEDGRAPH ? 12 : type == VARIABLE_STEP ? 8 : 4;
    if (type < BEDGRAPH || type > FIXED_STEP)
        return UNKNOWN_TYPE;
    if (size < HEADER_SIZE + count * item)
        return TOO_SHORT;
    int64_t origin = u32(block + 4), step = u32(block + 12), span = u32(block + 16), first = -1;
    int64_t width = n_bins * bin_size;
    const uint8_t *at = block + HEADER_SIZE;
    for (int64_t i = 0; i < count; i++, at += item) {
        int64_t start = type == FIXED_STEP ? origin + i * step : (int64_t)u32(at);
        int64_t end = type == BEDGRAPH ? (int64_t)u32(at + 4) : start + span;
        float value;
        memcpy(&value, at + item - 4, sizeof value);
        if (end < start || start < previous_end) {
            *position = start;
            return NOT_SORTED;
        }
        previous_end = end;
        if (isinf(value)) {
            *position = start;
            return INFINITE_VALUE;
        }
        if (isnan(value))
            continue;
        if (end > chrom_size)
            end = chrom_size;
        if (first < 0)
            first = first_window(&w, start);
        while (first < n_windows && window_start[first] + width <= start)
            first++;
        if (first < n_windows && start < end)
            add(&w, first, start, end, value);
        if (n_cuts && start < end)
            *segment = spread(&s, *segment, start, end, value);
    }
    *position = previous_end;
    return OK;
}
