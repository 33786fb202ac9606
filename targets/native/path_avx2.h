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

AVX2_INLINE __m256i broadcast32(const void *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

/* --- matrix products ---------------------------------------------------------------------- */

#define ROWS_1(X) X(0)
#define ROWS_2(X) ROWS_1(X) X(1)
#define ROWS_3(X) ROWS_2(X) X(2)
#define ROWS_4(X) ROWS_3(X) X(3)
#define ROWS_5(X) ROWS_4(X) X(4)
#define ROWS_6(X) ROWS_5(X) X(5)

#define ZERO2(r) __m256i c##r##0 = _mm256_setzero_si256(), c##r##1 = c##r##0;
#define ZERO1(r) __m256i c##r##0 = _mm256_setzero_si256();
#define CLEAR2(r) c##r##0 = c##r##1 = _mm256_setzero_si256();
#define CLEAR1(r) c##r##0 = _mm256_setzero_si256();
#define STORE2(r) STORE(c + r * TILE_N, c##r##0); STORE(c + r * TILE_N + 8, c##r##1);
#define STORE1(r) STORE(c + r * TILE_N, c##r##0);

#define MAC16_2(r) { \
    const __m256i x = broadcast32(a + r * lda); \
    c##r##0 = _mm256_add_epi32(c##r##0, _mm256_madd_epi16(x, w0)); \
    c##r##1 = _mm256_add_epi32(c##r##1, _mm256_madd_epi16(x, w1)); }
#define MAC16_1(r) c##r##0 = _mm256_add_epi32(c##r##0, _mm256_madd_epi16(broadcast32(a + r * lda), w0));

#define MAC8_2(r) { \
    const __m256i x = broadcast32(a + r * lda); \
    c##r##0 = _mm256_add_epi16(c##r##0, _mm256_maddubs_epi16(x, w0)); \
    c##r##1 = _mm256_add_epi16(c##r##1, _mm256_maddubs_epi16(x, w1)); }
#define MAC8_1(r) c##r##0 = _mm256_add_epi16(c##r##0, _mm256_maddubs_epi16(broadcast32(a + r * lda), w0));
#define INIT2(r) STORE(c + r * TILE_N, i0); STORE(c + r * TILE_N + 8, i1);
#define INIT1(r) STORE(c + r * TILE_N, i0);
#define WIDEN1(r) STORE(c + r * TILE_N, _mm256_add_epi32(LOAD(c + r * TILE_N), _mm256_madd_epi16(c##r##0, ones)));
#define WIDEN2(r) WIDEN1(r) \
    STORE(c + r * TILE_N + 8, _mm256_add_epi32(LOAD(c + r * TILE_N + 8), _mm256_madd_epi16(c##r##1, ones)));

#define GEMM(R) \
    AVX2 static void gemm16_##R##x16(int32_t *c, const int16_t *a, ptrdiff_t lda, const int16_t *w, int pairs) { \
        ROWS_##R(ZERO2) \
        for (int k = 0; k < pairs; k++, a += 2, w += 32) { \
            const __m256i w0 = LOAD(w), w1 = LOAD(w + 16); \
            ROWS_##R(MAC16_2) \
        } \
        ROWS_##R(STORE2) \
    } \
    AVX2 static void gemm16_##R##x8(int32_t *c, const int16_t *a, ptrdiff_t lda, const int16_t *w, int pairs) { \
        ROWS_##R(ZERO1) \
        for (int k = 0; k < pairs; k++, a += 2, w += 16) { \
            const __m256i w0 = LOAD(w); \
            ROWS_##R(MAC16_1) \
        } \
        ROWS_##R(STORE1) \
    } \
    AVX2 static void gemm8_##R##x16(int32_t *c, const uint8_t *a, ptrdiff_t lda, const int8_t *w, \
                                    const int32_t *init, int quads, int chunk) { \
        const __m256i ones = _mm256_set1_epi16(1); \
        { \
            const __m256i i0 = LOAD(init), i1 = LOAD(init + 8); \
            ROWS_##R(INIT2) \
        } \
        ROWS_##R(ZERO2) \
        for (int k = 0; k < quads;) { \
            const int end = imin(k + chunk, quads); \
            ROWS_##R(CLEAR2) \
            for (; k < end; k++, a += 4, w += 64) { \
                const __m256i w0 = LOAD(w), w1 = LOAD(w + 32); \
                ROWS_##R(MAC8_2) \
            } \
            ROWS_##R(WIDEN2) \
        } \
    } \
    AVX2 static void gemm8_##R##x8(int32_t *c, const uint8_t *a, ptrdiff_t lda, const int8_t *w, \
                                   const int32_t *init, int quads, int chunk) { \
        const __m256i ones = _mm256_set1_epi16(1); \
        { \
            const __m256i i0 = LOAD(init); \
            ROWS_##R(INIT1) \
        } \
        ROWS_##R(ZERO1) \
        for (int k = 0; k < quads;) { \
            const int end = imin(k + chunk, quads); \
            ROWS_##R(CLEAR1) \
            for (; k < end; k++, a += 4, w += 32) { \
                const __m256i w0 = LOAD(w); \
                ROWS_##R(MAC8_1) \
            } \
            ROWS_##R(WIDEN1) \
        } \
    }

GEMM(1)
GEMM(2)
GEMM(3)
GEMM(4)
GEMM(5)
GEMM(6)

static void avx2_gemm16(int32_t *c, const int16_t *a, ptrdiff_t lda, const int16_t *w, int pairs, int rows, int nr) {
    typedef void kernel(int32_t *, const int16_t *, ptrdiff_t, const int16_t *, int);
    static kernel *const wide[] = {gemm16_1x16, gemm16_2x16, gemm16_3x16, gemm16_4x16, gemm16_5x16, gemm16_6x16};
    static kernel *const half[] = {gemm16_1x8, gemm16_2x8, gemm16_3x8, gemm16_4x8, gemm16_5x8, gemm16_6x8};
    (nr == 16 ? wide : half)[rows - 1](c, a, lda, w, pairs);
}

static void avx2_gemm8(int32_t *c, const uint8_t *a, ptrdiff_t lda, const int8_t *w, const int32_t *init, int quads,
                       int chunk, int rows, int nr) {
    typedef void kernel(int32_t *, const uint8_t *, ptrdiff_t, const int8_t *, const int32_t *, int, int);
    static kernel *const wide[] = {gemm8_1x16, gemm8_2x16, gemm8_3x16, gemm8_4x16, gemm8_5x16, gemm8_6x16};
    static kernel *const half[] = {gemm8_1x8, gemm8_2x8, gemm8_3x8, gemm8_4x8, gemm8_5x8, gemm8_6x8};
    (nr == 16 ? wide : half)[rows - 1](c, a, lda, w, init, quads, chunk);
}

/* --- output stage ------------------------------------------------------------------------- */

AVX2_INLINE __m256i stage_float(const Stage *s, int channel, __m256i acc) {
    const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(s->scale + channel));
    return _mm256_cvtps_epi32(_mm256_add_ps(scaled, _mm256_loadu_ps(s->offset + channel)));
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

AVX2_INLINE void stage_rows(const Stage *s, const int form, int channel, int n, const int32_t *acc, int rows,
                            uint8_t *out, ptrdiff_t ldo) {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i lo = _mm256_broadcastsi128_si256(LOAD128(s->low + channel));
    const __m256i hi = _mm256_broadcastsi128_si256(LOAD128(s->high + channel));
    for (int r = 0; r < rows; r += 2) {
        __m256i level[4];
        for (int i = 0; i < 4; i++) {
            const __m256i x = LOAD(acc + (r + i / 2) * TILE_N + i % 2 * 8);
            const int c = channel + i % 2 * 8;
            level[i] = form == FORM_FLOAT   ? stage_float(s, c, x)
                       : form == FORM_EXACT ? stage_exact(s, c, x)
                                            : stage_count(s, c, x);
        }
        const __m256i p = _mm256_packs_epi32(level[0], level[1]), q = _mm256_packs_epi32(level[2], level[3]);
        __m256i bytes = s->is_signed ? _mm256_packs_epi16(p, q) : _mm256_packus_epi16(p, q);
        bytes = _mm256_permutevar8x32_epi32(bytes, order);
        bytes = s->is_signed ? _mm256_max_epi8(_mm256_min_epi8(bytes, hi), lo)
                             : _mm256_max_epu8(_mm256_min_epu8(bytes, hi), lo);
        const __m128i even = _mm256_castsi256_si128(bytes), odd = _mm256_extracti128_si256(bytes, 1);
        if (n == TILE_N) {
            STORE128(out + r * ldo, even);
            if (r + 1 < rows) STORE128(out + (r + 1) * ldo, odd);
        } else {
            uint8_t spare[2 * TILE_N];
            STORE(spare, bytes);
            memcpy(out + r * ldo, spare, (size_t)n);
            if (r + 1 < rows) memcpy(out + (r + 1) * ldo, spare + TILE_N, (size_t)n);
        }
    }
}

AVX2 static void avx2_stage(const Stage *s, int form, int channel, int n, const int32_t *acc, int rows, uint8_t *out,
                            ptrdiff_t ldo) {
    if (form == FORM_FLOAT) stage_rows(s, FORM_FLOAT, channel, n, acc, rows, out, ldo);
    else if (form == FORM_EXACT) stage_rows(s, FORM_EXACT, channel, n, acc, rows, out, ldo);
    else stage_rows(s, FORM_COUNT, channel, n, acc, rows, out, ldo);
}

/* --- elementwise -------------------------------------------------------------------------- */

AVX2_INLINE __m256i widen16(const uint8_t *p, int is_signed) {
    return is_signed ? _mm256_cvtepi8_epi16(LOAD128(p)) : _mm256_cvtepu8_epi16(LOAD128(p));
}

AVX2_INLINE __m256i add_int16(const Add *op, __m256i a, __m256i b) {
    const __m256i m = _mm256_set1_epi32((int32_t)((uint32_t)(uint16_t)op->ma | (uint32_t)(uint16_t)op->mb << 16));
    const __m256i round = _mm256_set1_epi32(op->round);
    const __m128i shift = _mm_cvtsi32_si128(op->shift);
    const __m256i low = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), m), round);
    const __m256i high = _mm256_add_epi32(_mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), m), round);
    return _mm256_packs_epi32(_mm256_sra_epi32(low, shift), _mm256_sra_epi32(high, shift));
}

AVX2_INLINE __m256i add_float8(const Add *op, __m128i a, __m128i b) {
    const __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(a)), y = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(b));
    const __m256 sum = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(op->fa)), _mm256_mul_ps(y, _mm256_set1_ps(op->fb)));
    return _mm256_cvtps_epi32(_mm256_add_ps(sum, _mm256_set1_ps(op->offset)));
}

AVX2_INLINE __m256i add_float(const Add *op, __m256i a, __m256i b) {
    const __m256i low = add_float8(op, _mm256_castsi256_si128(a), _mm256_castsi256_si128(b));
    const __m256i high = add_float8(op, _mm256_extracti128_si256(a, 1), _mm256_extracti128_si256(b, 1));
    return _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
}

AVX2_INLINE size_t add_bytes(const Add *op, const int form, const uint8_t *a, const uint8_t *b, uint8_t *out,
                             size_t n) {
    const __m256i lo = _mm256_set1_epi16((int16_t)op->lo), hi = _mm256_set1_epi16((int16_t)op->hi);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m256i x = widen16(a + i, op->a_signed), y = widen16(b + i, op->b_signed);
        __m256i sum = form == ADD_INT16 ? add_int16(op, x, y) : add_float(op, x, y);
        sum = _mm256_max_epi16(_mm256_min_epi16(sum, hi), lo);
        const __m128i low = _mm256_castsi256_si128(sum), high = _mm256_extracti128_si256(sum, 1);
        STORE128(out + i, op->out_signed ? _mm_packs_epi16(low, high) : _mm_packus_epi16(low, high));
    }
    return i;
}

AVX2 static void avx2_add(const Add *op, const uint8_t *a, const uint8_t *b, uint8_t *out, size_t n) {
    size_t done = 0;
    if (op->form == ADD_INT16) done = add_bytes(op, ADD_INT16, a, b, out, n);
    else if (op->form == ADD_FLOAT) done = add_bytes(op, ADD_FLOAT, a, b, out, n);
    generic_add(op, a + done, b + done, out + done, n - done);
}

AVX2 static void avx2_expand(int16_t *out, const uint8_t *in, size_t n, int is_signed) {
    if (is_signed)
        for (size_t i = 0; i < n; i += 16) STORE(out + i, _mm256_cvtepi8_epi16(LOAD128(in + i)));
    else
        for (size_t i = 0; i < n; i += 16) STORE(out + i, _mm256_cvtepu8_epi16(LOAD128(in + i)));
}

AVX2 static void avx2_line(int16_t *out, const uint8_t *in, ptrdiff_t stride, int n, int is_signed) {
    if (is_signed)
        for (int x = 0; x < n; x++) STORE(out + x * TILE_N, _mm256_cvtepi8_epi16(LOAD128(in + x * stride)));
    else
        for (int x = 0; x < n; x++) STORE(out + x * TILE_N, _mm256_cvtepu8_epi16(LOAD128(in + x * stride)));
}

AVX2 static void avx2_flip(uint8_t *out, const uint8_t *in, size_t n, uint8_t mask) {
    const __m128i m = _mm_set1_epi8((char)mask);
    for (size_t i = 0; i < n; i += 16) STORE128(out + i, _mm_xor_si128(LOAD128(in + i), m));
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

static const Path avx2_path = {
    .name = "avx2", .mr = 6, .fast = 1,
    .gemm16 = avx2_gemm16, .gemm8 = avx2_gemm8, .stage = avx2_stage, .add = avx2_add,
    .expand = avx2_expand, .line = avx2_line, .flip = avx2_flip, .depthwise = avx2_depthwise, .maximum = avx2_maximum,
    .sum = avx2_sum, .lookup = generic_lookup, .nonzero = avx2_nonzero, .wino_in = {avx2_wino_in2, avx2_wino_in4},
    .wino_out = {avx2_wino_out2, avx2_wino_out4},
};

#endif
