/* lowbitc.training._sums: products of matrices in which every addition rounds to FP16 (1-6-9).
 *
 * sums.py holds the definition, and tests hold this file to it, bit for bit. A float32 is rounded to a step of
 * 2^s, ties to even, by adding and taking off 1.5 · 2^(s + 23): the sum's last bit is worth 2^s. Compiled without
 * contraction to fused multiply-adds, as every rounding counts.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPONENT 0x7f800000                      /* of a float32 */
#define LEAST ((127 - 30) << 23)                 /* the least normal number's; below it steps stay 2^-39 */
#define LIFT ((14 << 23) + (1 << 22))            /* 2^e becomes 1.5 · 2^(e + 14), whose last bit is 2^(e - 9) */
#define LARGEST (1023 * 8388608.0f)              /* (2 - 2^-9) · 2^32 */
enum { BITS = 10, LEAST_STEP = -39, TOP = 32 };  /* significant bits; exponents of the least step and a safe sum */
enum { ROWS = 4, COLUMNS = 16, DEPTH = 256 };    /* of a block; DEPTH · COLUMNS floats stay in the L1 cache */

/* What a matrix's values need: all are below 2^top, and multiples of 2^step with ``bits`` significant bits. */
typedef struct {
    int top, step, bits;
} Span;

typedef struct {
    const float *a, *b; /* [m, k] and [k, n] */
    float *c;           /* [m, n] */
    Py_ssize_t m, k, n, chunk;
    int wide, clamps; /* products are rounded; sums in a chunk may pass the largest number */
} Product;

/* Add ``depth`` products to 1, 2 or 4 rows of sums; a chunk that ends goes on to the totals. */
typedef void Block(const Product *p, const float *a, const float *b, Py_ssize_t depth, int rows, float *sums,
                   float *totals, int ends);

/* --- anywhere ----------------------------------------------------------------------------- */

static inline Span span_of(const float *x, Py_ssize_t count) {
    uint32_t largest = 0, past_least = ~0u, bits = 1u << 23;
    for (Py_ssize_t i = 0; i < count; i++) {
        uint32_t u;
        memcpy(&u, x + i, 4);
        u &= 0x7fffffff;
        largest = u > largest ? u : largest;
        past_least = u - 1 < past_least ? u - 1 : past_least; /* a zero wraps round, and does not count */
        bits |= u;
    }
    int trailing = 0;
    while (!(bits >> trailing & 1)) trailing++;
    const int significant = 24 - trailing;
    /* Of subnormal float32 this says too little: their step is below any that matters. */
    return (Span){(int)(largest >> 23) - 126, (int)((past_least & EXPONENT) >> 23) - 126 - significant, significant};
}

static inline float round_sum(float x, int clamps) {
    int32_t e;
    float lift;
    if (clamps) x = x > LARGEST ? LARGEST : x < -LARGEST ? -LARGEST : x;
    memcpy(&e, &x, 4);
    e &= EXPONENT;
    e = (e > LEAST ? e : LEAST) + LIFT;
    memcpy(&lift, &e, 4);
    return (x + lift) - lift;
}

static void block_generic(const Product *p, const float *a, const float *b, Py_ssize_t depth, int rows, float *sums,
                          float *totals, int ends) {
    for (int r = 0; r < rows; r++, a += p->k, sums += COLUMNS, totals += COLUMNS) {
        for (Py_ssize_t i = 0; i < depth; i++)
            for (int j = 0; j < COLUMNS; j++) {
                const float product = a[i] * b[i * COLUMNS + j];
                sums[j] = round_sum(sums[j] + (p->wide ? round_sum(product, 1) : product), p->clamps);
            }
        for (int j = 0; ends && j < COLUMNS; j++) {
            totals[j] = round_sum(totals[j] + sums[j], 1);
            sums[j] = 0;
        }
    }
}

/* --- AVX2 --------------------------------------------------------------------------------- */

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#define HAVE_X86 1
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX2_INLINE static inline __attribute__((target("avx2,fma"), always_inline))
enum { LANES = 8, VECTORS = COLUMNS / LANES };

AVX2 static Span span_avx2(const float *x, Py_ssize_t count) {
    return span_of(x, count);
}

AVX2_INLINE __m256 round_avx2(__m256 x, int clamps) {
    /* Of two operands of which one is NaN these return the second: NaN stays. */
    if (clamps) x = _mm256_max_ps(_mm256_set1_ps(-LARGEST), _mm256_min_ps(_mm256_set1_ps(LARGEST), x));
    __m256i e = _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(EXPONENT));
    e = _mm256_add_epi32(_mm256_max_epi32(e, _mm256_set1_epi32(LEAST)), _mm256_set1_epi32(LIFT));
    const __m256 lift = _mm256_castsi256_ps(e);
    return _mm256_sub_ps(_mm256_add_ps(x, lift), lift);
}

AVX2_INLINE void rows_avx2(const float *a, Py_ssize_t lda, const float *b, Py_ssize_t depth, int rows, float *sums,
                           float *totals, int ends, int wide, int clamps) {
    __m256 s[ROWS][VECTORS];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < VECTORS; v++) s[r][v] = _mm256_loadu_ps(sums + r * COLUMNS + v * LANES);
    for (Py_ssize_t i = 0; i < depth; i++)
        for (int r = 0; r < rows; r++) {
            const __m256 x = _mm256_broadcast_ss(a + r * lda + i);
            for (int v = 0; v < VECTORS; v++) {
                const __m256 y = _mm256_loadu_ps(b + i * COLUMNS + v * LANES);
                /* Where products are not rounded they are exact, so that fusing them with the sum is too. */
                s[r][v] = wide ? _mm256_add_ps(s[r][v], round_avx2(_mm256_mul_ps(x, y), 1))
                               : _mm256_fmadd_ps(x, y, s[r][v]);
                s[r][v] = round_avx2(s[r][v], clamps);
            }
        }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < VECTORS; v++) {
            float *sum = sums + r * COLUMNS + v * LANES, *total = totals + r * COLUMNS + v * LANES;
            if (ends) {
                _mm256_storeu_ps(total, round_avx2(_mm256_add_ps(_mm256_loadu_ps(total), s[r][v]), 1));
                s[r][v] = _mm256_setzero_ps();
            }
            _mm256_storeu_ps(sum, s[r][v]);
        }
}

AVX2 static void block_avx2(const Product *p, const float *a, const float *b, Py_ssize_t depth, int rows, float *sums,
                            float *totals, int ends) {
    /* One copy of the loop for each case, so that none tests inside. */
#define CASE(r, w, c) \
    if (rows == r && !p->wide == !w && !p->clamps == !c) { \
        rows_avx2(a, p->k, b, depth, r, sums, totals, ends, w, c); \
        return; \
    }
    CASE(4, 0, 0) CASE(4, 0, 1) CASE(4, 1, 0) CASE(4, 1, 1)
    CASE(2, 0, 0) CASE(2, 0, 1) CASE(2, 1, 0) CASE(2, 1, 1)
    CASE(1, 0, 0) CASE(1, 0, 1) CASE(1, 1, 0) CASE(1, 1, 1)
#undef CASE
}
#endif

/* What a CPU runs. */
typedef struct {
    Span (*span)(const float *x, Py_ssize_t count);
    Block *block;
} Path;

static Span span_generic(const float *x, Py_ssize_t count) {
    return span_of(x, count);
}

static Path choose_path(int generic) {
#ifdef HAVE_X86
    __builtin_cpu_init();
    if (!generic && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (Path){span_avx2, block_avx2};
#endif
    (void)generic;
    return (Path){span_generic, block_generic};
}

/* --- which roundings change nothing ------------------------------------------------------- */

static int log2_ceil(Py_ssize_t count) {
    int log = 0;
    while (((Py_ssize_t)1 << log) < count) log++;
    return log;
}

/* A product of few bits, in range, is its own rounding. Sums: take every product as 2^t, above all. Then sums are
 * multiples of it, exact up to 2^BITS of them; from there on adding one more is a tie that goes back to even. And
 * rounding never makes the smaller of two numbers the larger. */
static void prove(Product *p, const Path *path) {
    const Span a = path->span(p->a, p->m * p->k), b = path->span(p->b, p->k * p->n);
    const int top = a.top + b.top, log = log2_ceil(p->chunk);
    p->wide = a.bits + b.bits > BITS || a.step + b.step < LEAST_STEP || top > TOP;
    p->clamps = top + (log < BITS ? log : BITS) > TOP;
}

/* --- one product -------------------------------------------------------------------------- */

/* ``sums`` and ``totals`` hold m rows of COLUMNS. */
static void multiply(const Product *p, Block *block, Py_ssize_t first, Py_ssize_t last, float *sums, float *totals) {
    float packed[DEPTH * COLUMNS];
    const size_t bytes = (size_t)p->m * COLUMNS * sizeof(float);
    for (Py_ssize_t column = first; column < last; column += COLUMNS) {
        const Py_ssize_t width = last - column < COLUMNS ? last - column : COLUMNS;
        memset(sums, 0, bytes);
        memset(totals, 0, bytes);
        memset(packed, 0, sizeof packed);
        for (Py_ssize_t k = 0, depth; k < p->k; k += depth) {
            const Py_ssize_t whole = k - k % p->chunk + p->chunk, end = whole < p->k ? whole : p->k;
            depth = end - k < DEPTH ? end - k : DEPTH;
            for (Py_ssize_t i = 0; i < depth; i++)
                memcpy(packed + i * COLUMNS, p->b + (k + i) * p->n + column, (size_t)width * sizeof(float));
            for (Py_ssize_t row = 0, rows; row < p->m; row += rows) {
                rows = p->m - row < 2 ? 1 : p->m - row < ROWS ? 2 : ROWS;
                block(p, p->a + row * p->k + k, packed, depth, (int)rows, sums + row * COLUMNS,
                      totals + row * COLUMNS, k + depth == end);
            }
        }
        for (Py_ssize_t row = 0; row < p->m; row++)
            memcpy(p->c + row * p->n + column, totals + row * COLUMNS, (size_t)width * sizeof(float));
    }
}

static int is_matrix(const Py_buffer *view, Py_ssize_t rows, Py_ssize_t columns) {
    return view->ndim == 2 && view->itemsize == 4 && view->format && !strcmp(view->format, "f") &&
           view->shape[0] == rows && view->shape[1] == columns;
}

static PyObject *py_multiply(PyObject *self, PyObject *args) {
    (void)self;
    PyObject *objects[3];
    Py_buffer views[3];
    Product p = {0};
    Py_ssize_t first, last;
    int generic, held = 0;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "OOOnnnp", &objects[0], &objects[1], &objects[2], &p.chunk, &first, &last, &generic))
        return NULL;
    for (; held < 3; held++)
        if (PyObject_GetBuffer(objects[held], &views[held],
                               PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (held == 2 ? PyBUF_WRITABLE : 0)))
            goto done;
    if (views[0].ndim == 2 && views[1].ndim == 2) {
        p.m = views[0].shape[0];
        p.k = views[0].shape[1];
        p.n = views[1].shape[1];
    }
    if (!is_matrix(&views[0], p.m, p.k) || !is_matrix(&views[1], p.k, p.n) || !is_matrix(&views[2], p.m, p.n) ||
        p.chunk < 1 || first < 0 || last < first || last > p.n) {
        PyErr_SetString(PyExc_ValueError, "float32 matrices [m, k], [k, n], [m, n], a chunk, and columns of n");
        goto done;
    }
    p.a = views[0].buf;
    p.b = views[1].buf;
    p.c = views[2].buf;
    float *sums = malloc((size_t)(p.m + 1) * COLUMNS * 2 * sizeof(float));
    if (!sums) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    const Path path = choose_path(generic);
    prove(&p, &path);
    multiply(&p, path.block, first, last, sums, sums + p.m * COLUMNS);
    Py_END_ALLOW_THREADS
    free(sums);
    result = Py_NewRef(Py_None);
done:
    while (held--) PyBuffer_Release(&views[held]);
    return result;
}

static PyMethodDef methods[] = {{"multiply", py_multiply, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_sums", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__sums(void) {
    return PyModule_Create(&module);
}
