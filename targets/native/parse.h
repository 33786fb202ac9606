/* Reading a plan from Python: fixed records of integers, floats and arrays, checked for memory safety. */
#ifndef LOWBITC_PARSE_H
#define LOWBITC_PARSE_H

#include <Python.h>

#include "pack.h"

/* Order of an operator's integers, floats and arrays; plan.py has the same lists. */
enum {
    I_KIND, I_IN, I_OTHER, I_OUT, I_PORT,
    I_KH, I_KW, I_SH, I_SW, I_TOP, I_LEFT, I_DH, I_DW, I_GROUPS, I_ALGO, I_CHUNK, I_NARROW,
    I_SIGNED, I_RAW, I_COUNT, I_LOWEST,
    I_ADD_FORM, I_ADD_LO, I_ADD_HI, I_ADD_A_SIGNED, I_ADD_MA, I_ADD_MB, I_ADD_ROUND, I_ADD_SHIFT,
    I_N, I_FROM, I_TO, I_Y0, I_YS, I_YD, I_X0, I_XS, I_XD,
    I_FLOAT, I_ENTER_LO, I_ENTER_HI,
    I_TOTAL
};
enum { F_FA, F_FB, F_OFFSET, F_SCALE, F_TOTAL };
enum {
    A_WEIGHTS, A_LOW, A_HIGH, A_SCALE, A_OFFSET, A_LIMIT, A_MULT, A_ROUND, A_SHIFT, A_BIAS, A_BASE, A_ACC_LO, A_ACC_HI, A_BELOW, A_FORM, A_TABLE,
    A_PAIRS, A_ADD_TABLE, A_FACTORS,
    A_TOTAL
};

static int fail(const char *what) {
    PyErr_Format(PyExc_ValueError, "malformed plan: %s", what);
    return -1;
}

static int parse_values(Plan *plan, PyObject *values) {
    plan->n_values = (int)PyTuple_GET_SIZE(values);
    plan->values = calloc((size_t)plan->n_values + 1, sizeof *plan->values);
    if (!plan->values) return PyErr_NoMemory(), -1;
    ptrdiff_t widest = 0;
    for (int i = 0; i < plan->n_values; i++) {
        Value *v = &plan->values[i];
        Py_ssize_t offset;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(values, i), "iiiiin", &v->c, &v->h, &v->w, &v->element, &v->is_signed,
                              &offset))
            return -1;
        if (v->c < 1 || v->h < 1 || v->w < 1 || v->c > 1 << 24 || v->h > 1 << 24 || v->w > 1 << 24)
            return fail("a value's shape");
        if ((double)v->c * v->h * v->w > 1 << 29) return fail("a value of more than half a gigabyte");
        if (v->element != 1 && v->element != 4) return fail("a value's element size");
        v->bytes = (ptrdiff_t)v->c * v->h * v->w * v->element;
        v->offset = offset;
        if (offset < 0 || offset % 64 || offset + round_up(v->bytes, 64) > plan->arena_per_image)
            return fail("a value outside the arena");
        if (v->c > widest) widest = v->c;
    }
    plan->zeros = calloc(1, (size_t)widest + SLACK);
    return plan->zeros ? 0 : (PyErr_NoMemory(), -1);
}

/* Copy array `index` of the operator, which must have exactly `bytes` bytes; NULL if it is None and may be. */
static int take(Op *op, PyObject *arrays, int index, ptrdiff_t bytes, int optional, const void **to) {
    PyObject *item = PyTuple_GET_ITEM(arrays, index);
    *to = NULL;
    if (item == Py_None) return optional ? 0 : fail("an array is missing");
    Py_buffer view;
    if (PyObject_GetBuffer(item, &view, PyBUF_C_CONTIGUOUS) != 0) return -1;
    void *copy = view.len == bytes ? op_alloc(op, bytes) : NULL;
    const int wrong_size = view.len != bytes;
    if (copy) memcpy(copy, view.buf, (size_t)bytes);
    PyBuffer_Release(&view);
    if (wrong_size) return fail("an array's size");
    if (!copy) return PyErr_NoMemory(), -1;
    *to = copy;
    return 0;
}

static int parse_stage(const Plan *plan, Op *op, const int64_t *n, PyObject *arrays) {
    Stage *s = &op->stage;
    const ptrdiff_t padded = plan->values[op->out].c + TILE_N;
    s->lowest = (int)n[I_LOWEST];
    s->raw = (int)n[I_RAW];
    s->count = (int)n[I_COUNT];
    s->is_signed = (int)n[I_SIGNED];
    s->stride = padded;
    if (s->raw != (plan->values[op->out].element == 4)) return fail("an output's element size");
    if (s->raw) return 0;
    if (s->count < 0 || s->count > 255) return fail("an output stage");
    const int exact = s->count > 0; /* thresholds: no multiplier */
    if (take(op, arrays, A_LOW, padded, 0, (const void **)&s->low) ||
        take(op, arrays, A_HIGH, padded, 0, (const void **)&s->high) ||
        take(op, arrays, A_SCALE, padded * 4, 0, (const void **)&s->scale) ||
        take(op, arrays, A_OFFSET, padded * 4, 0, (const void **)&s->offset) ||
        take(op, arrays, A_LIMIT, padded * 4, 0, (const void **)&s->limit) ||
        take(op, arrays, A_MULT, padded * 8, exact, (const void **)&s->mult) ||
        take(op, arrays, A_ROUND, padded * 8, exact, (const void **)&s->round) ||
        take(op, arrays, A_SHIFT, padded * 8, exact, (const void **)&s->shift) ||
        take(op, arrays, A_BIAS, padded * 4, exact, (const void **)&s->bias) ||
        take(op, arrays, A_BASE, padded * 4, exact, (const void **)&s->base) ||
        take(op, arrays, A_ACC_LO, padded * 4, exact, (const void **)&s->acc_lo) ||
        take(op, arrays, A_ACC_HI, padded * 4, exact, (const void **)&s->acc_hi) ||
        take(op, arrays, A_BELOW, padded * 4 * s->count, !exact, (const void **)&s->below) ||
        take(op, arrays, A_FORM, padded, 0, (const void **)&s->form) ||
        take(op, arrays, A_TABLE, 256, 1, (const void **)&s->table))
        return -1;
    for (ptrdiff_t c = 0; c < padded; c++)
        if (s->form[c] > FORM_COUNT || (s->form[c] != FORM_FLOAT && (s->form[c] == FORM_COUNT) != exact))
            return fail("an output form");
    return 0;
}

static int parse_add(const Plan *plan, Op *op, const int64_t *n, const double *f, PyObject *arrays) {
    const Value *b = &plan->values[op->other], *out = &plan->values[op->out];
    if (b->c != out->c || b->h != out->h || b->w != out->w || b->element != 1 || out->element != 1)
        return fail("an Add's shapes");
    op->add = (Add){.form = (int)n[I_ADD_FORM], .lo = (int)n[I_ADD_LO], .hi = (int)n[I_ADD_HI],
                    .a_signed = (int)n[I_ADD_A_SIGNED], .b_signed = b->is_signed, .out_signed = out->is_signed,
                    .ma = (int32_t)n[I_ADD_MA], .mb = (int32_t)n[I_ADD_MB], .round = (int32_t)n[I_ADD_ROUND],
                    .shift = (int32_t)n[I_ADD_SHIFT], .fa = (float)f[F_FA], .fb = (float)f[F_FB],
                    .offset = (float)f[F_OFFSET]};
    return take(op, arrays, A_PAIRS, 65536, 0, (const void **)&op->add.pairs) ||
           take(op, arrays, A_ADD_TABLE, 256, 1, (const void **)&op->add.table) ? -1 : 0;
}

static int parse_conv(const Plan *plan, Op *op, const int64_t *n, PyObject *arrays) {
    const Value *in = &plan->values[op->in], *out = &plan->values[op->out];
    const Window *w = &op->win;
    op->groups = (int)n[I_GROUPS];
    op->algo = (int)n[I_ALGO];
    op->chunk = (int)n[I_CHUNK];
    if (op->groups < 1 || in->c % op->groups || out->c % op->groups || op->chunk < 1) return fail("a group count");
    if (in->element != 1) return fail("an input's element size");
    const double depth = (double)w->kh * w->kw * (in->c / op->groups);
    if (depth > 1 << 24) return fail("a kernel's size");
    op->depth = (int)depth;
    op->panels = (out->c / op->groups + TILE_N - 1) / TILE_N;
    if (op->algo == ALGO_DEPTHWISE) {
        if (op->groups != in->c || in->c != out->c || w->kh * w->kw > MAX_TAPS) return fail("a depthwise layer");
        op->panels = (out->c + TILE_N - 1) / TILE_N;
        int32_t *offsets = op_alloc(op, MAX_TAPS * (ptrdiff_t)sizeof *offsets);
        if (!offsets) return PyErr_NoMemory(), -1;
        const int narrow = n[I_NARROW] != 0, every = narrow ? 1 : 2, across = (w->kw + every - 1) / every;
        op->taps = (Depthwise){.offsets = offsets, .steps = w->kh * across, .narrow = narrow};
        for (int t = 0; t < op->taps.steps; t++)
            offsets[t] = (int32_t)(t / across * w->dh * line_size(in, out, op)) +
                         t % across * every * w->dw / line_step(op) * every * TILE_N;
    } else if (op->algo >= ALGO_WINO2 && op->algo <= ALGO_WINO_STRIDED) {
        const int stride = op->algo == ALGO_WINO_STRIDED ? 2 : 1;
        if (!plan->path->wino_in[0] || op->groups != 1 || w->kh != 3 || w->kw != 3 || w->sh != stride ||
            w->sw != stride || w->dh != 1 || w->dw != 1)
            return fail("a Winograd layer");
    } else if (op->algo == ALGO_STRASSEN) {
        if (!plan->path->strassen || op->groups != 1 || op->depth % 4) return fail("a layer for Strassen's algorithm");
    } else if (op->algo != ALGO_GEMM16 && op->algo != ALGO_GEMM8) {
        return fail("an algorithm");
    }
    Py_buffer weights;
    if (PyObject_GetBuffer(PyTuple_GET_ITEM(arrays, A_WEIGHTS), &weights, PyBUF_C_CONTIGUOUS) != 0) return -1;
    const int right_size = weights.len == (ptrdiff_t)op->depth * out->c;
    const int packed = right_size && pack_weights(plan, op, weights.buf) == 0;
    PyBuffer_Release(&weights);
    if (!right_size) return fail("the weights' size");
    return packed ? 0 : (PyErr_NoMemory(), -1);
}

static int outside(int64_t start, int64_t step, int64_t divisor, int n, int size) {
    const int64_t last = start + step * (n - 1);
    return divisor < 1 || start < 0 || last < 0 || start / divisor >= size || last / divisor >= size;
}

static int parse_copy(const Plan *plan, Op *op, const int64_t *n, PyObject *arrays) {
    const Value *in = &plan->values[op->in], *out = &plan->values[op->out];
    op->n = (int)n[I_N];
    op->from = (int)n[I_FROM];
    op->to = (int)n[I_TO];
    op->y0 = (int)n[I_Y0]; op->ys = (int)n[I_YS]; op->yd = (int)n[I_YD];
    op->x0 = (int)n[I_X0]; op->xs = (int)n[I_XS]; op->xd = (int)n[I_XD];
    if (op->n < 1 || op->from < 0 || op->to < 0 || op->n > in->c - op->from || op->n > out->c - op->to ||
        in->element != 1 || out->element != 1)
        return fail("a copy's channels");
    if (outside(n[I_Y0], n[I_YS], n[I_YD], out->h, in->h) || outside(n[I_X0], n[I_XS], n[I_XD], out->w, in->w))
        return fail("a copy's positions");
    return take(op, arrays, A_TABLE, 256, 1, (const void **)&op->table);
}

static int parse_op(Plan *plan, Op *op, const int64_t *n, const double *f, PyObject *arrays) {
    for (int i = 0; i < I_TOTAL; i++)
        if (n[i] < INT32_MIN || n[i] > INT32_MAX) return fail("an integer's range");
    op->kind = (int)n[I_KIND];
    op->in = (int)n[I_IN]; op->other = (int)n[I_OTHER]; op->out = (int)n[I_OUT]; op->port = (int)n[I_PORT];
    if (op->in < 0 || op->in >= plan->n_values || op->out < 0 || op->out >= plan->n_values || op->other < -1 ||
        op->other >= plan->n_values)
        return fail("a value id");
    op->win = (Window){(int)n[I_KH], (int)n[I_KW], (int)n[I_SH], (int)n[I_SW],
                       (int)n[I_TOP], (int)n[I_LEFT], (int)n[I_DH], (int)n[I_DW]};
    for (int i = I_KH; i <= I_DW; i++)
        if (n[i] < (i == I_TOP || i == I_LEFT ? 0 : 1) || n[i] > 1 << 14) return fail("a window");
    const Value *in = &plan->values[op->in], *out = &plan->values[op->out];
    switch (op->kind) {
    case OP_ENTER:
        if (op->port != plan->n_inputs++ || out->element != 1) return fail("an input");
        op->is_float = n[I_FLOAT] != 0;
        op->lo = (int)n[I_ENTER_LO];
        op->hi = (int)n[I_ENTER_HI];
        op->scale = (float)f[F_SCALE];
        if (op->is_float && (!(op->scale > 0) || op->lo > op->hi || op->lo < -128 || op->hi > 255)) return fail("an input");
        return 0;
    case OP_LEAVE: plan->n_outputs++; return 0;
    case OP_COUNT:
        plan->n_counts++;
        op->n = (int)n[I_N];
        op->from = (int)n[I_FROM];
        return in->element == 1 && op->n > 0 && op->from >= 0 && op->n <= in->c - op->from ? 0 : fail("a count");
    case OP_CONV:
        if (parse_conv(plan, op, n, arrays) || parse_stage(plan, op, n, arrays)) return -1;
        if (op->other >= 0 && parse_add(plan, op, n, f, arrays)) return -1;
        return choose_forms(plan, op) ? (PyErr_NoMemory(), -1) : 0;
    case OP_SUMPOOL:
        op->groups = 1;
        op->panels = (out->c + TILE_N - 1) / TILE_N;
        if (in->c != out->c || in->element != 1) return fail("a pool");
        if (take(op, arrays, A_FACTORS, (ptrdiff_t)out->h * out->w * 4, 1, (const void **)&op->factors)) return -1;
        if (parse_stage(plan, op, n, arrays)) return -1;
        return choose_forms(plan, op) ? (PyErr_NoMemory(), -1) : 0;
    case OP_MAXPOOL:
        return in->c == out->c && in->element == 1 && out->element == 1 ? 0 : fail("a pool");
    case OP_ADD:
        if (op->other < 0 || in->c != out->c || in->h != out->h || in->w != out->w || in->element != 1)
            return fail("an Add's shapes");
        return parse_add(plan, op, n, f, arrays);
    case OP_COPY: return parse_copy(plan, op, n, arrays);
    default: return fail("an operator");
    }
}

static int parse_ops(Plan *plan, PyObject *ops) {
    const Py_ssize_t n = PyTuple_GET_SIZE(ops);
    plan->ops = calloc((size_t)n + 1, sizeof *plan->ops);
    if (!plan->ops) return PyErr_NoMemory(), -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *ints, *floats, *arrays;
        int64_t numbers[I_TOTAL];
        double reals[F_TOTAL];
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(ops, i), "O!O!O!", &PyTuple_Type, &ints, &PyTuple_Type, &floats,
                              &PyTuple_Type, &arrays))
            return -1;
        if (PyTuple_GET_SIZE(ints) != I_TOTAL || PyTuple_GET_SIZE(floats) != F_TOTAL ||
            PyTuple_GET_SIZE(arrays) != A_TOTAL)
            return fail("an operator's record");
        for (int k = 0; k < I_TOTAL; k++) numbers[k] = PyLong_AsLongLong(PyTuple_GET_ITEM(ints, k));
        for (int k = 0; k < F_TOTAL; k++) reals[k] = PyFloat_AsDouble(PyTuple_GET_ITEM(floats, k));
        if (PyErr_Occurred()) return -1;
        plan->n_ops = (int)i + 1;
        if (parse_op(plan, &plan->ops[i], numbers, reals, arrays)) return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        const Op *op = &plan->ops[i];
        const int ports = plan->n_inputs + plan->n_outputs + plan->n_counts;
        if ((op->kind == OP_LEAVE || op->kind == OP_COUNT) && (op->port < plan->n_inputs || op->port >= ports))
            return fail("a port");
    }
    return 0;
}

#endif
