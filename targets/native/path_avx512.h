/* AVX-512 VNNI kernels: the matrix products; everything else is the AVX2 path's.
 *
 * vpdpwssd adds two and vpdpbusd four products to an int32 without saturating in between, so 8-bit
 * products need no proof here. No floating point stands in this file: compilers may contract it.
 */
#ifndef LOWBITC_PATH_AVX512_H
#define LOWBITC_PATH_AVX512_H

#include "path_avx2.h"

#define VNNI __attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512vnni")))

#define ROWS_3V(X) X(0) X(1) X(2)
#define ROWS_6V(X) ROWS_3V(X) X(3) X(4) X(5)
#define ROWS_12V(X) ROWS_6V(X) X(6) X(7) X(8) X(9) X(10) X(11)
#define ROWS_1V(X) X(0)

static inline int32_t four_bytes(const void *p) {
    int32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

#define VNNI_DECLARE512(r) __m512i c##r;
#define VNNI_DECLARE256(r) __m256i c##r;
#define VNNI_ZERO512(r) c##r = _mm512_setzero_si512();
#define VNNI_ZERO256(r) c##r = _mm256_setzero_si256();
#define VNNI_INIT512(r) c##r = _mm512_loadu_si512(init);
#define VNNI_INIT256(r) c##r = LOAD(init);
#define VNNI_STORE512(r) _mm512_storeu_si512(c + r * TILE_N, c##r);
#define VNNI_STORE256(r) STORE(c + r * TILE_N, c##r);
#define VNNI_WORDS512(r) c##r = _mm512_dpwssd_epi32(c##r, _mm512_set1_epi32(four_bytes(a + r * lda)), w0);
#define VNNI_WORDS256(r) c##r = _mm256_dpwssd_epi32(c##r, _mm256_set1_epi32(four_bytes(a + r * lda)), w0);
#define VNNI_BYTES512(r) c##r = _mm512_dpbusd_epi32(c##r, _mm512_set1_epi32(four_bytes(a + r * lda)), w0);
#define VNNI_BYTES256(r) c##r = _mm256_dpbusd_epi32(c##r, _mm256_set1_epi32(four_bytes(a + r * lda)), w0);

/* One kernel for R rows of a panel that is BITS / 32 channels wide. */
#define VNNI_GEMM(R, BITS, WEIGHTS) \
    VNNI static void vnni16_##R##x##BITS(int32_t *c, const int16_t *a, ptrdiff_t lda, const int16_t *w, int pairs) { \
        ROWS_##R##V(VNNI_DECLARE##BITS) \
        ROWS_##R##V(VNNI_ZERO##BITS) \
        for (int k = 0; k < pairs; k++, a += 2, w += BITS / 16) { \
            const __m##BITS##i w0 = WEIGHTS; \
            ROWS_##R##V(VNNI_WORDS##BITS) \
        } \
        ROWS_##R##V(VNNI_STORE##BITS) \
    } \
    VNNI static void vnni8_##R##x##BITS(int32_t *c, const uint8_t *a, ptrdiff_t lda, const int8_t *w, \
                                        const int32_t *init, int quads) { \
        ROWS_##R##V(VNNI_DECLARE##BITS) \
        ROWS_##R##V(VNNI_INIT##BITS) \
        for (int k = 0; k < quads; k++, a += 4, w += BITS / 8) { \
            const __m##BITS##i w0 = WEIGHTS; \
            ROWS_##R##V(VNNI_BYTES##BITS) \
        } \
        ROWS_##R##V(VNNI_STORE##BITS) \
    }

VNNI_GEMM(1, 512, _mm512_loadu_si512(w))
VNNI_GEMM(3, 512, _mm512_loadu_si512(w))
VNNI_GEMM(6, 512, _mm512_loadu_si512(w))
VNNI_GEMM(12, 512, _mm512_loadu_si512(w))
VNNI_GEMM(1, 256, LOAD(w))
VNNI_GEMM(3, 256, LOAD(w))
VNNI_GEMM(6, 256, LOAD(w))
VNNI_GEMM(12, 256, LOAD(w))

/* The largest kernel that fits the rows left. */
static inline int vnni_rows(int rows) { return rows >= 12 ? 12 : rows >= 6 ? 6 : rows >= 3 ? 3 : 1; }

static void vnni_gemm16(int32_t *c, const int16_t *a, ptrdiff_t lda, const int16_t *w, int pairs, int rows, int nr) {
    typedef void kernel(int32_t *, const int16_t *, ptrdiff_t, const int16_t *, int);
    for (int n; rows > 0; rows -= n, c += n * TILE_N, a += n * lda) {
        n = vnni_rows(rows);
        kernel *const wide = n == 12 ? vnni16_12x512 : n == 6 ? vnni16_6x512 : n == 3 ? vnni16_3x512 : vnni16_1x512;
        kernel *const half = n == 12 ? vnni16_12x256 : n == 6 ? vnni16_6x256 : n == 3 ? vnni16_3x256 : vnni16_1x256;
        (nr == TILE_N ? wide : half)(c, a, lda, w, pairs);
    }
}

static void vnni_gemm8(int32_t *c, const uint8_t *a, ptrdiff_t lda, const int8_t *w, const int32_t *init, int quads,
                       int chunk, int rows, int nr) {
    typedef void kernel(int32_t *, const uint8_t *, ptrdiff_t, const int8_t *, const int32_t *, int);
    (void)chunk;
    for (int n; rows > 0; rows -= n, c += n * TILE_N, a += n * lda) {
        n = vnni_rows(rows);
        kernel *const wide = n == 12 ? vnni8_12x512 : n == 6 ? vnni8_6x512 : n == 3 ? vnni8_3x512 : vnni8_1x512;
        kernel *const half = n == 12 ? vnni8_12x256 : n == 6 ? vnni8_6x256 : n == 3 ? vnni8_3x256 : vnni8_1x256;
        (nr == TILE_N ? wide : half)(c, a, lda, w, init, quads);
    }
}

static Path vnni_path; /* the AVX2 path with these products; see vnni_prepare */

/* Fill the path, and compare its products with the portable ones once: whether they may be used. */
static int vnni_prepare(void) {
    enum { ROWS = 12, QUADS = 9, DEPTH = 4 * QUADS };
    static int state = -1;
    if (state >= 0) return state;
    vnni_path = avx2_path;
    vnni_path.name = "avx512_vnni";
    vnni_path.mr = ROWS;
    vnni_path.gemm16 = vnni_gemm16;
    vnni_path.gemm8 = vnni_gemm8;
    vnni_path.levels16 = generic_levels16;
    vnni_path.levels8 = generic_levels8;
    int16_t a16[ROWS * DEPTH], w16[DEPTH * TILE_N];
    uint8_t a8[ROWS * DEPTH];
    int8_t w8[DEPTH * TILE_N];
    int32_t init[TILE_N], got[ROWS * TILE_N], expected[ROWS * TILE_N];
    uint32_t noise = 1;
    for (int i = 0; i < ROWS * DEPTH; i++, noise = noise * 1664525u + 1013904223u) {
        a8[i] = i % 5 ? (uint8_t)(noise >> 24) : 255;
        a16[i] = (int16_t)(noise >> 17);
    }
    for (int i = 0; i < DEPTH * TILE_N; i++, noise = noise * 1664525u + 1013904223u) {
        w8[i] = (int8_t)(i % 7 ? (int)(noise >> 24) - 128 : -128);
        w16[i] = (int16_t)((int)(noise >> 17) - 16384);
    }
    for (int i = 0; i < TILE_N; i++) init[i] = i * 1000 - 8000;
    state = 1;
    for (int nr = TILE_N / 2; nr <= TILE_N; nr += TILE_N / 2)
        for (int rows = 1; rows <= ROWS; rows++) {
            memset(got, 0, sizeof got);
            memset(expected, 0, sizeof expected);
            vnni_gemm16(got, a16, DEPTH, w16, DEPTH / 2, rows, nr);
            generic_gemm16(expected, a16, DEPTH, w16, DEPTH / 2, rows, nr);
            for (int i = 0; i < rows * TILE_N; i++) state &= i % TILE_N >= nr || got[i] == expected[i];
            vnni_gemm8(got, a8, DEPTH, w8, init, QUADS, 1, rows, nr);
            generic_gemm8(expected, a8, DEPTH, w8, init, QUADS, 1, rows, nr);
            for (int i = 0; i < rows * TILE_N; i++) state &= i % TILE_N >= nr || got[i] == expected[i];
        }
    return state;
}

#endif
