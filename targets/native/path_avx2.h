/* AVX2 kernels: 16-bit pairs (vpmaddwd, always exact) and 8-bit quads (vpmaddubsw, where proved).
 *
 * The target attribute leaves "fma" out on purpose: nothing may contract the multiply and the add of
 * FORM_FLOAT, whose proof rounds after each.
 */
#ifndef LOWBITC_PATH_AVX2_H
#define LOWBITC_PATH_AVX2_H

#include <immintrin.h>

#include "path_generic.h"

#define AVX2 __attribute__((target("avx2")))
#define AVX2_INLINE static inline __attribute__((target("avx2"), always_inline))

#define LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE(p, v) _mm256_storeu_si256((__m256i *)(void *)(p), v)
#define LOAD128(p) _mm_loadu_si128((const __m128i *)(const void *)(p))
#define STORE128(p, v) _mm_storeu_si128((__m128i *)(void *)(p), v)

/* Weights lie in the order in which they are read, panels and positions behind each other, and a block reads
 * them once: fetch what comes next before it is needed. Prefetching past their end is harmless. */
enum { AHEAD_BYTES = 4096 };
#define AHEAD(w) _mm_prefetch((const char *)(w) + AHEAD_BYTES, _MM_HINT_T0)

/* Four bytes of packed activations: a pair of int16 or a quad of uint8. */
typedef struct {
    uint8_t bytes[4];
} quad;

#include "path_avx2_products.h"

/* --- output stage ------------------------------------------------------------------------- */

/* What FORM_FLOAT needs of 16 channels, loaded once for many rows. */
typedef struct {
    __m256 scale[2], offset[2], limit[2];
} FloatStage;

AVX2_INLINE FloatStage load_float_stage(const Stage *s, int channel) {
    return (FloatStage){{_mm256_loadu_ps(s->scale + channel), _mm256_loadu_ps(s->scale + channel + 8)},
                        {_mm256_loadu_ps(s->offset + channel), _mm256_loadu_ps(s->offset + channel + 8)},
                        {_mm256_loadu_ps(s->limit + channel), _mm256_loadu_ps(s->limit + channel + 8)}};
}

/* Levels of 8 channels; with FORM_CHECKED, `far` collects how far values were from what they were
 * rounded to. Beyond the limit, float32's own error could have changed the level. */
AVX2_INLINE __m256i stage_float(const FloatStage *f, const int form, const int half, __m256i acc, __m256 *far) {
    const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), f->scale[half]);
    const __m256 value = _mm256_add_ps(product, f->offset[half]);
    if (form == FORM_CHECKED) {
        const __m256 rounded = _mm256_round_ps(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const __m256 error = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_sub_ps(value, rounded));
        far[half] = _mm256_max_ps(far[half], error);
        return _mm256_cvtps_epi32(rounded);
    }
    return _mm256_cvtps_epi32(value);
}

AVX2_INLINE int too_far(const FloatStage *f, const __m256 *far) {
    const __m256 low = _mm256_cmp_ps(far[0], f->limit[0], _CMP_GT_OQ);
    return _mm256_movemask_ps(_mm256_or_ps(low, _mm256_cmp_ps(far[1], f->limit[1], _CMP_GT_OQ)));
}

/* Two rows of 16 levels: saturated to bytes, put in order, clamped. */
AVX2_INLINE __m256i pack_levels(__m256i a0, __m256i a1, __m256i b0, __m256i b1, __m256i lo, __m256i hi,
                                const int is_signed) {
    const __m256i p = _mm256_packs_epi32(a0, a1), q = _mm256_packs_epi32(b0, b1);
    __m256i bytes = is_signed ? _mm256_packs_epi16(p, q) : _mm256_packus_epi16(p, q);
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    return is_signed ? _mm256_max_epi8(_mm256_min_epi8(bytes, hi), lo)
                     : _mm256_max_epu8(_mm256_min_epu8(bytes, hi), lo);
}

AVX2_INLINE void store_rows(uint8_t *out, ptrdiff_t ldo, __m256i bytes, int n, int both) {
    if (n == TILE_N) {
        STORE128(out, _mm256_castsi256_si128(bytes));
        if (both) STORE128(out + ldo, _mm256_extracti128_si256(bytes, 1));
    } else {
        uint8_t spare[2 * TILE_N];
        STORE(spare, bytes);
        memcpy(out, spare, (size_t)n);
        if (both) memcpy(out + ldo, spare + TILE_N, (size_t)n);
    }
}

AVX2_INLINE __m256i stage_exact(const Stage *s, int channel, __m256i acc) {
    acc = _mm256_max_epi32(acc, LOAD(s->acc_lo + channel));
    acc = _mm256_min_epi32(acc, LOAD(s->acc_hi + channel));
    acc = _mm256_add_epi32(acc, LOAD(s->bias + channel));
    __m256i low = _mm256_cvtepi32_epi64(_mm256_castsi256_si128(acc));
    __m256i high = _mm256_cvtepi32_epi64(_mm256_extracti128_si256(acc, 1));
    low = _mm256_add_epi64(_mm256_mul_epi32(low, LOAD(s->mult + channel)), LOAD(s->round + channel));
    high = _mm256_add_epi64(_mm256_mul_epi32(high, LOAD(s->mult + channel + 4)), LOAD(s->round + channel + 4));
    low = _mm256_srlv_epi64(low, LOAD(s->shift + channel));
    high = _mm256_srlv_epi64(high, LOAD(s->shift + channel + 4));
    const __m256 both = _mm256_shuffle_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high), 0x88);
    const __m256i level = _mm256_permute4x64_epi64(_mm256_castps_si256(both), 0xd8);
    return _mm256_add_epi32(level, LOAD(s->base + channel));
}

AVX2_INLINE __m256i stage_count(const Stage *s, int channel, __m256i acc) {
    __m256i level = _mm256_set1_epi32(s->lowest);
    const int32_t *below = s->below + channel;
    for (int t = 0; t < s->count; t++, below += s->stride)
        level = _mm256_sub_epi32(level, _mm256_cmpgt_epi32(acc, LOAD(below)));
    return level;
}

AVX2_INLINE void stage_rows(const Stage *s, const int form, const int is_signed, int channel, int n,
                            const int32_t *acc, int rows, uint8_t *out, ptrdiff_t ldo) {
    const __m256i lo = _mm256_broadcastsi128_si256(LOAD128(s->low + channel));
    const __m256i hi = _mm256_broadcastsi128_si256(LOAD128(s->high + channel));
    const FloatStage f = load_float_stage(s, channel);
    for (int r = 0; r < rows; r += 2, acc += 2 * TILE_N, out += 2 * ldo) {
        __m256i x[4];
        __m256 far[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
        for (int i = 0; i < 4; i++) {
            const __m256i sum = LOAD(acc + 8 * i);
            x[i] = form <= FORM_CHECKED ? stage_float(&f, form, i % 2, sum, far)
                   : form == FORM_EXACT ? stage_exact(s, channel + i % 2 * 8, sum)
                                        : stage_count(s, channel + i % 2 * 8, sum);
        }
        if (form == FORM_CHECKED && too_far(&f, far))
            for (int i = 0; i < 4; i++) x[i] = stage_exact(s, channel + i % 2 * 8, LOAD(acc + 8 * i));
        store_rows(out, ldo, pack_levels(x[0], x[1], x[2], x[3], lo, hi, is_signed), n, r + 1 < rows);
    }
}

#define STAGE_AS(FORM, N) \
    do { \
        if (s->is_signed) stage_rows(s, FORM, 1, channel, N, acc, rows, out, ldo); \
        else stage_rows(s, FORM, 0, channel, N, acc, rows, out, ldo); \
    } while (0)

AVX2 static void avx2_stage(const Stage *s, int form, int channel, int n, const int32_t *acc, int rows, uint8_t *out,
                            ptrdiff_t ldo) {
    if (form == FORM_FLOAT && n == TILE_N) STAGE_AS(FORM_FLOAT, TILE_N);
    else if (form == FORM_CHECKED && n == TILE_N) STAGE_AS(FORM_CHECKED, TILE_N);
    else if (form == FORM_FLOAT) STAGE_AS(FORM_FLOAT, n);
    else if (form == FORM_CHECKED) STAGE_AS(FORM_CHECKED, n);
    else if (form == FORM_EXACT) STAGE_AS(FORM_EXACT, n);
    else STAGE_AS(FORM_COUNT, n);
}

/* --- products and output stage in registers ------------------------------------------------ */

AVX2 static __attribute__((noinline)) void tile_exact(const Stage *s, int channel, const int32_t *acc, uint8_t *out,
                                                      ptrdiff_t ldo) {
    avx2_stage(s, FORM_EXACT, channel, TILE_N, acc, 4, out, ldo);
}

/* Levels of 4 rows by 16 channels whose sums are in registers. */
AVX2_INLINE void tile_levels(const Stage *s, const FloatStage *f, const int form, const int is_signed, int channel,
                             const __m256i *c, uint8_t *out, ptrdiff_t ldo) {
    const __m256i lo = _mm256_broadcastsi128_si256(LOAD128(s->low + channel));
    const __m256i hi = _mm256_broadcastsi128_si256(LOAD128(s->high + channel));
    __m256 far[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    __m256i bytes[2];
    for (int i = 0; i < 2; i++) {
        __m256i x[4];
        for (int k = 0; k < 4; k++) x[k] = stage_float(f, form, k % 2, c[4 * i + k], far);
        bytes[i] = pack_levels(x[0], x[1], x[2], x[3], lo, hi, is_signed);
    }
    if (form == FORM_CHECKED && too_far(f, far)) {
        int32_t acc[4 * TILE_N];
        for (int i = 0; i < 8; i++) STORE(acc + 8 * i, c[i]);
        tile_exact(s, channel, acc, out, ldo);
        return;
    }
    for (int i = 0; i < 2; i++) store_rows(out + 2 * i * ldo, ldo, bytes[i], TILE_N, 1);
}

#define REGISTERS {c00, c01, c10, c11, c20, c21, c30, c31}
#define UNPAIR(r) \
    c##r##0 = _mm256_add_epi32(_mm256_madd_epi16(c##r##0, ones), LOAD(init)); \
    c##r##1 = _mm256_add_epi32(_mm256_madd_epi16(c##r##1, ones), LOAD(init + 8));

AVX2_INLINE int levels16_as(const Stage *s, const int form, int channel, uint8_t *out, ptrdiff_t ldo, const int16_t *block,
                            ptrdiff_t lda, const int16_t *weights, int pairs, int rows, const int is_signed) {
    const FloatStage f = load_float_stage(s, channel);
    int done = 0;
    for (; done + 4 <= rows; done += 4, block += 4 * lda, out += 4 * ldo) {
        SUMS16(block, lda, weights, pairs)
        const __m256i c[8] = REGISTERS;
        tile_levels(s, &f, form, is_signed, channel, c, out, ldo);
    }
    return done;
}

AVX2_INLINE int levels8_as(const Stage *s, const int form, int channel, uint8_t *out, ptrdiff_t ldo, const uint8_t *block,
                           ptrdiff_t lda, const int8_t *weights, const int32_t *init, int quads, int rows,
                           const int is_signed) {
    const FloatStage f = load_float_stage(s, channel);
    const __m256i ones = _mm256_set1_epi16(1);
    int done = 0;
    for (; done + 4 <= rows; done += 4, block += 4 * lda, out += 4 * ldo) {
        const uint8_t *a = block;
        const int8_t *w = weights;
        ROWS_4(ZERO2)
        for (int k = 0; k < quads; k++, a += 4, w += 64) {
            const __m256i w0 = LOAD(w), w1 = LOAD(w + 32);
            ROWS_4(MAC8_2)
        }
        ROWS_4(UNPAIR)
        const __m256i c[8] = REGISTERS;
        tile_levels(s, &f, form, is_signed, channel, c, out, ldo);
    }
    return done;
}

AVX2 static int avx2_levels16(const Stage *s, int form, int channel, uint8_t *out, ptrdiff_t ldo, const int16_t *a,
                              ptrdiff_t lda, const int16_t *w, int pairs, int rows) {
    if (form == FORM_FLOAT)
        return s->is_signed ? levels16_as(s, FORM_FLOAT, channel, out, ldo, a, lda, w, pairs, rows, 1)
                            : levels16_as(s, FORM_FLOAT, channel, out, ldo, a, lda, w, pairs, rows, 0);
    return s->is_signed ? levels16_as(s, FORM_CHECKED, channel, out, ldo, a, lda, w, pairs, rows, 1)
                        : levels16_as(s, FORM_CHECKED, channel, out, ldo, a, lda, w, pairs, rows, 0);
}

AVX2 static int avx2_levels8(const Stage *s, int form, int channel, uint8_t *out, ptrdiff_t ldo, const uint8_t *a,
                             ptrdiff_t lda, const int8_t *w, const int32_t *init, int quads, int rows) {
    if (form == FORM_FLOAT)
        return s->is_signed ? levels8_as(s, FORM_FLOAT, channel, out, ldo, a, lda, w, init, quads, rows, 1)
                            : levels8_as(s, FORM_FLOAT, channel, out, ldo, a, lda, w, init, quads, rows, 0);
    return s->is_signed ? levels8_as(s, FORM_CHECKED, channel, out, ldo, a, lda, w, init, quads, rows, 1)
                        : levels8_as(s, FORM_CHECKED, channel, out, ldo, a, lda, w, init, quads, rows, 0);
}

/* --- elementwise -------------------------------------------------------------------------- */

AVX2_INLINE __m256i widen16(const uint8_t *p, int is_signed) {
    return is_signed ? _mm256_cvtepi8_epi16(LOAD128(p)) : _mm256_cvtepu8_epi16(LOAD128(p));
}

/* An Add's constants, loaded once for many rows. */
typedef struct {
    __m256i m, round, lo, hi;
    __m128i shift;
    __m256 fa, fb, offset;
} AddStage;

AVX2_INLINE AddStage load_add(const Add *op) {
    return (AddStage){
        .m = _mm256_set1_epi32((int32_t)((uint32_t)(uint16_t)op->ma | (uint32_t)(uint16_t)op->mb << 16)),
        .round = _mm256_set1_epi32(op->round), .lo = _mm256_set1_epi16((int16_t)op->lo),
        .hi = _mm256_set1_epi16((int16_t)op->hi), .shift = _mm_cvtsi32_si128(op->shift),
        .fa = _mm256_set1_ps(op->fa), .fb = _mm256_set1_ps(op->fb), .offset = _mm256_set1_ps(op->offset)};
}

AVX2_INLINE __m256i add_int16(const AddStage *c, __m256i a, __m256i b) {
    const __m256i low = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), c->m), c->round);
    const __m256i high = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), c->m), c->round);
    return _mm256_packs_epi32(_mm256_sra_epi32(low, c->shift), _mm256_sra_epi32(high, c->shift));
}

AVX2_INLINE __m256i add_float8(const AddStage *c, __m128i a, __m128i b) {
    const __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(a)), y = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(b));
    const __m256 sum = _mm256_add_ps(_mm256_mul_ps(x, c->fa), _mm256_mul_ps(y, c->fb));
    return _mm256_cvtps_epi32(_mm256_add_ps(sum, c->offset));
}

AVX2_INLINE __m256i add_float(const AddStage *c, __m256i a, __m256i b) {
    const __m256i low = add_float8(c, _mm256_castsi256_si128(a), _mm256_castsi256_si128(b));
    const __m256i high = add_float8(c, _mm256_extracti128_si256(a, 1), _mm256_extracti128_si256(b, 1));
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
}

AVX2_INLINE void add_rows(const Add *op, const int form, const int a_signed, const int b_signed, uint8_t *out,
                          ptrdiff_t ldo, const uint8_t *other, ptrdiff_t ldb, int rows, size_t n) {
    const AddStage c = load_add(op);
    const int out_signed = op->out_signed;
    const size_t whole = n / 16 * 16;
    for (int r = 0; r < rows; r++, out += ldo, other += ldb) {
        for (size_t i = 0; i < whole; i += 16) {
            const __m256i x = widen16(out + i, a_signed), y = widen16(other + i, b_signed);
            __m256i sum = form == ADD_INT16 ? add_int16(&c, x, y) : add_float(&c, x, y);
            sum = _mm256_max_epi16(_mm256_min_epi16(sum, c.hi), c.lo);
            const __m128i low = _mm256_castsi256_si128(sum), high = _mm256_extracti128_si256(sum, 1);
            STORE128(out + i, out_signed ? _mm_packs_epi16(low, high) : _mm_packus_epi16(low, high));
        }
        if (whole < n) generic_add(op, out + whole, ldo, other + whole, ldb, 1, n - whole);
    }
}

#define ADD_AS(FORM) \
    do { \
        if (op->a_signed && op->b_signed) add_rows(op, FORM, 1, 1, out, ldo, other, ldb, rows, n); \
        else if (op->a_signed) add_rows(op, FORM, 1, 0, out, ldo, other, ldb, rows, n); \
        else if (op->b_signed) add_rows(op, FORM, 0, 1, out, ldo, other, ldb, rows, n); \
        else add_rows(op, FORM, 0, 0, out, ldo, other, ldb, rows, n); \
    } while (0)

AVX2 static void avx2_add(const Add *op, uint8_t *out, ptrdiff_t ldo, const uint8_t *other, ptrdiff_t ldb, int rows,
                          size_t n) {
    if (op->form == ADD_INT16) ADD_AS(ADD_INT16);
    else if (op->form == ADD_FLOAT) ADD_AS(ADD_FLOAT);
    else generic_add(op, out, ldo, other, ldb, rows, n);
}

AVX2_INLINE void widen_rows(int16_t *out, ptrdiff_t ldo, const uint8_t *in, ptrdiff_t ldi, int rows, int n,
                            const int is_signed) {
    for (int r = 0; r < rows; r++, out += ldo, in += ldi)
        for (int i = 0; i < n; i += 16) STORE(out + i, widen16(in + i, is_signed));
}

AVX2 static void avx2_widen(int16_t *out, ptrdiff_t ldo, const uint8_t *in, ptrdiff_t ldi, int rows, int n,
                            int is_signed) {
    if (is_signed) widen_rows(out, ldo, in, ldi, rows, n, 1);
    else widen_rows(out, ldo, in, ldi, rows, n, 0);
}

AVX2 static void avx2_flip(uint8_t *out, ptrdiff_t ldo, const uint8_t *in, ptrdiff_t ldi, int rows, int n,
                           uint8_t mask) {
    const __m128i m = _mm_set1_epi8((char)mask);
    for (int r = 0; r < rows; r++, out += ldo, in += ldi)
        for (int i = 0; i < n; i += 16) STORE128(out + i, _mm_xor_si128(LOAD128(in + i), m));
}

AVX2 static void avx2_maximum(uint8_t *out, const uint8_t *in, size_t n, int is_signed) {
    size_t i = 0;
    if (is_signed)
        for (; i + 32 <= n; i += 32) STORE(out + i, _mm256_max_epi8(LOAD(out + i), LOAD(in + i)));
    else
        for (; i + 32 <= n; i += 32) STORE(out + i, _mm256_max_epu8(LOAD(out + i), LOAD(in + i)));
    generic_maximum(out + i, in + i, n - i, is_signed);
}

AVX2 static void avx2_sum(int32_t *out, const uint8_t *in, size_t n, int is_signed) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256i x = widen16(in + i, is_signed);
        STORE(out + i, _mm256_add_epi32(LOAD(out + i), _mm256_cvtepi16_epi32(_mm256_castsi256_si128(x))));
        STORE(out + i + 8, _mm256_add_epi32(LOAD(out + i + 8), _mm256_cvtepi16_epi32(_mm256_extracti128_si256(x, 1))));
    }
    generic_sum(out + i, in + i, n - i, is_signed);
}

AVX2_INLINE __m256i quantize8(const float *in, __m256 scale, __m256 lo, __m256 hi) {
    const __m256 level = _mm256_round_ps(_mm256_div_ps(_mm256_loadu_ps(in), scale),
                                         _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm256_cvttps_epi32(_mm256_min_ps(_mm256_max_ps(level, lo), hi));
}

AVX2 static void avx2_quantize(uint8_t *out, const float *in, size_t n, float scale, int lo, int hi) {
    const __m256 s = _mm256_set1_ps(scale), low = _mm256_set1_ps((float)lo), high = _mm256_set1_ps((float)hi);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m256i words = _mm256_packs_epi32(quantize8(in + i, s, low, high), quantize8(in + i + 8, s, low, high));
        words = _mm256_permute4x64_epi64(words, 0xd8);
        const __m128i a = _mm256_castsi256_si128(words), b = _mm256_extracti128_si256(words, 1);
        STORE128(out + i, lo < 0 ? _mm_packs_epi16(a, b) : _mm_packus_epi16(a, b));
    }
    generic_quantize(out + i, in + i, n - i, scale, lo, hi);
}

AVX2 static uint64_t avx2_nonzero(const uint8_t *in, size_t n) {
    uint64_t zeros = 0;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const uint32_t mask = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(LOAD(in + i), _mm256_setzero_si256()));
        zeros += (uint64_t)__builtin_popcount(mask);
    }
    return i - zeros + generic_nonzero(in + i, n - i);
}

#include "path_avx2_spatial.h"
#include "path_avx2_strassen.h"

static const Path avx2_path = {
    .name = "avx2", .mr = 4, .fast = 1,
    .gemm16 = avx2_gemm16, .gemm8 = avx2_gemm8, .stage = avx2_stage, .add = avx2_add,
    .levels16 = avx2_levels16, .levels8 = avx2_levels8, .strassen = avx2_strassen, .mix = avx2_mix, .widen = avx2_widen, .flip = avx2_flip,
    .pair = avx2_pair, .depthwise = avx2_depthwise, .depthwise_levels = avx2_depthwise_levels,
    .maximum = avx2_maximum,
    .sum = avx2_sum, .quantize = avx2_quantize, .lookup = generic_lookup, .nonzero = avx2_nonzero, .wino_in = {avx2_wino_in2, avx2_wino_in4, avx2_wino_in_strided},
    .wino_out = {avx2_wino_out2, avx2_wino_out4, avx2_wino_out_strided},
};

#endif
