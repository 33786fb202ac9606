/* The compiled plan: values in an arena, and operators over them. */
#ifndef LOWBITC_PLAN_H
#define LOWBITC_PLAN_H

#include "path.h"
#include "pool.h"

enum { OP_ENTER, OP_LEAVE, OP_CONV, OP_MAXPOOL, OP_SUMPOOL, OP_ADD, OP_COPY, OP_COUNT };
enum { ALGO_GEMM16, ALGO_GEMM8, ALGO_DEPTHWISE, ALGO_WINO2, ALGO_WINO4, ALGO_WINO_STRIDED, ALGO_STRASSEN };

/* One image of a value is [h][w][c] elements of `element` bytes; image b of it starts at
 * offset * batch + b * bytes. */
typedef struct {
    int c, h, w, element, is_signed;
    ptrdiff_t bytes, offset;
} Value;

/* A window over an image, as convolutions and pools have it. */
typedef struct {
    int kh, kw, sh, sw, top, left, dh, dw;
} Window;

typedef struct {
    int kind, in, other, out;   /* value ids; `other` is an Add's second input, or -1 */
    int port;                   /* index of the caller's array (enter, leave, count) */
    int lo, hi;                 /* enter: levels; 4-byte input is float32, in units of scale */
    int is_float;
    float scale;
    Window win;
    int groups, algo, panels;   /* panels in a group */
    int chunk;                  /* ALGO_GEMM8: see Path; ALGO_STRASSEN: the rows from which it pays */
    int depth;                  /* K: products in one accumulator */
    ptrdiff_t panel_bytes;
    void *weights;
    int16_t *mixed;             /* ALGO_STRASSEN: T1, T2, T3 and -T4 of each pair of panels */
    int32_t *init;              /* [groups * panels][TILE_N], starts of ALGO_GEMM8 */
    uint8_t *panel_form;
    Depthwise taps;
    const int32_t *factors;     /* sum pool: by output pixel, or NULL */
    Stage stage;
    Add add;
    /* copy: out[y][x][to + i] = table[in[(y0 + y * ys) / yd][(x0 + x * xs) / xd][from + i]], i < n;
     * count: channels from to from + n */
    int n, from, to, y0, ys, yd, x0, xs, xd;
    const uint8_t *table;
    void *owned[24];
    int n_owned;
} Op;

typedef struct {
    const Path *path;
    Value *values;
    Op *ops;
    int n_values, n_ops, n_inputs, n_outputs, n_counts;
    ptrdiff_t arena_per_image, scratch_bytes;
    uint8_t *arena, *scratch, *zeros;
    ptrdiff_t arena_capacity;
    int scratch_threads;
    pthread_mutex_t lock;
} Plan;

/* What one operator needs while it runs. */
typedef struct {
    const Plan *plan;
    const Op *op;
    int batch, threads;
    int tasks, block, blocks;   /* lines or pixels in a block; blocks of matrix products */
    int step, split;            /* rows of a tile; parts a block's channels are split into */
    const uint8_t *source;
    uint8_t *target;
} Job;

static inline uint8_t *value_data(const Job *j, int v) {
    return j->plan->arena + j->plan->values[v].offset * j->batch;
}
static inline const Value *value_of(const Job *j, int v) { return &j->plan->values[v]; }
static inline uint8_t *thread_scratch(const Job *j, int thread) {
    return j->plan->scratch + thread * j->plan->scratch_bytes;
}

/* Output channels of a panel: where they start, how many are real, and how wide the packed panel is. */
typedef struct {
    int group, channel, n, nr;
} Panel;

static inline Panel panel_of(const Op *op, int index, int out_channels) {
    const int per_group = out_channels / op->groups;
    const int start = index % op->panels * TILE_N;
    const int n = imin(TILE_N, per_group - start);
    const int group = index / op->panels;
    return (Panel){group, group * per_group + start, n, n <= TILE_N / 2 ? TILE_N / 2 : TILE_N};
}

/* Range [first, last) of part `i` of `parts` equal parts of n. */
static inline int part_start(int n, int parts, int i) { return (int)((int64_t)n * i / parts); }

#endif
