/* Weights, rearranged once for the kernels. Input: int8 [out channels][kh][kw][channels of a group]. */
#ifndef LOWBITC_PACK_H
#define LOWBITC_PACK_H

#include "convolve.h"

static void *op_alloc(Op *op, ptrdiff_t bytes) {
    void *p = NULL;
    if (op->n_owned == (int)(sizeof op->owned / sizeof *op->owned)) return NULL;
    if (posix_memalign(&p, 64, (size_t)bytes + SLACK) != 0) return NULL;
    memset(p, 0, (size_t)bytes + SLACK);
    op->owned[op->n_owned++] = p;
    return p;
}

static void pack_gemm16(int16_t *to, const int8_t *w, int depth, Panel p) {
    for (int n = 0; n < p.n; n++)
        for (int k = 0; k < depth; k++) to[k / 2 * 2 * p.nr + 2 * n + k % 2] = w[(ptrdiff_t)(p.channel + n) * depth + k];
}

/* What Strassen's algorithm multiplies besides the weights of two panels, each half of whose rows are `share` numbers. */
static void pack_mixed(int16_t *to, const int16_t *w, ptrdiff_t share) {
    for (ptrdiff_t i = 0; i < share; i++) {
        const int b11 = w[i], b21 = w[share + i], b12 = w[2 * share + i], b22 = w[3 * share + i];
        to[i] = (int16_t)(b12 - b11);
        to[share + i] = (int16_t)(b22 - b12 + b11);
        to[2 * share + i] = (int16_t)(b22 - b12);
        to[3 * share + i] = (int16_t)(b21 - b22 + b12 - b11);
    }
}

static void pack_gemm8(int8_t *to, int32_t *init, const int8_t *w, int depth, Panel p, int is_signed) {
    for (int n = 0; n < p.n; n++) {
        int32_t sum = 0;
        for (int k = 0; k < depth; k++) {
            const int8_t x = w[(ptrdiff_t)(p.channel + n) * depth + k];
            to[k / 4 * 4 * p.nr + 4 * n + k % 4] = x;
            sum += x;
        }
        init[n] = is_signed ? -128 * sum : 0; /* signed levels are offset by 128 to be unsigned */
    }
}

static void pack_depthwise(int16_t *to, const int8_t *w, const Window *win, Panel p, int narrow) {
    const int pairs = (win->kw + 1) / 2;
    for (int n = 0; n < p.n; n++)
        for (int t = 0; t < win->kh * win->kw; t++) {
            const int8_t x = w[(ptrdiff_t)(p.channel + n) * win->kh * win->kw + t];
            const int ky = t / win->kw, kx = t % win->kw;
            if (narrow) to[t * TILE_N + n] = x;
            else to[(ky * pairs + kx / 2) * 2 * TILE_N + 2 * pair_lane(n) + kx % 2] = x;
        }
}

/* U = G w G^T for one channel pair, G scaled to whole numbers (spatial.h's transforms undo it). */
static void wino_filter(int algo, const int8_t *w, ptrdiff_t tap_stride, int32_t *u) {
    static const int g2[4][3] = {{2, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 2}};
    static const int g4[6][3] = {{6, 0, 0}, {1, 1, 1}, {1, -1, 1}, {1, 2, 4}, {1, -2, 4}, {0, 0, 6}};
    static const int strided[5][3] = {{1, 0, 0}, {1, 0, 1}, {0, 0, 1}, {0, 1, 0}, {0, 1, 0}};
    const int(*g)[3] = algo == ALGO_WINO4 ? g4 : algo == ALGO_WINO2 ? g2 : strided;
    const int side = algo == ALGO_WINO4 ? 6 : algo == ALGO_WINO2 ? 4 : 5;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            int32_t sum = 0;
            for (int i = 0; i < 9; i++) sum += g[y][i / 3] * g[x][i % 3] * w[i * tap_stride];
            u[y * side + x] = sum;
        }
}

/* `to` is the panel's share of its first position; the next position's lies `apart` behind. */
static void pack_wino(int16_t *to, ptrdiff_t apart, const int8_t *w, int channels, const Op *op, Panel p) {
    const int positions = wino_positions(op);
    int32_t u[36];
    for (int n = 0; n < p.n; n++)
        for (int c = 0; c < channels; c++) {
            wino_filter(op->algo, w + (ptrdiff_t)(p.channel + n) * 9 * channels + c, channels, u);
            for (int i = 0; i < positions; i++) to[i * apart + c / 2 * 2 * p.nr + 2 * n + c % 2] = (int16_t)u[i];
        }
}

static ptrdiff_t panel_size(const Op *op, int channels) {
    switch (op->algo) {
    case ALGO_GEMM16: case ALGO_STRASSEN: return (op->depth + 1) / 2 * (ptrdiff_t)64;
    case ALGO_GEMM8: return (op->depth + 3) / 4 * (ptrdiff_t)64;
    case ALGO_DEPTHWISE: return op->taps.steps * (ptrdiff_t)(op->taps.narrow ? 32 : 64);
    default: return wino_positions(op) * (ptrdiff_t)((channels + 1) / 2) * 64;
    }
}

/* Pack all panels and choose each panel's output form. Returns 0, or -1 without memory. */
static int pack_weights(const Plan *plan, Op *op, const int8_t *w) {
    const Value *in = &plan->values[op->in], *out = &plan->values[op->out];
    const int depthwise = op->algo == ALGO_DEPTHWISE, groups = depthwise ? 1 : op->groups;
    const int channels = in->c / groups, panels = groups * op->panels;
    op->panel_bytes = panel_size(op, channels);
    op->weights = op_alloc(op, op->panel_bytes * round_up(panels, wino_together(in)));
    op->init = op_alloc(op, panels * TILE_N * (ptrdiff_t)sizeof(int32_t));
    op->groups = groups;
    if (op->algo == ALGO_STRASSEN) op->mixed = op_alloc(op, op->panel_bytes * panels);
    if (!op->weights || !op->init || (op->algo == ALGO_STRASSEN && !op->mixed)) return -1;
    for (int q = 0; q < panels; q++) {
        const Panel p = panel_of(op, q, out->c);
        void *to = (char *)op->weights + q * op->panel_bytes;
        switch (op->algo) {
        case ALGO_GEMM16: case ALGO_STRASSEN: pack_gemm16(to, w, op->depth, p); break;
        case ALGO_GEMM8: pack_gemm8(to, op->init + q * TILE_N, w, op->depth, p, in->is_signed); break;
        case ALGO_DEPTHWISE: pack_depthwise(to, w, &op->win, p, op->taps.narrow); break;
        default: pack_wino(wino_weights(op, in, q), wino_together(in) * wino_share(in), w, channels, op, p);
        }
    }
    const ptrdiff_t share = op->depth / 2 * (ptrdiff_t)TILE_N;
    for (int q = 0; q + 1 < panels && op->algo == ALGO_STRASSEN; q += 2)
        pack_mixed(op->mixed + 2 * q * share, (const int16_t *)op->weights + 2 * q * share, share);
    return 0;
}

static int choose_forms(const Plan *plan, Op *op) {
    const int channels = plan->values[op->out].c, panels = op->groups * op->panels;
    op->panel_form = op_alloc(op, panels);
    if (!op->panel_form) return -1;
    if (op->stage.raw) return 0;
    for (int q = 0; q < panels; q++) {
        const Panel p = panel_of(op, q, channels);
        for (int n = 0; n < p.n; n++)
            if (op->stage.form[p.channel + n] > op->panel_form[q]) op->panel_form[q] = op->stage.form[p.channel + n];
    }
    return 0;
}

#endif
