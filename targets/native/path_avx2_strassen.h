/* AVX2: products of 8 rows by 32 channels, from 7 products of halves instead of 8.
 *
 * Strassen's algorithm in Winograd's form. Rows, their K and the channels fall into halves: A11 are the first 4 rows'
 * first half, A22 the last 4 rows' second; B11 are the first panel's first half. With
 *     S1 = A21 + A22, S2 = S1 - A11, S3 = A11 - A21, S4 = A12 - S2,
 *     T1 = B12 - B11, T2 = B22 - T1, T3 = B22 - B12, T4 = T2 - B21,
 *     U2 = A11 B11 + S2 T2, U3 = U2 + S3 T3, Q = S1 T1,
 * the sums are C11 = A11 B11 + A12 B21, C12 = U2 + Q + S4 B22, C21 = U3 - A22 T4 and C22 = U3 + Q. Levels and weights
 * are bytes, so S and T fit int16; sums wrap modulo 2^32 on the way, and only C has to fit.
 */
#ifndef LOWBITC_PATH_AVX2_STRASSEN_H
#define LOWBITC_PATH_AVX2_STRASSEN_H

enum { STRASSEN_TILES = 12 };

/* Where the second half of a mixed row begins. */
static inline int mixed_half(int depth) { return (depth / 2 + 15) / 16 * 16; }

#define LOAD2(r) c##r##0 = LOAD(held + r * TILE_N); c##r##1 = LOAD(held + r * TILE_N + 8);
#define HOLD2(r) STORE(held + r * TILE_N, c##r##0); STORE(held + r * TILE_N + 8, c##r##1);
#define PLUS2(r) c##r##0 = _mm256_add_epi32(c##r##0, LOAD(held + r * TILE_N)); \
    c##r##1 = _mm256_add_epi32(c##r##1, LOAD(held + r * TILE_N + 8));
#define HOLD(x) { int32_t *held = x[i]; ROWS_4(HOLD2) }
#define TAKE(x) { const int32_t *held = x[i]; ROWS_4(LOAD2) }
#define PLUS(x) { const int32_t *held = x[i]; ROWS_4(PLUS2) }
#define LEVELS_TO(f, first, to) { \
    const __m256i c_[8] = REGISTERS; \
    tile_levels(s, f, form, is_signed, channel + first, c_, out + (8 * i + to) * ldo + first, ldo); }
/* One of the 7 products for all tiles: its quarter of the weights stays in the nearest cache. */
#define PRODUCT(from, with, before, after) \
    for (int i = 0; i < tiles; i++) { \
        ROWS_4(ZERO2) \
        before \
        ADD_SUMS16((from) + 8 * i * lda, lda, with, pairs) \
        after \
    }

AVX2_INLINE void strassen_as(const Stage *s, const int form, const int is_signed, int channel, uint8_t *out,
                             ptrdiff_t ldo, const int16_t *rows, const int16_t *mixed, ptrdiff_t lda,
                             const int16_t *weights, const int16_t *mixed_w, int depth, int tiles) {
    const int half = depth / 2, behind = mixed_half(depth), pairs = half / 2;
    const ptrdiff_t share = (ptrdiff_t)half * TILE_N, low = 4 * lda;
    const FloatStage left = load_float_stage(s, channel), right = load_float_stage(s, channel + TILE_N);
    int32_t p[STRASSEN_TILES][4 * TILE_N], u[STRASSEN_TILES][4 * TILE_N], q[STRASSEN_TILES][4 * TILE_N];
    PRODUCT(rows, weights, , HOLD(p))
    PRODUCT(rows + half, weights + share, TAKE(p), LEVELS_TO(&left, 0, 0))
    PRODUCT(mixed, mixed_w, , HOLD(q))
    PRODUCT(mixed + behind, mixed_w + share, TAKE(p), HOLD(u))
    PRODUCT(mixed + low, mixed_w + 2 * share, TAKE(u), HOLD(p) PLUS(q) LEVELS_TO(&right, TILE_N, 4))
    PRODUCT(rows + low + half, mixed_w + 3 * share, TAKE(p), LEVELS_TO(&left, 0, 4))
    PRODUCT(mixed + low + behind, weights + 3 * share, TAKE(u) PLUS(q), LEVELS_TO(&right, TILE_N, 0))
}

#define STRASSEN_AS(FORM) \
    do { \
        if (s->is_signed) strassen_as(s, FORM, 1, channel, out, ldo, a, mixed, lda, w, mixed_w, depth, rows / 8); \
        else strassen_as(s, FORM, 0, channel, out, ldo, a, mixed, lda, w, mixed_w, depth, rows / 8); \
    } while (0)

AVX2 static int avx2_strassen(const Stage *s, int form, int channel, uint8_t *out, ptrdiff_t ldo, const int16_t *a,
                              const int16_t *mixed, ptrdiff_t lda, const int16_t *w, const int16_t *mixed_w, int depth,
                              int rows) {
    rows = imin(rows / 8, STRASSEN_TILES) * 8;
    if (form == FORM_FLOAT) STRASSEN_AS(FORM_FLOAT);
    else STRASSEN_AS(FORM_CHECKED);
    return rows;
}

/* S1 and S2 of each 4 rows and the 4 behind them, then S3 and S4, in rows of the same stride, which is wide enough for
 * two halves of whole registers. */
AVX2 static void avx2_mix(int16_t *mixed, const int16_t *a, ptrdiff_t lda, int depth, int rows) {
    const int half = depth / 2, behind = mixed_half(depth);
    for (int done = 0; done + 8 <= rows; done += 8, a += 8 * lda, mixed += 8 * lda)
        for (int r = 0; r < 4; r++) {
            const int16_t *top = a + r * lda, *bottom = top + 4 * lda;
            int16_t *to = mixed + r * lda, *below = to + 4 * lda;
            for (int k = 0; k < half; k += 16) {
                const __m256i a11 = LOAD(top + k), a12 = LOAD(top + k + half);
                const __m256i a21 = LOAD(bottom + k), a22 = LOAD(bottom + k + half);
                const __m256i s1 = _mm256_add_epi16(a21, a22), s2 = _mm256_sub_epi16(s1, a11);
                STORE(to + k, s1);
                STORE(to + k + behind, s2);
                STORE(below + k, _mm256_sub_epi16(a11, a21));
                STORE(below + k + behind, _mm256_sub_epi16(a12, s2));
            }
        }
}

#endif
