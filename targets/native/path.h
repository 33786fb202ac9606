/* What an instruction-set path provides, and the records its kernels read.
 *
 * A path is a table of functions. All paths give the same integers; they differ in speed only.
 * Activations are bytes, NHWC. Accumulators are int32, in tiles of up to `rows` pixels by 16
 * channels with a row stride of TILE_N.
 */
#ifndef LOWBITC_PATH_H
#define LOWBITC_PATH_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { TILE_N = 16, MAX_ROWS = 12, SLACK = 256, MAX_TAPS = 1024 };

/* How a channel's accumulator becomes a level. Larger is slower; a panel takes its largest. */
enum { FORM_FLOAT, FORM_CHECKED, FORM_EXACT, FORM_COUNT };

/* Output stage. Every per-channel array is padded by TILE_N entries. */
typedef struct {
    int is_signed, raw, count, lowest;
    const uint8_t *low, *high;                /* each channel's range of levels */
    const float *scale, *offset;              /* FORM_FLOAT: rne(acc * scale + offset) */
    const float *limit;                       /* FORM_CHECKED: the same, exact unless it was rounded by more */
    const int64_t *mult, *round, *shift;      /* FORM_EXACT: (((acc + bias) * mult + round) >> shift) + base */
    const int32_t *bias, *base;               /*             of acc clamped to [acc_lo, acc_hi] */
    const int32_t *acc_lo, *acc_hi;
    const int32_t *below;                     /* FORM_COUNT: lowest + number of [count][stride] below acc */
    ptrdiff_t stride;
    const uint8_t *form;                      /* per channel */
    const uint8_t *table;                     /* 256 entries, indexed by the level's byte, or NULL */
} Stage;

enum { ADD_INT16 = 0, ADD_FLOAT = 1, ADD_TABLE = 2 };

/* Residual Add of two byte streams; each form was proved on all 65,536 pairs. */
typedef struct {
    int form, lo, hi, a_signed, b_signed, out_signed;
    int32_t ma, mb, round, shift;             /* ADD_INT16: (a * ma + b * mb + round) >> shift */
    float fa, fb, offset;                     /* ADD_FLOAT: rne(a * fa + b * fb + offset) */
    const uint8_t *pairs;                     /* [a byte][b byte]: always there */
    const uint8_t *table;
} Add;

/* A depthwise tile: `steps` offsets into padded lines of 16 channels. Lines hold a tap a pixel when
 * narrow (int16 sums are proved to fit), else each pixel with the one a tap to its right. */
typedef struct {
    const int16_t *weights;                   /* [steps][32] pairs, or [steps][16] when narrow */
    const int32_t *offsets;                   /* elements from the first tap */
    int steps, narrow;
} Depthwise;

/* Where channel j of a pair of pixels lies: the order that unpacklo and unpackhi leave. */
static inline int pair_lane(int j) { return (j & 3) | (j & 4) << 1 | (j & 8) >> 1; }

typedef struct {
    const char *name;
    int mr;      /* rows of a GEMM tile */
    int fast;    /* whether FORM_FLOAT, Winograd and the packed int8 GEMM are worth it */
    /* c[rows][TILE_N] = a[rows][2 * pairs] . w[pairs][nr][2], nr is 8 or 16 */
    void (*gemm16)(int32_t *c, const int16_t *a, ptrdiff_t lda, const int16_t *w, int pairs, int rows, int nr);
    /* c[rows][TILE_N] = init[nr] + a[rows][4 * quads] . w[quads][nr][4]; int16 sums of `chunk` quads are safe */
    void (*gemm8)(int32_t *c, const uint8_t *a, ptrdiff_t lda, const int8_t *w, const int32_t *init, int quads,
                  int chunk, int rows, int nr);
    void (*stage)(const Stage *s, int form, int channel, int n, const int32_t *acc, int rows, uint8_t *out,
                  ptrdiff_t ldo);
    /* gemm16 (or gemm8 of one chunk) and a float form in one go, for 16 channels and whole tiles of rows; returns
     * the rows done */
    int (*levels16)(const Stage *s, int form, int channel, uint8_t *out, ptrdiff_t ldo, const int16_t *a, ptrdiff_t lda,
                    const int16_t *w, int pairs, int rows);
    int (*levels8)(const Stage *s, int form, int channel, uint8_t *out, ptrdiff_t ldo, const uint8_t *a, ptrdiff_t lda,
                   const int8_t *w, const int32_t *init, int quads, int rows);
    /* The levels of two panels, 2 * TILE_N channels, by Strassen's algorithm, for whole tiles of 2 * mr rows; returns the
     * rows done. `mixed` is what `mix` makes of rows `a`, and `mixed_w` what pack.h makes of weights `w`. */
    int (*strassen)(const Stage *s, int form, int channel, uint8_t *out, ptrdiff_t ldo, const int16_t *a,
                    const int16_t *mixed, ptrdiff_t lda, const int16_t *w, const int16_t *mixed_w, int depth, int rows);
    void (*mix)(int16_t *mixed, const int16_t *a, ptrdiff_t lda, int depth, int rows);
    /* out[r][i] = add(out[r][i], other[r][i]), r < rows, i < n */
    void (*add)(const Add *op, uint8_t *out, ptrdiff_t ldo, const uint8_t *other, ptrdiff_t ldb, int rows, size_t n);
    /* Rows of int16 from rows of bytes, in order; up to 15 entries too many are read and written */
    void (*widen)(int16_t *out, ptrdiff_t ldo, const uint8_t *in, ptrdiff_t ldi, int rows, int n, int is_signed);
    /* Rows of in ^ mask, with the same overrun */
    void (*flip)(uint8_t *out, ptrdiff_t ldo, const uint8_t *in, ptrdiff_t ldi, int rows, int n, uint8_t mask);
    /* out[i][pair_lane(j)] = in[i * step][j], in[i * step + apart][j], i < n, of lines of 16 channels */
    void (*pair)(int16_t *out, const int16_t *in, ptrdiff_t apart, int step, int n);
    void (*depthwise)(const Depthwise *d, const int16_t *lines, ptrdiff_t step, int rows, int32_t *acc);
    /* depthwise and a float form in one go; returns the rows done: all, or 0 where this path cannot */
    int (*depthwise_levels)(const Depthwise *d, const Stage *s, int form, int channel, const int16_t *lines,
                            ptrdiff_t step, int rows, uint8_t *out, ptrdiff_t ldo);
    void (*maximum)(uint8_t *out, const uint8_t *in, size_t n, int is_signed);
    void (*sum)(int32_t *out, const uint8_t *in, size_t n, int is_signed);
    /* out = clamp(rne(in / scale), lo, hi), divided in float32 */
    void (*quantize)(uint8_t *out, const float *in, size_t n, float scale, int lo, int hi);
    void (*lookup)(uint8_t *data, size_t n, const uint8_t *table);
    uint64_t (*nonzero)(const uint8_t *in, size_t n);
    /* Winograd F(m x m, 3 x 3), m = 2, 4, and 2 at stride 2; NULL where direct convolution is used */
    void (*wino_in[3])(int16_t *v, ptrdiff_t position, const uint8_t *const *pixels, int channels, int is_signed);
    void (*wino_out[3])(const int32_t *m, ptrdiff_t position, int32_t *y);
} Path;

static inline int imin(int a, int b) { return a < b ? a : b; }
static inline int imax(int a, int b) { return a > b ? a : b; }
static inline ptrdiff_t round_up(ptrdiff_t n, ptrdiff_t to) { return (n + to - 1) / to * to; }

#endif
