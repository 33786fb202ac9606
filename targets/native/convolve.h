/* Convolution and dense layers: packing, then tiles of products, then the output stage. */
#ifndef LOWBITC_CONVOLVE_H
#define LOWBITC_CONVOLVE_H

#include "plan.h"

enum { BLOCK_BYTES = 192 * 1024, LINE_BYTES = 64 * 1024, WINO_BYTES = 256 * 1024, MAX_TILES = 48 };
enum { MANY_CHANNELS = 256, MANY_TILES = 32 };

/* Winograd's m x m tiles of outputs, and the square patch of inputs under each. */
static inline int wino_size(const Op *op) { return op->algo == ALGO_WINO4 ? 4 : 2; }
static inline int wino_side(const Op *op) { return (wino_size(op) - 1) * op->win.sh + 3; }
static inline int wino_positions(const Op *op) { return wino_side(op) * wino_side(op); }

/* Whether a layer is a matrix product, and whether one of int16. */
static inline int is_wide(const Op *op) { return op->algo == ALGO_GEMM16 || op->algo == ALGO_STRASSEN; }
static inline int is_product(const Op *op) { return op->algo == ALGO_GEMM8 || is_wide(op); }

/* Whether this run has enough rows for Strassen's algorithm; its weights are also those of plain products. */
static inline int is_mixed(const Job *j) {
    const Value *out = value_of(j, j->op->out);
    return j->op->algo == ALGO_STRASSEN && j->batch * out->h * out->w >= j->op->chunk;
}

/* Row stride of a packed block, in elements; the odd padding keeps rows off one cache set. */
static inline ptrdiff_t packed_stride(const Op *op) {
    return is_wide(op) ? round_up(op->depth, 16) + 16 : round_up(op->depth, 32) + 32;
}

/* Replace rows of n levels by their entries in a table, if there is one. */
static void look_up(const Job *j, const uint8_t *table, uint8_t *out, ptrdiff_t ldo, int rows, int n) {
    for (int r = 0; r < rows && table; r++) j->plan->path->lookup(out + r * ldo, (size_t)n, table);
}

/* The residual Add that is fused into a layer, on rows of n of its levels. */
static void add_other(const Job *j, uint8_t *out, ptrdiff_t ldo, const uint8_t *other, ptrdiff_t ldb, int rows, int n) {
    if (j->op->other < 0) return;
    j->plan->path->add(&j->op->add, out, ldo, other, ldb, rows, (size_t)n);
    look_up(j, j->op->add.table, out, ldo, rows, n);
}

/* Where a panel's channels of an output pixel lie, and those of the other operand of a fused Add. */
static inline uint8_t *panel_out(const Job *j, Panel p, ptrdiff_t pixel) {
    const Value *out = value_of(j, j->op->out);
    return value_data(j, j->op->out) + (pixel * out->c + p.channel) * out->element;
}
static inline const uint8_t *panel_other(const Job *j, Panel p, ptrdiff_t pixel) {
    if (j->op->other < 0) return NULL;
    return value_data(j, j->op->other) + pixel * value_of(j, j->op->out)->c + p.channel;
}

/* Turn accumulators [rows][TILE_N] of one panel into consecutive pixels of the output, before a fused Add. */
static void finish_tile(const Job *j, Panel p, int panel, const int32_t *acc, int rows, ptrdiff_t pixel) {
    const Op *op = j->op;
    const ptrdiff_t ldo = value_of(j, op->out)->c;
    uint8_t *out = panel_out(j, p, pixel);
    if (op->stage.raw) {
        for (int r = 0; r < rows; r++) memcpy(out + r * ldo * 4, acc + r * TILE_N, (size_t)p.n * sizeof *acc);
        return;
    }
    j->plan->path->stage(&op->stage, op->panel_form[panel], p.channel, p.n, acc, rows, out, ldo);
    look_up(j, op->stage.table, out, ldo, rows, p.n);
}

/* --- shares of the work ------------------------------------------------------------------- */

/* Units [first, last) of a job's block i of `blocks`: whole tiles of `step` units, shared out evenly. */
static inline int block_start(const Job *j, int units, int i) {
    const int step = j->step;
    return imin(units, part_start((units + step - 1) / step, j->blocks, i) * step);
}

/* Choose how many blocks the units are shared out into, and into how many parts each block's panels are split, so
 * that all threads end together. In units of a tile times a panel: a block reads a panel's weights once, which costs
 * about as much as a tile; packing a tile costs a quarter; and of a task that is being waited for, 5 % are idle. */
static void balance(Job *j, int units, int limit, int parts) {
    const int step = j->step, tiles = (units + step - 1) / step, least = (tiles + limit / step - 1) / (limit / step);
    const int most = imin(tiles, imax(least, 4 * j->threads) + j->threads);
    double lowest = 0;
    j->blocks = least;
    for (int blocks = least; blocks <= most && j->threads > 1; blocks++)
        for (int split = 1; split <= imin(parts, 2 * j->threads); split++) {
            const double rows = (double)tiles / blocks, panels = (double)parts / split, task = (rows + 1) * panels + rows / 4;
            const int rounds = (blocks * split + j->threads - 1) / j->threads;
            const double uneven = (tiles % blocks ? panels : 0) + (parts % split ? rows : 0);
            const double cost = rounds * task + uneven + task / 20;
            if (lowest > 0 && cost >= lowest) continue;
            lowest = cost;
            j->blocks = blocks;
            j->split = split;
        }
    j->tasks = j->blocks * j->split;
}

/* --- matrix products over packed rows ----------------------------------------------------- */

/* Copy rows of input to packed rows, widened to int16 or with the sign bit flipped. */
static inline void pack_rows(const Job *j, void *to, ptrdiff_t at, ptrdiff_t ldo, const uint8_t *in, ptrdiff_t ldi,
                             int rows, int n, int is_signed) {
    const Path *k = j->plan->path;
    if (is_wide(j->op)) k->widen((int16_t *)to + at, ldo, in, ldi, rows, n, is_signed);
    else k->flip((uint8_t *)to + at, ldo, in, ldi, rows, n, is_signed ? 0x80 : 0);
}

static inline void pack_zeros(const Job *j, void *row, ptrdiff_t at, int n, int is_signed) {
    if (n == 0) return;
    if (is_wide(j->op)) memset((int16_t *)row + at, 0, (size_t)n * sizeof(int16_t));
    else memset((uint8_t *)row + at, is_signed ? 0x80 : 0, (size_t)n);
}

/* One receptive field that reaches into the padding, or whose taps are apart. */
static void pack_taps(const Job *j, uint8_t *row, const uint8_t *data, int channels, int y0, int x0) {
    const Window *win = &j->op->win;
    const Value *in = value_of(j, j->op->in);
    ptrdiff_t at = 0;
    for (int ky = 0; ky < win->kh; ky++) {
        const int y = y0 + ky * win->dh;
        for (int kx = 0; kx < win->kw; kx++, at += channels) {
            const int x = x0 + kx * win->dw;
            const uint8_t *from = data + ((ptrdiff_t)y * in->w + x) * in->c;
            if (y < 0 || y >= in->h || x < 0 || x >= in->w) pack_zeros(j, row, at, channels, in->is_signed);
            else pack_rows(j, row, at, 0, from, 0, 1, channels, in->is_signed);
        }
    }
}

/* Gather the receptive fields of output pixels [first, last), one a row, taps in order y, x, channel. */
static void pack_block(const Job *j, uint8_t *block, int group, int first, int last) {
    const Op *op = j->op;
    const Value *in = value_of(j, op->in), *out = value_of(j, op->out);
    const Window *win = &op->win;
    const int channels = in->c / op->groups, skip = group * channels, run = win->kw * channels;
    const ptrdiff_t stride = packed_stride(op), line = (ptrdiff_t)in->w * in->c;
    const ptrdiff_t bytes = stride * (is_wide(op) ? 2 : 1);
    const int whole = win->kw == 1 || (op->groups == 1 && win->dw == 1); /* a kernel row is one run of bytes */
    const int high = (win->kh - 1) * win->dh, wide = (win->kw - 1) * win->dw;
    if (win->kh * win->kw == 1 && win->sh == 1 && win->sw == 1 && out->h == in->h && out->w == in->w &&
        win->top == 0 && win->left == 0) {
        pack_rows(j, block, 0, stride, value_data(j, op->in) + (ptrdiff_t)first * in->c + skip, in->c, last - first,
                  channels, in->is_signed);
        return;
    }
    int image = first / (out->h * out->w), oy = first / out->w % out->h, ox = first % out->w;
    for (int r = first; r < last; r++, block += bytes) {
        const int y0 = oy * win->sh - win->top, x0 = ox * win->sw - win->left;
        const uint8_t *data = value_data(j, op->in) + image * in->bytes + skip;
        if (whole && y0 >= 0 && x0 >= 0 && y0 + high < in->h && x0 + wide < in->w)
            pack_rows(j, block, 0, run, data + y0 * line + (ptrdiff_t)x0 * in->c, win->dh * line, win->kh, run,
                      in->is_signed);
        else pack_taps(j, block, data, channels, y0, x0);
        if (++ox < out->w) continue;
        ox = 0;
        if (++oy < out->h) continue;
        oy = 0;
        image++;
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

/* Rows of a block: at most BLOCK_BYTES packed, a multiple of the tile's rows. */
static int gemm_block_limit(const Plan *plan, const Op *op) {
    const ptrdiff_t bytes = packed_stride(op) * (is_wide(op) ? 2 : 1);
    const int rows = (int)(BLOCK_BYTES / bytes), step = plan->path->mr * (op->algo == ALGO_STRASSEN ? 2 : 1);
    return imax(1, imin(96, rows) / step) * step;
}

/* What a task of matrix products works on: packed rows, or the input's own, and their places in the output. */
typedef struct {
    const uint8_t *rows;
    ptrdiff_t stride;           /* elements */
    int first, last;
    int32_t *acc;
} Block;

/* Levels of one panel for rows [from, last) of a block. */
static void gemm_panel(const Job *j, const Block *b, int q, int from) {
    const Op *op = j->op;
    const Path *k = j->plan->path;
    const Value *out = value_of(j, op->out);
    const Panel p = panel_of(op, q, out->c);
    const void *w = (const char *)op->weights + q * op->panel_bytes;
    const int32_t *init = op->init + q * TILE_N;
    const int wide = is_wide(op), pairs = (op->depth + 1) / 2, quads = (op->depth + 3) / 4, form = op->panel_form[q];
    const int fused = !op->stage.raw && p.n == TILE_N && form <= FORM_CHECKED && (wide || quads <= op->chunk);
    for (int r = from, n; r < b->last; r += n) {
        const void *a = b->rows + (r - b->first) * b->stride * (wide ? 2 : 1);
        if (fused) {
            uint8_t *to = panel_out(j, p, r);
            n = wide ? k->levels16(&op->stage, form, p.channel, to, out->c, a, b->stride, w, pairs, b->last - r)
                     : k->levels8(&op->stage, form, p.channel, to, out->c, a, b->stride, w, init, quads, b->last - r);
            if (n > 0) {
                look_up(j, op->stage.table, to, out->c, n, TILE_N);
                continue;
            }
        }
        n = imin(k->mr, b->last - r);
        if (wide) k->gemm16(b->acc, a, b->stride, w, pairs, n, p.nr);
        else k->gemm8(b->acc, a, b->stride, w, init, quads, op->chunk, n, p.nr);
        finish_tile(j, p, q, b->acc, n, r);
    }
}

/* Levels of panels q and q + 1 by Strassen's algorithm, as far as their rows are whole tiles; returns the first row
 * that is left to plain products. */
static int gemm_mixed(const Job *j, const Block *b, const uint8_t *mixed, int q) {
    const Op *op = j->op;
    const Panel p = panel_of(op, q, value_of(j, op->out)->c);
    const ptrdiff_t ldo = value_of(j, op->out)->c, panel = q * op->panel_bytes;
    const int form = imax(op->panel_form[q], op->panel_form[q + 1]);
    if (op->stage.raw || form > FORM_CHECKED || panel_of(op, q + 1, (int)ldo).n < TILE_N) return b->first;
    uint8_t *to = panel_out(j, p, b->first);
    const int n = j->plan->path->strassen(&op->stage, form, p.channel, to, ldo, (const void *)b->rows, (const void *)mixed,
                                          b->stride, (const void *)((const char *)op->weights + panel),
                                          (const void *)((const char *)op->mixed + panel), op->depth, b->last - b->first);
    look_up(j, op->stage.table, to, ldo, n, 2 * TILE_N);
    return b->first + n;
}

static void gemm_task(void *context, int task, int thread) {
    const Job *j = context;
    const Op *op = j->op;
    const Value *out = value_of(j, op->out);
    const int rows = j->batch * out->h * out->w, panels = op->groups * op->panels;
    const int first = block_start(j, rows, task / j->split), last = block_start(j, rows, task / j->split + 1);
    const int in_place = reads_in_place(j->plan, op), is_strassen = is_mixed(j), together = is_strassen ? 2 : 1;
    const int parts = (panels + together - 1) / together, part = task % j->split;
    const int begin = part_start(parts, j->split, part) * together;
    const int end = imin(part_start(parts, j->split, part + 1) * together, panels);
    const ptrdiff_t stride = in_place ? value_of(j, op->in)->c : packed_stride(op);
    int32_t *acc = (int32_t *)(void *)thread_scratch(j, thread);
    uint8_t *packed = thread_scratch(j, thread) + (MAX_ROWS + 2) * TILE_N * sizeof *acc;
    uint8_t *mixed = packed + gemm_block_limit(j->plan, op) * stride * 2;
    const Block b = {in_place ? value_data(j, op->in) + first * stride : packed, stride, first, last, acc};
    int group = -1;
    for (int q = begin; q < end; q++) {
        if (q / op->panels != group && !in_place) pack_block(j, packed, q / op->panels, first, last);
        if (q == begin && is_strassen) j->plan->path->mix((void *)mixed, (void *)packed, stride, op->depth, last - first);
        group = q / op->panels;
        if (is_strassen && q + 1 < end) {
            const int from = gemm_mixed(j, &b, mixed, q);
            gemm_panel(j, &b, q, from);
            gemm_panel(j, &b, ++q, from);
        } else {
            gemm_panel(j, &b, q, first);
        }
    }
    /* All panels at once, so that the other operand is read in the order in which it lies. */
    const Panel start = panel_of(op, begin, out->c), stop = panel_of(op, end - 1, out->c);
    add_other(j, panel_out(j, start, first), out->c, panel_other(j, start, first), out->c, last - first,
              stop.channel + stop.n - start.channel);
}

/* --- Winograd ----------------------------------------------------------------------------- */

static inline ptrdiff_t wino_stride(const Value *in) { return round_up(in->c, 16) + 16; }

/* Panels whose products wait for each other. Where a block's patches outgrow the cache, a position's patches meet the
 * weights of several panels while they are there; a panel's weights lie position by position, then panel by panel. */
static inline int wino_together(const Value *in) { return in->c >= MANY_CHANNELS ? 4 : 1; }

/* Weights of one panel at one position, in elements, and where those of panel q start. */
static inline ptrdiff_t wino_share(const Value *in) { return (in->c + 1) / 2 * (ptrdiff_t)(2 * TILE_N); }
static inline int16_t *wino_weights(const Op *op, const Value *in, int q) {
    const int together = wino_together(in);
    return (int16_t *)(void *)((char *)op->weights + q / together * together * op->panel_bytes) + q % together * wino_share(in);
}

static int wino_block_limit(const Plan *plan, const Op *op) {
    const int positions = wino_positions(op), mr = plan->path->mr;
    const Value *in = &plan->values[op->in];
    const int tiles = wino_together(in) > 1 ? MANY_TILES : (int)(WINO_BYTES / (positions * wino_stride(in) * 2));
    return imax(2, imin(MAX_TILES, tiles) / mr) * mr;
}

/* An m x m tile of outputs: its first pixel, and how much of it lies inside the image. */
typedef struct {
    int image, y, x, high, wide;
    ptrdiff_t pixel;
} Tile;

static void wino_tiles(const Value *out, int m, int first, int last, Tile *tiles) {
    const int across = (out->w + m - 1) / m, down = (out->h + m - 1) / m;
    int image = first / (across * down), ty = first / across % down, tx = first % across;
    for (int i = first; i < last; i++, tiles++) {
        *tiles = (Tile){image, ty * m, tx * m, imin(m, out->h - ty * m), imin(m, out->w - tx * m), 0};
        tiles->pixel = ((ptrdiff_t)image * out->h + tiles->y) * out->w + tiles->x;
        if (++tx < across) continue;
        tx = 0;
        if (++ty < down) continue;
        ty = 0;
        image++;
    }
}

/* Transform the patches under n tiles: v[position][tile][channel]. */
static void wino_gather(const Job *j, int16_t *v, const Tile *tiles, int n, int block) {
    const Op *op = j->op;
    const Value *in = value_of(j, op->in);
    const int t = wino_side(op), channels = (int)round_up(in->c, 16);
    const ptrdiff_t stride = wino_stride(in), line = (ptrdiff_t)in->w * in->c;
    const uint8_t *pixels[36];
    for (int i = 0; i < n; i++) {
        const int y0 = tiles[i].y * op->win.sh - op->win.top, x0 = tiles[i].x * op->win.sw - op->win.left;
        const uint8_t *data = value_data(j, op->in) + tiles[i].image * in->bytes;
        for (int y = 0; y < t; y++) {
            const int outside = y0 + y < 0 || y0 + y >= in->h;
            const uint8_t *from = data + (y0 + y) * line + (ptrdiff_t)x0 * in->c;
            for (int x = 0; x < t; x++, from += in->c)
                pixels[y * t + x] = outside || x0 + x < 0 || x0 + x >= in->w ? j->plan->zeros : from;
        }
        j->plan->path->wino_in[op->algo - ALGO_WINO2](v + i * stride, block * stride, pixels, channels, in->is_signed);
    }
}

/* Outputs of n tiles: m x m accumulators to levels, then the pixels that lie inside the image. */
static void wino_scatter(const Job *j, const int32_t *products, int32_t *y, Panel p, int panel, const Tile *tiles,
                         int n, int block) {
    const Op *op = j->op;
    const Path *k = j->plan->path;
    const Value *out = value_of(j, op->out);
    const int m = wino_size(op);
    uint8_t levels[16 * TILE_N], other[16 * TILE_N] = {0};
    for (const Tile *t = tiles; t < tiles + n; t++, products += TILE_N) {
        k->wino_out[op->algo - ALGO_WINO2](products, block * TILE_N, y);
        if (op->stage.raw) {
            for (int dy = 0; dy < t->high; dy++)
                finish_tile(j, p, panel, y + dy * m * TILE_N, t->wide, t->pixel + (ptrdiff_t)dy * out->w);
            continue;
        }
        k->stage(&op->stage, op->panel_form[panel], p.channel, TILE_N, y, m * m, levels, TILE_N);
        for (int dy = 0; dy < t->high && op->other >= 0; dy++) {
            const uint8_t *from = panel_other(j, p, t->pixel + (ptrdiff_t)dy * out->w);
            for (int dx = 0; dx < t->wide; dx++, from += out->c) memcpy(other + (dy * m + dx) * TILE_N, from, (size_t)p.n);
        }
        look_up(j, op->stage.table, levels, 0, 1, m * m * TILE_N);
        add_other(j, levels, 0, other, 0, 1, m * m * TILE_N);
        for (int dy = 0; dy < t->high; dy++) {
            uint8_t *to = panel_out(j, p, t->pixel + (ptrdiff_t)dy * out->w);
            for (int dx = 0; dx < t->wide; dx++, to += out->c)
                if (p.n == TILE_N) memcpy(to, levels + (dy * m + dx) * TILE_N, TILE_N);
                else memcpy(to, levels + (dy * m + dx) * TILE_N, (size_t)p.n);
        }
    }
}

static void wino_task(void *context, int task, int thread) {
    const Job *j = context;
    const Op *op = j->op;
    const Path *k = j->plan->path;
    const Value *in = value_of(j, op->in), *out = value_of(j, op->out);
    const int m = wino_size(op), positions = wino_positions(op);
    const int tiles = j->batch * ((out->h + m - 1) / m) * ((out->w + m - 1) / m);
    const int first = block_start(j, tiles, task / j->split), last = block_start(j, tiles, task / j->split + 1);
    const ptrdiff_t stride = wino_stride(in), share = wino_share(in), block = last - first;
    const int pairs = (in->c + 1) / 2, together = wino_together(in), groups = (op->panels + together - 1) / together;
    const int end = part_start(groups, j->split, task % j->split + 1);
    int32_t *y = (int32_t *)(void *)thread_scratch(j, thread);
    int32_t *products = y + (16 + 2) * TILE_N;
    int16_t *v = (int16_t *)(void *)(products + (together * positions * block + 2) * TILE_N);
    Tile tile[MAX_TILES];
    wino_tiles(out, m, first, last, tile);
    wino_gather(j, v, tile, last - first, (int)block);
    for (int g = part_start(groups, j->split, task % j->split); g < end; g++) {
        const int start = g * together, n = imin(together, op->panels - start);
        const int16_t *w = wino_weights(op, in, start);
        for (int position = 0; position < positions; position++, w += together * share)
            for (int q = 0; q < n; q++)
                k->gemm16(products + (q * positions + position) * block * TILE_N, v + position * block * stride, stride,
                          w + q * share, pairs, last - first, panel_of(op, start + q, out->c).nr);
        for (int q = 0; q < n; q++)
            wino_scatter(j, products + q * positions * block * TILE_N, y, panel_of(op, start + q, out->c), start + q,
                         tile, last - first, (int)block);
    }
}

/* --- depthwise ---------------------------------------------------------------------------- */

static inline int line_width(const Value *in, const Value *out, const Window *w) {
    return imax((out->w - 1) * w->sw + (w->kw - 1) * w->dw + 1, in->w + w->left);
}

/* A line holds one pixel or pair of 16 channels every so many pixels: all that its taps may read. */
static inline int line_lanes(const Op *op) { return op->taps.narrow ? TILE_N : 2 * TILE_N; }
static inline int line_step(const Op *op) { return op->taps.narrow || op->win.sw % 2 ? 1 : 2; }
static inline ptrdiff_t line_size(const Value *in, const Value *out, const Op *op) {
    return (ptrdiff_t)((line_width(in, out, &op->win) + line_step(op) - 1) / line_step(op)) * line_lanes(op);
}

static int depthwise_block_limit(const Plan *plan, const Op *op) {
    const Value *in = &plan->values[op->in], *out = &plan->values[op->out];
    const Window *w = &op->win;
    const int lines = (int)(LINE_BYTES / (line_size(in, out, op) * 2));
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
    /* One line as it is, then those that the taps read. */
    int16_t *single = (int16_t *)(void *)(acc + (out->w + 2) * TILE_N);
    int16_t *scratch = single + (width + win->dw + 1) * TILE_N;
    const ptrdiff_t size = line_size(in, out, op);
    Depthwise taps = op->taps;
    memset(single, 0, (size_t)(scratch - single) * sizeof *single);
    for (int q = part_start(op->panels, j->split, task % j->split); q < end; q++) {
        const Panel p = {0, q * TILE_N, imin(TILE_N, out->c - q * TILE_N), TILE_N};
        for (int i = 0; i < lines; i++) {
            int16_t *line = scratch + i * size;
            if (y0 + i < 0 || y0 + i >= in->h) {
                memset(line, 0, (size_t)size * sizeof *line);
                continue;
            }
            const uint8_t *data = value_data(j, op->in) + image * in->bytes + p.channel;
            data += (ptrdiff_t)(y0 + i) * in->w * in->c;
            k->widen(single + win->left * TILE_N, TILE_N, data, in->c, right, TILE_N, in->is_signed);
            if (taps.narrow) memcpy(line, single, (size_t)size * sizeof *line);
            else k->pair(line, single, win->dw, line_step(op), (int)(size / line_lanes(op)));
        }
        taps.weights = (const int16_t *)(const void *)((const char *)op->weights + q * op->panel_bytes);
        for (int row = first; row < last; row++) {
            const int16_t *line = scratch + (row - first) * win->sh * size;
            const ptrdiff_t pixel = ((ptrdiff_t)image * out->h + row) * out->w, step = win->sw / line_step(op) * line_lanes(op);
            uint8_t *to = panel_out(j, p, pixel);
            if (p.n == TILE_N && !op->stage.raw &&
                k->depthwise_levels(&taps, &op->stage, op->panel_form[q], p.channel, line, step, out->w, to, out->c)) {
                look_up(j, op->stage.table, to, out->c, out->w, TILE_N);
            } else {
                k->depthwise(&taps, line, step, out->w, acc);
                finish_tile(j, p, q, acc, out->w, pixel);
            }
            add_other(j, to, out->c, panel_other(j, p, pixel), out->c, out->w, p.n);
        }
    }
}

#endif
