/* lowbitc.targets.native._kernels: a plan of integer layers, run with the GIL released.
 *
 * plan.py builds the arguments and proves which output forms are exact; this file checks what memory
 * safety needs (sizes, ids, windows) and runs.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "pack.h"
#include "spatial.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <cpuid.h>

#include "path_avx512.h"
#define HAVE_X86 1
#endif

#ifdef HAVE_X86
enum { CPU_AVX2 = 1, CPU_VNNI = 2 };

/* What the CPU has and the operating system saves the registers of. */
static int cpu_features(void) {
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) return 0; /* OSXSAVE */
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    const int avx2 = b >> 5 & 1, f = b >> 16 & 1, bw = b >> 30 & 1, vl = b >> 31 & 1, vnni = c >> 11 & 1;
    return (avx2 ? CPU_AVX2 : 0) | (avx2 && f && bw && vl && vnni && (low & 0xe6) == 0xe6 ? CPU_VNNI : 0);
}
#endif

static const Path *find_path(const char *name) {
#ifdef HAVE_X86
    const int has = cpu_features();
    if ((!*name || !strcmp(name, "avx512_vnni")) && has & CPU_VNNI && vnni_prepare()) return &vnni_path;
    if ((!*name || !strcmp(name, "avx2")) && has & CPU_AVX2) return &avx2_path;
#endif
    if (!*name || !strcmp(name, "generic")) return &generic_path;
    return NULL;
}

/* --- running ------------------------------------------------------------------------------ */

static ptrdiff_t op_scratch(const Plan *plan, const Op *op) {
    const Value *in = &plan->values[op->in], *out = &plan->values[op->out];
    const ptrdiff_t tile = (MAX_ROWS + 6) * TILE_N * (ptrdiff_t)sizeof(int32_t);
    if (op->kind == OP_ENTER) return LINE_TASK_BYTES + (ptrdiff_t)out->w * out->c;
    if (op->kind == OP_SUMPOOL) return (out->c + 4 * TILE_N) * (ptrdiff_t)sizeof(int32_t);
    if (op->kind != OP_CONV) return 0;
    switch (op->algo) {
    case ALGO_GEMM16: return tile + gemm_block_limit(plan, op) * packed_stride(op) * 2;
    case ALGO_STRASSEN: return tile + gemm_block_limit(plan, op) * packed_stride(op) * 4;
    case ALGO_GEMM8: return tile + gemm_block_limit(plan, op) * packed_stride(op);
    case ALGO_DEPTHWISE: {
        const ptrdiff_t lines = (depthwise_block_limit(plan, op) - 1) * op->win.sh + (op->win.kh - 1) * op->win.dh + 1;
        const ptrdiff_t width = line_width(in, out, &op->win);
        return (out->w + 4) * TILE_N * (ptrdiff_t)sizeof(int32_t) + (width + op->win.dw + 1) * TILE_N * 2 +
               lines * line_size(in, out, op) * 2;
    }
    default: {
        return tile + wino_block_limit(plan, op) * wino_positions(op) * (ptrdiff_t)(wino_together(in) * TILE_N * 4 + wino_stride(in) * 2);
    }
    }
}

static void run_op(Job *j) {
    const Op *op = j->op;
    const Value *in = value_of(j, op->in), *out = value_of(j, op->out);
    Task *task = NULL;
    switch (op->kind) {
    case OP_ENTER: task = enter_task; split_lines(j, out->h, (ptrdiff_t)out->w * out->c); break;
    case OP_LEAVE: task = leave_task; split_lines(j, in->h, (ptrdiff_t)in->w * in->c * in->element); break;
    case OP_MAXPOOL: task = maxpool_task; split_lines(j, out->h, (ptrdiff_t)out->w * out->c); break;
    case OP_SUMPOOL: task = sumpool_task; split_lines(j, out->h, (ptrdiff_t)out->w * out->c); break;
    case OP_ADD: task = add_task; split_lines(j, out->h, (ptrdiff_t)out->w * out->c); break;
    case OP_COPY: task = copy_task; split_lines(j, out->h, (ptrdiff_t)out->w * out->c); break;
    case OP_COUNT:
        task = count_task;
        j->block = (in->h * in->w + 15) / 16;
        j->tasks = (in->h * in->w + j->block - 1) / j->block;
        break;
    default:
        if (op->algo == ALGO_DEPTHWISE) {
            task = depthwise_task;
            j->block = depthwise_block_limit(j->plan, op);
            const int blocks = j->batch * ((out->h + j->block - 1) / j->block);
            j->split = blocks >= 4 * j->threads ? 1 : imin(op->panels, (4 * j->threads + blocks - 1) / blocks);
            j->tasks = blocks * j->split;
        } else if (is_product(op)) {
            const int panels = op->groups * op->panels;
            task = gemm_task;
            if (is_mixed(j)) j->step *= 2;
            balance(j, j->batch * out->h * out->w, gemm_block_limit(j->plan, op), is_mixed(j) ? (panels + 1) / 2 : panels);
        } else {
            const int m = wino_size(op), tiles = j->batch * ((out->h + m - 1) / m) * ((out->w + m - 1) / m);
            task = wino_task;
            balance(j, tiles, wino_block_limit(j->plan, op), (op->panels + wino_together(in) - 1) / wino_together(in));
        }
    }
    pool_for(task, j, j->tasks, j->threads);
}

/* Grow the arena and the scratch to what this batch and thread count need. */
static int reserve(Plan *plan, int batch, int threads) {
    const ptrdiff_t need = plan->arena_per_image * batch + SLACK;
    if (need > plan->arena_capacity) {
        free(plan->arena);
        plan->arena = NULL;
        plan->arena_capacity = 0;
        void *p = NULL;
        if (posix_memalign(&p, 64, (size_t)need) != 0) return -1;
        memset(p, 0, (size_t)need);
        plan->arena = p;
        plan->arena_capacity = need;
    }
    if (threads > plan->scratch_threads) {
        free(plan->scratch);
        plan->scratch = NULL;
        plan->scratch_threads = 0;
        void *p = NULL;
        const size_t bytes = (size_t)(plan->scratch_bytes * threads) + SLACK;
        if (posix_memalign(&p, 64, bytes) != 0) return -1;
        memset(p, 0, bytes);
        plan->scratch = p;
        plan->scratch_threads = threads;
    }
    return 0;
}

static int run_chunk(Plan *plan, uint8_t *const *ports, int first, int batch, int threads) {
    if (reserve(plan, batch, threads) != 0) return -1;
    for (int i = 0; i < plan->n_ops; i++) {
        const Op *op = &plan->ops[i];
        Job j = {.plan = plan, .op = op, .batch = batch, .threads = threads, .step = plan->path->mr, .split = 1};
        if (op->kind == OP_ENTER) j.source = ports[op->port] + first * plan->values[op->out].bytes * (op->is_float ? 4 : 1);
        if (op->kind == OP_LEAVE) j.target = ports[op->port] + first * plan->values[op->in].bytes;
        if (op->kind == OP_COUNT) j.target = ports[op->port];
        run_op(&j);
    }
    return 0;
}

/* --- Python: the plan object -------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Plan plan;
    int ready;
} PlanObject;

static void plan_dealloc(PyObject *self) {
    Plan *plan = &((PlanObject *)self)->plan;
    for (int i = 0; i < plan->n_ops; i++)
        for (int k = 0; k < plan->ops[i].n_owned; k++) free(plan->ops[i].owned[k]);
    free(plan->ops);
    free(plan->values);
    free(plan->arena);
    free(plan->scratch);
    free(plan->zeros);
    if (((PlanObject *)self)->ready) pthread_mutex_destroy(&plan->lock);
    PyTypeObject *type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

#include "parse.h"

/* Plan(path, arena_per_image, values, ops) */
static int plan_init(PyObject *self, PyObject *args, PyObject *kwargs) {
    Plan *plan = &((PlanObject *)self)->plan;
    const char *path;
    Py_ssize_t arena;
    PyObject *values, *ops;
    (void)kwargs;
    if (((PlanObject *)self)->ready || plan->values) {
        PyErr_SetString(PyExc_TypeError, "a plan is built once");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "snO!O!", &path, &arena, &PyTuple_Type, &values, &PyTuple_Type, &ops)) return -1;
    plan->path = find_path(path);
    if (!plan->path) {
        PyErr_Format(PyExc_ValueError, "this CPU has no path '%s'", path);
        return -1;
    }
    plan->arena_per_image = arena;
    if (parse_values(plan, values) != 0 || parse_ops(plan, ops) != 0) return -1;
    for (int i = 0; i < plan->n_ops; i++) {
        const ptrdiff_t bytes = round_up(op_scratch(plan, &plan->ops[i]) + SLACK, 64);
        if (bytes > plan->scratch_bytes) plan->scratch_bytes = bytes;
    }
    pthread_mutex_init(&plan->lock, NULL);
    ((PlanObject *)self)->ready = 1;
    return 0;
}

/* run(ports, batch, chunk, threads): ports are C-contiguous buffers in the order of the port numbers */
static PyObject *plan_run(PyObject *self, PyObject *args) {
    Plan *plan = &((PlanObject *)self)->plan;
    PyObject *ports;
    int batch, chunk, threads;
    if (!((PlanObject *)self)->ready || !PyArg_ParseTuple(args, "O!iii", &PyTuple_Type, &ports, &batch, &chunk, &threads))
        return NULL;
    if (batch < 1 || chunk < 1 || threads < 1) return PyErr_Format(PyExc_ValueError, "batch, chunk and threads are positive");
    const Py_ssize_t n = PyTuple_GET_SIZE(ports);
    Py_buffer *views = PyMem_Calloc((size_t)n + 1, sizeof *views);
    uint8_t **data = PyMem_Calloc((size_t)n + 1, sizeof *data);
    int ok = views && data && n == plan->n_inputs + plan->n_outputs + plan->n_counts;
    if (!ok) PyErr_Format(PyExc_ValueError, "expected %d arrays", plan->n_inputs + plan->n_outputs + plan->n_counts);
    Py_ssize_t got = 0;
    for (; ok && got < n; got++) {
        const int flags = got < plan->n_inputs ? PyBUF_C_CONTIGUOUS : PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE;
        if (PyObject_GetBuffer(PyTuple_GET_ITEM(ports, got), &views[got], flags) != 0) { ok = 0; break; }
        data[got] = views[got].buf;
    }
    for (int i = 0; ok && i < plan->n_ops; i++) {
        const Op *op = &plan->ops[i];
        if (op->kind != OP_ENTER && op->kind != OP_LEAVE && op->kind != OP_COUNT) continue;
        const Value *v = &plan->values[op->kind == OP_ENTER ? op->out : op->in];
        const ptrdiff_t bytes = op->kind == OP_COUNT ? (ptrdiff_t)v->h * v->w * 8 : v->bytes * batch * (op->is_float ? 4 : 1);
        if (views[op->port].len != bytes) {
            PyErr_Format(PyExc_ValueError, "array %d has %zd bytes, expected %zd", op->port, views[op->port].len, bytes);
            ok = 0;
        }
    }
    if (ok) {
        Py_BEGIN_ALLOW_THREADS
        pthread_mutex_lock(&plan->lock);
        threads = pool_acquire(threads);
        const int chunks = (batch + chunk - 1) / chunk;
        for (int i = 0; i < chunks && ok; i++) {
            const int first = part_start(batch, chunks, i);
            ok = run_chunk(plan, data, first, part_start(batch, chunks, i + 1) - first, threads) == 0;
        }
        pool_release();
        pthread_mutex_unlock(&plan->lock);
        Py_END_ALLOW_THREADS
        if (!ok) PyErr_NoMemory();
    }
    for (Py_ssize_t i = 0; i < got; i++) PyBuffer_Release(&views[i]);
    PyMem_Free(views);
    PyMem_Free(data);
    if (!ok) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef plan_methods[] = {
    {"run", plan_run, METH_VARARGS, "Run a batch: run(arrays, batch, chunk, threads)."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot plan_slots[] = {
    {Py_tp_dealloc, (void *)plan_dealloc}, {Py_tp_init, (void *)plan_init}, {Py_tp_methods, plan_methods},
    {Py_tp_new, (void *)PyType_GenericNew}, {Py_tp_doc, "A compiled plan of integer layers."}, {0, NULL},
};

static PyType_Spec plan_spec = {"lowbitc.targets.native._kernels.Plan", sizeof(PlanObject), 0, Py_TPFLAGS_DEFAULT, plan_slots};

static PyObject *module_paths(PyObject *self, PyObject *unused) {
    (void)self;
    (void)unused;
    if (find_path("avx512_vnni")) return Py_BuildValue("(sss)", "avx512_vnni", "avx2", "generic");
    if (find_path("avx2")) return Py_BuildValue("(ss)", "avx2", "generic");
    return Py_BuildValue("(s)", "generic");
}

static PyMethodDef module_methods[] = {
    {"paths", module_paths, METH_NOARGS, "Instruction-set paths this CPU has, fastest first."},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module) {
    PyObject *type = PyType_FromSpec(&plan_spec);
    if (!type) return -1;
    pthread_atfork(NULL, NULL, pool_after_fork);
    const int failed = PyModule_AddObject(module, "Plan", type);
    if (failed) Py_DECREF(type);
    return failed;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, (void *)module_exec}, {0, NULL}};
static struct PyModuleDef module_def = {PyModuleDef_HEAD_INIT, "_kernels", "Integer kernels.", 0, module_methods,
                                        module_slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModuleDef_Init(&module_def); }
