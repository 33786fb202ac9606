/* Everything that is not a matrix product: borders, pools, residual Add, copies, event counts. */
#ifndef LOWBITC_SPATIAL_H
#define LOWBITC_SPATIAL_H

#include "plan.h"

enum { LINE_TASK_BYTES = 32768 };

/* Rows [first, last) of the image that a task works on. */
typedef struct {
    int image, first, last;
} Lines;

static inline Lines task_lines(const Job *j, int task, int h) {
    const int blocks = (h + j->block - 1) / j->block;
    const int first = task % blocks * j->block;
    return (Lines){task / blocks, first, imin(first + j->block, h)};
}

static void split_lines(Job *j, int h, ptrdiff_t line_bytes) {
    const ptrdiff_t lines = LINE_TASK_BYTES / (line_bytes + 1) + 1;
    j->block = lines > h ? h : (int)lines;
    j->tasks = j->batch * ((h + j->block - 1) / j->block);
}

#define TRANSPOSE(T) \
    static void transpose_##T(T *out, ptrdiff_t out_stride, const T *in, ptrdiff_t in_stride, int rows, int columns) { \
        for (int y = 0; y < rows; y += 16) \
            for (int x = 0; x < columns; x += 16) \
                for (int i = y; i < imin(y + 16, rows); i++) \
                    for (int c = x; c < imin(x + 16, columns); c++) out[c * out_stride + i] = in[i * in_stride + c]; \
    }
TRANSPOSE(uint8_t)
TRANSPOSE(int32_t)

/* Three planes to pixels, the usual image. */
static void interleave3(uint8_t *out, const uint8_t *in, ptrdiff_t plane, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        out[3 * i] = in[i];
        out[3 * i + 1] = in[plane + i];
        out[3 * i + 2] = in[2 * plane + i];
    }
}

static void enter_task(void *context, int task, int thread) {
    const Job *j = context;
    const Value *v = value_of(j, j->op->out);
    const Lines l = task_lines(j, task, v->h);
    const ptrdiff_t plane = (ptrdiff_t)v->h * v->w, start = (ptrdiff_t)l.first * v->w;
    const int n = (l.last - l.first) * v->w;
    const Op *op = j->op;
    const uint8_t *in = j->source + l.image * v->bytes + start;
    uint8_t *out = value_data(j, op->out) + l.image * v->bytes + start * v->c;
    ptrdiff_t apart = plane;
    if (op->is_float) {
        uint8_t *levels = thread_scratch(j, thread);
        const float *from = (const float *)(const void *)j->source + l.image * v->bytes + start;
        for (int c = 0; c < v->c; c++)
            j->plan->path->quantize(levels + (ptrdiff_t)c * n, from + c * plane, (size_t)n, op->scale, op->lo, op->hi);
        in = levels;
        apart = n;
    }
    if (v->c == 3) interleave3(out, in, apart, n);
    else transpose_uint8_t(out, v->c, in, apart, v->c, n);
}

static void leave_task(void *context, int task, int thread) {
    const Job *j = context;
    const Value *v = value_of(j, j->op->in);
    const Lines l = task_lines(j, task, v->h);
    const ptrdiff_t plane = (ptrdiff_t)v->h * v->w, start = (ptrdiff_t)l.first * v->w;
    const int n = (l.last - l.first) * v->w;
    const uint8_t *in = value_data(j, j->op->in) + l.image * v->bytes + start * v->c * v->element;
    uint8_t *out = j->target + l.image * v->bytes + start * v->element;
    (void)thread;
    if (v->element == 1) transpose_uint8_t(out, plane, in, v->c, n, v->c);
    else transpose_int32_t((int32_t *)(void *)out, plane, (const int32_t *)(const void *)in, v->c, n, v->c);
}

static void maxpool_task(void *context, int task, int thread) {
    const Job *j = context;
    const Value *in = value_of(j, j->op->in), *out = value_of(j, j->op->out);
    const Window *w = &j->op->win;
    const Lines l = task_lines(j, task, out->h);
    const uint8_t *data = value_data(j, j->op->in) + l.image * in->bytes;
    uint8_t *to = value_data(j, j->op->out) + l.image * out->bytes + (ptrdiff_t)l.first * out->w * out->c;
    (void)thread;
    for (int y = l.first; y < l.last; y++)
        for (int x = 0; x < out->w; x++, to += out->c) {
            int seen = 0;
            for (int ky = 0; ky < w->kh; ky++) {
                const int sy = y * w->sh - w->top + ky * w->dh;
                if (sy < 0 || sy >= in->h) continue;
                for (int kx = 0; kx < w->kw; kx++) {
                    const int sx = x * w->sw - w->left + kx * w->dw;
                    if (sx < 0 || sx >= in->w) continue;
                    const uint8_t *from = data + ((ptrdiff_t)sy * in->w + sx) * in->c;
                    if (seen++) j->plan->path->maximum(to, from, (size_t)in->c, in->is_signed);
                    else memcpy(to, from, (size_t)in->c);
                }
            }
            if (!seen) memset(to, 0, (size_t)in->c); /* a window of padding only */
        }
}

/* Sums of a window's levels, then the output stage; padding is level 0 and adds nothing. */
static void sumpool_task(void *context, int task, int thread) {
    const Job *j = context;
    const Op *op = j->op;
    const Path *k = j->plan->path;
    const Value *in = value_of(j, op->in), *out = value_of(j, op->out);
    const Window *w = &op->win;
    const Lines l = task_lines(j, task, out->h);
    const uint8_t *data = value_data(j, op->in) + l.image * in->bytes;
    int32_t *sums = (int32_t *)(void *)thread_scratch(j, thread);
    for (int y = l.first; y < l.last; y++)
        for (int x = 0; x < out->w; x++) {
            memset(sums, 0, (size_t)out->c * sizeof *sums);
            for (int ky = 0; ky < w->kh; ky++) {
                const int sy = y * w->sh - w->top + ky * w->dh;
                if (sy < 0 || sy >= in->h) continue;
                for (int kx = 0; kx < w->kw; kx++) {
                    const int sx = x * w->sw - w->left + kx * w->dw;
                    if (sx >= 0 && sx < in->w)
                        k->sum(sums, data + ((ptrdiff_t)sy * in->w + sx) * in->c, (size_t)in->c, in->is_signed);
                }
            }
            if (op->factors)
                for (int c = 0; c < out->c; c++) sums[c] *= op->factors[y * out->w + x];
            const ptrdiff_t pixel = (((ptrdiff_t)l.image * out->h + y) * out->w + x) * out->c;
            if (op->stage.raw) {
                memcpy((int32_t *)(void *)value_data(j, op->out) + pixel, sums, (size_t)out->c * sizeof *sums);
                continue;
            }
            uint8_t *to = value_data(j, op->out) + pixel;
            for (int c = 0, q = 0; c < out->c; c += TILE_N, q++)
                k->stage(&op->stage, op->panel_form[q], c, imin(TILE_N, out->c - c), sums + c, 1, to + c, out->c);
            if (op->stage.table) k->lookup(to, (size_t)out->c, op->stage.table);
        }
}

static void add_task(void *context, int task, int thread) {
    const Job *j = context;
    const Op *op = j->op;
    const Value *v = value_of(j, op->out);
    const Lines l = task_lines(j, task, v->h);
    const ptrdiff_t line = (ptrdiff_t)v->w * v->c, at = l.image * v->bytes + l.first * line;
    const size_t n = (size_t)((l.last - l.first) * line);
    uint8_t *out = value_data(j, op->out) + at;
    (void)thread;
    memcpy(out, value_data(j, op->in) + at, n);
    j->plan->path->add(&op->add, out, 0, value_data(j, op->other) + at, 0, 1, n);
    if (op->add.table) j->plan->path->lookup(out, n, op->add.table);
}

static void copy_task(void *context, int task, int thread) {
    const Job *j = context;
    const Op *op = j->op;
    const Value *in = value_of(j, op->in), *out = value_of(j, op->out);
    const Lines l = task_lines(j, task, out->h);
    const uint8_t *data = value_data(j, op->in) + l.image * in->bytes + op->from;
    uint8_t *to = value_data(j, op->out) + l.image * out->bytes + (ptrdiff_t)l.first * out->w * out->c + op->to;
    (void)thread;
    for (int y = l.first; y < l.last; y++)
        for (int x = 0; x < out->w; x++, to += out->c) {
            const int sy = (op->y0 + y * op->ys) / op->yd, sx = (op->x0 + x * op->xs) / op->xd;
            memcpy(to, data + ((ptrdiff_t)sy * in->w + sx) * in->c, (size_t)op->n);
            if (op->table) j->plan->path->lookup(to, (size_t)op->n, op->table);
        }
}

/* Nonzero levels of some channels a pixel, summed over the batch; a pixel belongs to one task. */
static void count_task(void *context, int task, int thread) {
    const Job *j = context;
    const Value *v = value_of(j, j->op->in);
    int64_t *counts = (int64_t *)(void *)j->target;
    const int pixels = v->h * v->w, first = task * j->block, last = imin(first + j->block, pixels);
    (void)thread;
    for (int b = 0; b < j->batch; b++) {
        const uint8_t *data = value_data(j, j->op->in) + b * v->bytes + j->op->from;
        for (int i = first; i < last; i++)
            counts[i] += (int64_t)j->plan->path->nonzero(data + (ptrdiff_t)i * v->c, (size_t)j->op->n);
    }
}

#endif
