/* Portable kernels: the definitions, in plain integers. They also finish what a SIMD kernel leaves. */
#ifndef LOWBITC_PATH_GENERIC_H
#define LOWBITC_PATH_GENERIC_H

#include "path.h"

static void generic_gemm16(int32_t *c, const int16_t *a, ptrdiff_t lda, const int16_t *w, int pairs, int rows,
                           int nr) {
    for (int r = 0; r < rows; r++) {
        int32_t sum[TILE_N] = {0};
        for (int k = 0; k < pairs; k++) {
            const int16_t *row = w + (ptrdiff_t)k * 2 * nr;
            const int32_t a0 = a[r * lda + 2 * k], a1 = a[r * lda + 2 * k + 1];
            for (int j = 0; j < nr; j++) sum[j] += a0 * row[2 * j] + a1 * row[2 * j + 1];
        }
        memcpy(c + r * TILE_N, sum, (size_t)nr * sizeof *c);
    }
}

static void generic_gemm8(int32_t *c, const uint8_t *a, ptrdiff_t lda, const int8_t *w, const int32_t *init,
                          int quads, int chunk, int rows, int nr) {
    (void)chunk;
    for (int r = 0; r < rows; r++) {
        int32_t sum[TILE_N];
        memcpy(sum, init, sizeof sum);
        for (int k = 0; k < quads; k++) {
            const int8_t *row = w + (ptrdiff_t)k * 4 * nr;
            const uint8_t *p = a + r * lda + 4 * k;
            for (int j = 0; j < nr; j++)
                for (int i = 0; i < 4; i++) sum[j] += p[i] * row[4 * j + i];
        }
        memcpy(c + r * TILE_N, sum, (size_t)nr * sizeof *c);
    }
}

static inline uint8_t stage_one(const Stage *s, int form, int channel, int32_t acc) {
    int level;
    if (form == FORM_COUNT) {
        level = s->lowest;
        for (int t = 0; t < s->count; t++) level += acc > s->below[t * s->stride + channel];
    } else {
        if (acc < s->acc_lo[channel]) acc = s->acc_lo[channel];
        if (acc > s->acc_hi[channel]) acc = s->acc_hi[channel];
        /* `round` holds half a level minus `base` levels, so the sum is never negative. */
        const int64_t product = ((int64_t)acc + s->bias[channel]) * s->mult[channel] + s->round[channel];
        level = (int)((uint64_t)product >> s->shift[channel]) + s->base[channel];
        level = imax(level, s->is_signed ? (int8_t)s->low[channel] : s->low[channel]);
        level = imin(level, s->is_signed ? (int8_t)s->high[channel] : s->high[channel]);
    }
    return (uint8_t)level;
}

/* Integer forms only: float forms fall back to the form that defines them. */
static void generic_stage(const Stage *s, int form, int channel, int n, const int32_t *acc, int rows, uint8_t *out,
                          ptrdiff_t ldo) {
    if (form <= FORM_CHECKED) form = s->count ? FORM_COUNT : FORM_EXACT;
    for (int r = 0; r < rows; r++)
        for (int j = 0; j < n; j++) out[r * ldo + j] = stage_one(s, form, channel + j, acc[r * TILE_N + j]);
}

static int generic_levels16(const Stage *s, int form, int channel, uint8_t *out, ptrdiff_t ldo, const int16_t *a, ptrdiff_t lda,
                            const int16_t *w, int pairs, int rows) {
    (void)s, (void)form, (void)channel, (void)out, (void)ldo, (void)a, (void)lda, (void)w, (void)pairs, (void)rows;
    return 0;
}

static int generic_levels8(const Stage *s, int form, int channel, uint8_t *out, ptrdiff_t ldo, const uint8_t *a, ptrdiff_t lda,
                           const int8_t *w, const int32_t *init, int quads, int rows) {
    (void)s, (void)form, (void)channel, (void)out, (void)ldo, (void)a, (void)lda, (void)w, (void)init, (void)quads, (void)rows;
    return 0;
}

static void generic_add(const Add *op, uint8_t *out, ptrdiff_t ldo, const uint8_t *other, ptrdiff_t ldb, int rows,
                        size_t n) {
    for (int r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i++) out[r * ldo + i] = op->pairs[(size_t)out[r * ldo + i] << 8 | other[r * ldb + i]];
}

static void generic_widen(int16_t *out, ptrdiff_t ldo, const uint8_t *in, ptrdiff_t ldi, int rows, int n,
                          int is_signed) {
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < n; i++) out[r * ldo + i] = is_signed ? (int8_t)in[r * ldi + i] : in[r * ldi + i];
}

static void generic_flip(uint8_t *out, ptrdiff_t ldo, const uint8_t *in, ptrdiff_t ldi, int rows, int n, uint8_t mask) {
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < n; i++) out[r * ldo + i] = in[r * ldi + i] ^ mask;
}

static void generic_pair(int16_t *out, const int16_t *in, ptrdiff_t apart, int step, int n) {
    for (int i = 0; i < n; i++, in += step * TILE_N, out += 2 * TILE_N)
        for (int j = 0; j < TILE_N; j++) {
            out[2 * pair_lane(j)] = in[j];
            out[2 * pair_lane(j) + 1] = in[apart * TILE_N + j];
        }
}

static void generic_depthwise(const Depthwise *d, const int16_t *lines, ptrdiff_t step, int rows, int32_t *acc) {
    for (int r = 0; r < rows; r++) {
        int32_t sum[TILE_N] = {0};
        for (int t = 0; t < d->steps; t++) {
            const int16_t *p = lines + r * step + d->offsets[t];
            const int16_t *w = d->weights + t * (d->narrow ? TILE_N : 2 * TILE_N);
            for (int j = 0; j < TILE_N; j++) {
                const int i = 2 * pair_lane(j);
                sum[j] += d->narrow ? p[j] * w[j] : p[i] * w[i] + p[i + 1] * w[i + 1];
            }
        }
        memcpy(acc + r * TILE_N, sum, sizeof sum);
    }
}

static int generic_depthwise_levels(const Depthwise *d, const Stage *s, int form, int channel, const int16_t *lines,
                                    ptrdiff_t step, int rows, uint8_t *out, ptrdiff_t ldo) {
    (void)d, (void)s, (void)form, (void)channel, (void)lines, (void)step, (void)rows, (void)out, (void)ldo;
    return 0;
}

static void generic_maximum(uint8_t *out, const uint8_t *in, size_t n, int is_signed) {
    const uint8_t flip = is_signed ? 0x80 : 0;
    for (size_t i = 0; i < n; i++)
        if ((in[i] ^ flip) > (out[i] ^ flip)) out[i] = in[i];
}

static void generic_sum(int32_t *out, const uint8_t *in, size_t n, int is_signed) {
    for (size_t i = 0; i < n; i++) out[i] += is_signed ? (int8_t)in[i] : in[i];
}

static void generic_quantize(uint8_t *out, const float *in, size_t n, float scale, int lo, int hi) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to whole numbers, half to even */
    for (size_t i = 0; i < n; i++) {
        const float exact = in[i] / scale;
        const float level = exact > (float)lo ? (exact < (float)hi ? exact : (float)hi) : (float)lo;
        out[i] = (uint8_t)(int)(level + magic - magic);
    }
}

static void generic_lookup(uint8_t *data, size_t n, const uint8_t *table) {
    for (size_t i = 0; i < n; i++) data[i] = table[data[i]];
}

static uint64_t generic_nonzero(const uint8_t *in, size_t n) {
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++) count += in[i] != 0;
    return count;
}

static const Path generic_path = {
    .name = "generic", .mr = 6, .fast = 0,
    .gemm16 = generic_gemm16, .gemm8 = generic_gemm8, .stage = generic_stage, .add = generic_add,
    .levels16 = generic_levels16, .levels8 = generic_levels8, .widen = generic_widen, .flip = generic_flip,
    .pair = generic_pair, .depthwise = generic_depthwise, .depthwise_levels = generic_depthwise_levels,
    .maximum = generic_maximum,
    .sum = generic_sum, .quantize = generic_quantize, .lookup = generic_lookup, .nonzero = generic_nonzero, .wino_in = {NULL, NULL, NULL},
    .wino_out = {NULL, NULL, NULL},
};

#endif
