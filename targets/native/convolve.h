/* Convolution and dense layers: packing, then tiles of products, then the output stage. */
#ifndef LOWBITC_CONVOLVE_H
#define LOWBITC_CONVOLVE_H

#include "plan.h"

enum { BLOCK_BYTES = 192 * 1024, LINE_BYTES = 64 * 1024, WINO_BYTES = 256 * 1024 };

static inline int wino_size(const Op *op) { return op->algo == ALGO_WINO4 ? 4 : 2; }

/* Row stride of a packed block, in elements; the odd padding keeps rows off one cache set. */
static inline ptrdiff_t packed_stride(const Op *op) {
    return op->algo == ALGO_GEMM16 ? round_up(op->depth, 16) + 16 : round_up(op->depth, 32) + 32;
}

/* Turn accumulators [rows][TILE_N] of one panel into bytes (or int32) of the output. */
static void finish_tile(const Job *j, Panel p, int panel, const int32_t *acc, int rows, ptrdiff_t pixel) {
    const Op *op = j->op;
    const Path *k = j->plan->path;
    const ptrdiff_t ldo = value_of(j, op->out)->c;
    if (op->stage.raw) {
        int32_t *out = (int32_t *)(void *)value_data(j, op->out) + pixel * ldo + p.channel;
        for (int r = 0; r < rows; r++) memcpy(out + r * ldo, acc + r * TILE_N, (size_t)p.n * sizeof *out);
        return;
    }
    uint8_t *out = value_data(j, op->out) + pixel * ldo + p.channel;
    k->stage(&op->stage, op->panel_form[panel], p.channel, p.n, acc, rows, out, ldo);
    if (op->stage.table)
        for (int r = 0; r < rows; r++) k->lookup(out + r * ldo, (size_t)p.n, op->stage.table);
    if (op->other >= 0) {
        const uint8_t *other = value_data(j, op->other) + pixel * ldo + p.channel;
        for (int r = 0; r < rows; r++) {
            k->add(&op->add, out + r * ldo, other + r * ldo, out + r * ldo, (size_t)p.n);
            if (op->add.table) k->lookup(out + r * ldo, (size_t)p.n, op->add.table);
        }
    }
}

/* --- matrix products over packed rows ----------------------------------------------------- */

/* Copy `n` bytes of input to a packed row, widened to int16 or with the sign bit flipped. */
static inline void pack_run(const Job *j, void *row, ptrdiff_t at, const uint8_t *in, int n, int is_signed) {
    if (j->op->algo == ALGO_GEMM16) j->plan->path->expand((int16_t *)row + at, in, (size_t)n, is_signed);
    else j->plan->path->flip((uint8_t *)row + at, in, (size_t)n, is_signed ? 0x80 : 0);
}

static inline void pack_zeros(const Job *j, void *row, ptrdiff_t at, int n, int is_signed) {
    if (j->op->algo == ALGO_GEMM16) memset((int16_t *)row + at, 0, (size_t)n * sizeof(int16_t));
    else memset((uint8_t *)row + at, is_signed ? 0x80 : 0, (size_t)n);
}

/* Gather the receptive fields of output pixels [first, last), one a row, taps in order y, x, channel. */
static void pack_block(const Job *j, uint8_t *block, int group, int first, int last) {
    const Op *op = j->op;
    const Value *in = value_of(j, op->in), *out = value_of(j, op->out);
    const Window *win = &op->win;
    const int channels = in->c / op->groups, skip = group * channels, is_signed = in->is_signed;
    const ptrdiff_t stride = packed_stride(op) * (op->algo == ALGO_GEMM16 ? 2 : 1);
    const int whole = op->groups == 1 && win->dw == 1; /* a kernel row is one run of bytes */
    for (int r = first; r < last; r++, block += stride) {
        const int image = r / (out->h * out->w), pixel = r % (out->h * out->w);
        const int y0 = pixel / out->w * win->sh - win->top, x0 = pixel % out->w * win->sw - win->left;
        const uint8_t *data = value_data(j, op->in) + image * in->bytes + skip;
        ptrdiff_t at = 0;
        for (int ky = 0; ky < win->kh; ky++) {
            const int y = y0 + ky * win->dh;
            if (y < 0 || y >= in->h) {
                pack_zeros(j, block, at, win->kw * channels, is_signed);
                at += win->kw * channels;
            } else if (whole) {
                const int from = imin(imax(0, -x0), win->kw), to = imax(from, imin(win->kw, in->w - x0));
                pack_zeros(j, block, at, from * channels, is_signed);
                at += from * channels;
                if (to > from) {
                    const uint8_t *run = data + ((ptrdiff_t)y * in->w + x0 + from) * in->c;
                    pack_run(j, block, at, run, (to - from) * channels, is_signed);
                }
                at += (to - from) * channels;
                pack_zeros(j, block, at, (win->kw - to) * channels, is_signed);
                at += (win->kw - to) * channels;
            } else {
                for (int kx = 0; kx < win->kw; kx++, at += channels) {
                    const int x = x0 + kx * win->dw;
                    if (x < 0 || x >= in->w) pack_zeros(j, block, at, channels, is_signed);
                    else pack_run(j, block, at, data + ((ptrdiff_t)y * in->w + x) * in->c, channels, is_signed);
                }
            }
        }
    }
}

/* Whether rows can be read from the input as they are. */
static int reads_in_place(const Plan *plan, const Op *op) {
    const Window *w = &op->win;
    const Value *in = &plan->values[op->in];
    return op->algo == ALGO_GEMM8 && !in->is_signed && op->groups == 1 && w->kh * w->kw == 1 && w->sh == 1 &&
           w->sw == 1 && w->top == 0 && w->left == 0 && plan->values[op->out].h == in->h &&
           plan->values[op->out].w == in->w;
}

static void gemm_task(void *context, int task, int thread) {
    const Job *j = context;
    const Op *op = j->op;
    const Path *k = j->plan->path;
    const Value *out = value_of(j, op->out);
    const int rows = j->batch * out->h * out->w, panels = op->groups * op->panels;
    const int first = task / j->split * j->block, last = imin(first + j->block, rows);
    const int end = part_start(panels, j->split, task % j->split + 1);
    const int in_place = reads_in_place(j->plan, op);
    const ptrdiff_t element = op->algo == ALGO_GEMM16 ? 2 : 1;
    const ptrdiff_t stride = in_place ? value_of(j, op->in)->c : packed_stride(op);
    int32_t *acc = (int32_t *)(void *)thread_scratch(j, thread);
    uint8_t *packed = thread_scratch(j, thread) + (MAX_ROWS + 2) * TILE_N * sizeof *acc;
    const uint8_t *block = in_place ? value_data(j, op->in) + first * stride : packed;
    int group = -1;
    for (int q = part_start(panels, j->split, task % j->split); q < end; q++) {
        const Panel p = panel_of(op, q, out->c);
        const void *weights = (const char *)op->weights + q * op->panel_bytes;
        if (p.group != group && !in_place) pack_block(j, packed, p.group, first, last);
        group = p.group;
        for (int r = first; r < last; r += k->mr) {
            const int n = imin(k->mr, last - r);
            const void *a = block + (r - first) * stride * element;
            if (op->algo == ALGO_GEMM16) k->gemm16(acc, a, stride, weights, (op->depth + 1) / 2, n, p.nr);
            else
                k->gemm8(acc, a, stride, weights, op->init + q * TILE_N, (op->depth + 3) / 4, op->chunk, n, p.nr);
            finish_tile(j, p, q, acc, n, r);
        }
    }
}

/* Rows of a block: at most BLOCK_BYTES packed, a multiple of the tile's rows. */
static int gemm_block_limit(const Plan *plan, const Op *op) {
    const ptrdiff_t bytes = packed_stride(op) * (op->algo == ALGO_GEMM16 ? 2 : 1);
    const int rows = (int)(BLOCK_BYTES / bytes);
    return imax(1, imin(96, rows) / plan->path->mr) * plan->path->mr;
}

/* Choose block and split so that the tasks are about equal and enough for the threads. */
static void balance(Job *j, int units, int limit, int step, int parts) {
    int blocks = (units + limit - 1) / limit;
    const int wanted = j->threads > 1 ? 4 * j->threads : 1;
    j->split = 1;
    if (blocks < wanted) {
        const int finer = imin(wanted, (units + 2 * step - 1) / (2 * step));
        if (finer > blocks) blocks = finer;
        j->split = imin(imax(1, parts / 2), (wanted + blocks - 1) / blocks);
    }
    if (j->threads > 1 && blocks > j->threads) blocks = (int)round_up(blocks, j->threads);
    j->block = (int)round_up((units + blocks - 1) / blocks, step);
    if (j->block > limit) j->block = limit;
    j->tasks = (units + j->block - 1) / j->block * j->split;
}

/* --- Winograd ----------------------------------------------------------------------------- */

static inline ptrdiff_t wino_stride(const Value *in) { return round_up(in->c, 16) + 16; }

static int wino_block_limit(const Plan *plan, const Op *op) {
    const int m = wino_size(op), positions = (m + 2) * (m + 2), mr = plan->path->mr;
    const int tiles = (int)(WINO_BYTES / (positions * wino_stride(&plan->values[op->in]) * 2));
    return imax(2, imin(48, tiles) / mr) * mr;
}

static void wino_gather(const Job *j, int16_t *v, int first, int last, int block) {
    const Op *op = j->op;
    const Value *in = value_of(j, op->in), *out = value_of(j, op->out);
    const int m = wino_size(op), t = m + 2, across = (out->w + m - 1) / m, down = (out->h + m - 1) / m;
    const ptrdiff_t stride = wino_stride(in);
    const int channels = (int)round_up(in->c, 16);
    const uint8_t *pixels[36];
    for (int i = first; i < last; i++) {
        const int image = i / (across * down), tile = i % (across * down);
        const int y0 = tile / across * m - op->win.top, x0 = tile % across * m - op->win.left;
        const uint8_t *data = value_data(j, op->in) + image * in->bytes;
        for (int y = 0; y < t; y++)
            for (int x = 0; x < t; x++) {
                const int inside = y0 + y >= 0 && y0 + y < in->h && x0 + x >= 0 && x0 + x < in->w;
                pixels[y * t + x] =
                    inside ? data + ((ptrdiff_t)(y0 + y) * in->w + x0 + x) * in->c : j->plan->zeros;
            }
        j->plan->path->wino_in[m / 4](v + (i - first) * stride, block * stride, pixels, channels, in->is_signed);
    }
}

static void wino_scatter(const Job *j, const int32_t *products, int32_t *y, Panel p, int panel, int first, int last,
                         int block) {
    const Op *op = j->op;
    const Value *out = value_of(j, op->out);
    const int m = wino_size(op), across = (out->w + m - 1) / m, down = (out->h + m - 1) / m;
    for (int i = first; i < last; i++) {
        const int image = i / (across * down), tile = i % (across * down);
        const int y0 = tile / across * m, x0 = tile % across * m;
        j->plan->path->wino_out[m / 4](products + (i - first) * TILE_N, block * TILE_N, y);
        for (int dy = 0; dy < imin(m, out->h - y0); dy++) {
            const ptrdiff_t pixel = ((ptrdiff_t)image * out->h + y0 + dy) * out->w + x0;
            finish_tile(j, p, panel, y + dy * m * TILE_N, imin(m, out->w - x0), pixel);
        }
    }
}

static void wino_task(void *context, int task, int thread) {
    const Job *j = context;
    const Op *op = j->op;
    const Path *k = j->plan->path;
    const Value *in = value_of(j, op->in), *out = value_of(j, op->out);
    const int m = wino_size(op), positions = (m + 2) * (m + 2);
    const int tiles = j->batch * ((out->h + m - 1) / m) * ((out->w + m - 1) / m);
    const int first = task / j->split * j->block, last = imin(first + j->block, tiles);
    const ptrdiff_t stride = wino_stride(in), block = j->block;
    const int pairs = (in->c + 1) / 2, end = part_start(op->panels, j->split, task % j->split + 1);
    int32_t *y = (int32_t *)(void *)thread_scratch(j, thread);
    int32_t *products = y + (16 + 2) * TILE_N;
    int16_t *v = (int16_t *)(void *)(products + (positions * block + 2) * TILE_N);
    wino_gather(j, v, first, last, (int)block);
    for (int q = part_start(op->panels, j->split, task % j->split); q < end; q++) {
        const Panel p = panel_of(op, q, out->c);
        const int16_t *w = (const int16_t *)(const void *)((const char *)op->weights + q * op->panel_bytes);
        for (int position = 0; position < positions; position++, w += pairs * 2 * p.nr)
            for (int r = 0; r < last - first; r += k->mr)
                k->gemm16(products + (position * block + r) * TILE_N, v + (position * block + r) * stride, stride, w,
                          pairs, imin(k->mr, last - first - r), p.nr);
        wino_scatter(j, products, y, p, q, first, last, (int)block);
    }
}

/* --- depthwise ---------------------------------------------------------------------------- */

static inline int line_width(const Value *in, const Value *out, const Window *w) {
    return imax((out->w - 1) * w->sw + (w->kw - 1) * w->dw + 1, in->w + w->left);
}

static int depthwise_block_limit(const Plan *plan, const Op *op) {
    const Value *in = &plan->values[op->in], *out = &plan->values[op->out];
    const Window *w = &op->win;
    const int lines = LINE_BYTES / (line_width(in, out, w) * TILE_N * 2);
    return imax(1, imin(out->h, (lines - (w->kh - 1) * w->dh - 1) / w->sh + 1));
}

static void depthwise_task(void *context, int task, int thread) {
    const Job *j = context;
    const Op *op = j->op;
    const Path *k = j->plan->path;
    const Value *in = value_of(j, op->in), *out = value_of(j, op->out);
    const Window *win = &op->win;
    const int blocks = (out->h + j->block - 1) / j->block, width = line_width(in, out, win);
    const int image = task / j->split / blocks, first = task / j->split % blocks * j->block;
    const int last = imin(first + j->block, out->h), end = part_start(op->panels, j->split, task % j->split + 1);
    const int y0 = first * win->sh - win->top, lines = (last - 1 - first) * win->sh + (win->kh - 1) * win->dh + 1;
    const int right = imin(in->w, width - win->left);
    int32_t *acc = (int32_t *)(void *)thread_scratch(j, thread);
    int16_t *scratch = (int16_t *)(void *)(acc + (out->w + 2) * TILE_N);
    Depthwise taps = op->taps;
    for (int q = part_start(op->panels, j->split, task % j->split); q < end; q++) {
        const Panel p = {0, q * TILE_N, imin(TILE_N, out->c - q * TILE_N), TILE_N};
        for (int i = 0; i < lines; i++) {
            int16_t *line = scratch + (ptrdiff_t)i * width * TILE_N;
            memset(line, 0, (size_t)width * TILE_N * sizeof *line);
            if (y0 + i < 0 || y0 + i >= in->h) continue;
            const uint8_t *data = value_data(j, op->in) + image * in->bytes + p.channel;
            data += (ptrdiff_t)(y0 + i) * in->w * in->c;
            k->line(line + win->left * TILE_N, data, in->c, right, in->is_signed);
        }
        taps.weights = (const int16_t *)(const void *)((const char *)op->weights + q * op->panel_bytes);
        for (int row = first; row < last; row++) {
            k->depthwise(&taps, scratch + (ptrdiff_t)(row - first) * win->sh * width * TILE_N, win->sw * TILE_N,
                         out->w, acc);
            finish_tile(j, p, q, acc, out->w, ((ptrdiff_t)image * out->h + row) * out->w);
        }
    }
}

#endif
