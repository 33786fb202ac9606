/* lowbitc.compiler.statistics._rounding: the inner loops of error feedback and coordinate descent.
 *
 * round_block.py holds the definition, and tests hold this file to it, bit for bit: the same operations in the same
 * order, compiled without contraction to fused multiply-adds. Arrays are C-contiguous float64: columns [G, K, O],
 * systems [G, K, K], scales [G, O].
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <string.h>

#if (defined(__GNUC__) || defined(__clang__)) && (defined(__x86_64__) || defined(__i386__))
#define HAVE_X86 1
#define AVX2 __attribute__((target("avx2")))
#endif
#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* Levels of a type: every other one from the odd numbers, or all whole numbers. */
typedef struct {
    int odd;
    double least, most;
} Levels;

/* Columns first … last of every group; ``inputs`` columns of ``rows`` rows in all. */
typedef struct {
    Py_ssize_t groups, inputs, rows, first, last;
    Levels levels;
} Block;

/* --- the loops ---------------------------------------------------------------------------- */

INLINE double nearest(double steps, Levels levels) {
    const double whole = levels.odd ? floor(steps * 0.5) * 2.0 + 1.0 : rint(steps);
    const double low = whole < levels.least ? levels.least : whole;
    return low > levels.most ? levels.most : low;
}

INLINE void add_scaled(double *sums, double factor, const double *values, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) sums[i] += factor * values[i];
}

INLINE void feed_back(Block b, const double *columns, const double *factor, const double *scales, double *carried,
                      double *levels, double *errors) {
    const Py_ssize_t width = b.last - b.first;
    for (Py_ssize_t g = 0; g < b.groups; g++) {
        for (Py_ssize_t k = b.first; k < b.last; k++) {
            const Py_ssize_t at = (g * b.inputs + k) * b.rows;
            const double *owed = carried + (g * width + k - b.first) * b.rows, *scale = scales + g * b.rows;
            const double *system = factor + (g * b.inputs + k) * b.inputs, diagonal = system[k];
            for (Py_ssize_t o = 0; o < b.rows; o++) {
                const double level = nearest((owed[o] / diagonal + columns[at + o]) / scale[o], b.levels);
                levels[at + o] = level;
                errors[at + o] = columns[at + o] - level * scale[o];
            }
            for (Py_ssize_t later = k + 1; later < b.last; later++)
                add_scaled(carried + (g * width + later - b.first) * b.rows, system[later], errors + at, b.rows);
        }
    }
}

INLINE int descend(Block b, const double *second, const double *scales, double *slope, double *chosen,
                   double *changes) {
    const Py_ssize_t width = b.last - b.first;
    int moved = 0;
    for (Py_ssize_t g = 0; g < b.groups; g++) {
        for (Py_ssize_t k = b.first; k < b.last; k++) {
            const Py_ssize_t at = (g * b.inputs + k) * b.rows;
            const double *system = second + (g * b.inputs + k) * b.inputs, diagonal = system[k];
            const double *scale = scales + g * b.rows;
            double *change = changes + (g * width + k - b.first) * b.rows;
            int any = 0;
            for (Py_ssize_t o = 0; o < b.rows; o++) {
                const double level = nearest(slope[at + o] / (diagonal * scale[o]) + chosen[at + o], b.levels);
                const double step = chosen[at + o] - level;
                any |= step != 0.0;
                change[o] = step * scale[o];
                chosen[at + o] = level;
            }
            if (!any) continue;
            moved = 1;
            for (Py_ssize_t other = b.first; other < b.last; other++)
                add_scaled(slope + (g * b.inputs + other) * b.rows, system[other], change, b.rows);
        }
    }
    return moved;
}

static void feed_back_plain(Block b, const double *columns, const double *factor, const double *scales,
                            double *carried, double *levels, double *errors) {
    feed_back(b, columns, factor, scales, carried, levels, errors);
}

static int descend_plain(Block b, const double *second, const double *scales, double *slope, double *chosen,
                         double *changes) {
    return descend(b, second, scales, slope, chosen, changes);
}

#ifdef HAVE_X86
AVX2 static void feed_back_avx2(Block b, const double *columns, const double *factor, const double *scales,
                                double *carried, double *levels, double *errors) {
    feed_back(b, columns, factor, scales, carried, levels, errors);
}

AVX2 static int descend_avx2(Block b, const double *second, const double *scales, double *slope, double *chosen,
                             double *changes) {
    return descend(b, second, scales, slope, chosen, changes);
}
#endif

static int has_avx2(void) {
#ifdef HAVE_X86
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
#else
    return 0;
#endif
}

/* --- from Python -------------------------------------------------------------------------- */

enum { MOST = 6 };

/* An array's dimensions: groups, inputs and rows of the block, or the block's own columns. */
typedef enum { COLUMNS, SYSTEM, SCALES, OWN_COLUMNS } Shape;

typedef struct {
    Py_buffer views[MOST];
    int held;
    double *data[MOST];
    Block block;
} Call;

static void release(Call *call) {
    while (call->held) PyBuffer_Release(&call->views[--call->held]);
}

static int fits(const Py_buffer *view, Shape shape, const Block *b) {
    if (view->itemsize != 8 || !view->format || strcmp(view->format, "d") || view->ndim != (shape == SCALES ? 2 : 3))
        return 0;
    const Py_ssize_t *found = view->shape, second = shape == SCALES ? b->rows
                                                    : shape == OWN_COLUMNS ? b->last - b->first
                                                                           : b->inputs;
    return found[0] == b->groups && found[1] == second &&
           (shape == SCALES || found[2] == (shape == SYSTEM ? b->inputs : b->rows));
}

/* Take a tuple of arrays of these shapes, of which those from ``written`` on are written; the first of COLUMNS says
 * the sizes. */
static int take(Call *call, PyObject *args, const Shape *shapes, int count, int written) {
    PyObject *arrays;
    Block *b = &call->block;
    if (!PyArg_ParseTuple(args, "O!nnpdd", &PyTuple_Type, &arrays, &b->first, &b->last, &b->levels.odd,
                          &b->levels.least, &b->levels.most))
        return 0;
    int fit = PyTuple_GET_SIZE(arrays) == count, sized = 0;
    for (; fit && call->held < count; call->held++) {
        const int i = call->held, flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (i < written ? 0 : PyBUF_WRITABLE);
        Py_buffer *view = &call->views[i];
        if (PyObject_GetBuffer(PyTuple_GET_ITEM(arrays, i), view, flags)) return 0;
        call->data[i] = view->buf;
        if (!sized && shapes[i] == COLUMNS && view->ndim == 3) {
            sized = 1;
            b->groups = view->shape[0];
            b->inputs = view->shape[1];
            b->rows = view->shape[2];
        }
    }
    fit = fit && sized && 0 <= b->first && b->first <= b->last && b->last <= b->inputs;
    for (int i = 0; fit && i < count; i++) fit = fits(&call->views[i], shapes[i], b);
    if (!fit) PyErr_SetString(PyExc_ValueError, "float64 columns [G, K, O], a system [G, K, K], scales [G, O]");
    return fit;
}

static PyObject *py_feed_back(PyObject *self, PyObject *args) {
    static const Shape shapes[] = {COLUMNS, SYSTEM, SCALES, OWN_COLUMNS, COLUMNS, COLUMNS};
    (void)self;
    Call call = {0};
    const int fit = take(&call, args, shapes, 6, 3);
    if (fit) {
        double *const *d = call.data;
        Py_BEGIN_ALLOW_THREADS
#ifdef HAVE_X86
        if (has_avx2())
            feed_back_avx2(call.block, d[0], d[1], d[2], d[3], d[4], d[5]);
        else
#endif
            feed_back_plain(call.block, d[0], d[1], d[2], d[3], d[4], d[5]);
        Py_END_ALLOW_THREADS
    }
    release(&call);
    return fit ? Py_NewRef(Py_None) : NULL;
}

static PyObject *py_descend(PyObject *self, PyObject *args) {
    static const Shape shapes[] = {SYSTEM, SCALES, COLUMNS, COLUMNS, OWN_COLUMNS};
    (void)self;
    Call call = {0};
    const int fit = take(&call, args, shapes, 5, 2);
    int moved = 0;
    if (fit) {
        double *const *d = call.data;
        Py_BEGIN_ALLOW_THREADS
#ifdef HAVE_X86
        if (has_avx2())
            moved = descend_avx2(call.block, d[0], d[1], d[2], d[3], d[4]);
        else
#endif
            moved = descend_plain(call.block, d[0], d[1], d[2], d[3], d[4]);
        Py_END_ALLOW_THREADS
    }
    release(&call);
    return fit ? PyBool_FromLong(moved) : NULL;
}

static PyMethodDef methods[] = {{"feed_back", py_feed_back, METH_VARARGS, NULL},
                                {"descend", py_descend, METH_VARARGS, NULL},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_rounding", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__rounding(void) {
    return PyModule_Create(&module);
}
