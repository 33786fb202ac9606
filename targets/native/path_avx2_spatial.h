/* AVX2 kernels over image tiles: depthwise convolution and Winograd's transforms.
 *
 * Winograd's F(m x m, 3 x 3) (Lavin and Gray, 2015) computes m x m outputs from an (m+2)^2 patch with
 * (m+2)^2 products per channel pair instead of 9 m^2. In integers: with the filter transform scaled to
 * whole numbers the result is 4 (m = 2) or 576 (m = 4) times the convolution. All sums wrap modulo
 * 2^32, so only the final value has to fit: 4 acc, or 64 acc once the odd factor 9 is divided out by
 * its inverse modulo 2^32. The planner proves that before it chooses this algorithm.
 */
#ifndef LOWBITC_PATH_AVX2_SPATIAL_H
#define LOWBITC_PATH_AVX2_SPATIAL_H

/* --- depthwise ---------------------------------------------------------------------------- */

#define DW_ROWS 4

AVX2_INLINE void depthwise_wide(const Depthwise *d, const int16_t *lines, ptrdiff_t step, const int rows,
                                int32_t *acc) {
    __m256i low[DW_ROWS], high[DW_ROWS];
    for (int r = 0; r < rows; r++) low[r] = high[r] = _mm256_setzero_si256();
    const int16_t *w = d->weights;
    for (int t = 0; t < d->taps; t += 2, w += 32) {
        const __m256i w0 = LOAD(w), w1 = LOAD(w + 16);
        const int16_t *p = lines + d->offsets[t];
        const int16_t *q = lines + d->offsets[t + 1 < d->taps ? t + 1 : t];
        for (int r = 0; r < rows; r++) {
            const __m256i x = LOAD(p + r * step), y = LOAD(q + r * step);
            low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(_mm256_unpacklo_epi16(x, y), w0));
            high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(_mm256_unpackhi_epi16(x, y), w1));
        }
    }
    for (int r = 0; r < rows; r++) {
        STORE(acc + r * TILE_N, _mm256_permute2x128_si256(low[r], high[r], 0x20));
        STORE(acc + r * TILE_N + 8, _mm256_permute2x128_si256(low[r], high[r], 0x31));
    }
}

AVX2_INLINE void depthwise_narrow(const Depthwise *d, const int16_t *lines, ptrdiff_t step, const int rows,
                                  int32_t *acc) {
    __m256i sum[DW_ROWS];
    for (int r = 0; r < rows; r++) sum[r] = _mm256_setzero_si256();
    const int16_t *w = d->weights;
    for (int t = 0; t < d->taps; t++, w += 16) {
        const __m256i w0 = LOAD(w);
        const int16_t *p = lines + d->offsets[t];
        for (int r = 0; r < rows; r++)
            sum[r] = _mm256_add_epi16(sum[r], _mm256_mullo_epi16(LOAD(p + r * step), w0));
    }
    for (int r = 0; r < rows; r++) {
        STORE(acc + r * TILE_N, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(sum[r])));
        STORE(acc + r * TILE_N + 8, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(sum[r], 1)));
    }
}

AVX2 static void avx2_depthwise(const Depthwise *d, const int16_t *lines, ptrdiff_t step, int rows, int32_t *acc) {
    int r = 0;
    if (d->narrow) {
        for (; r + DW_ROWS <= rows; r += DW_ROWS) depthwise_narrow(d, lines + r * step, step, DW_ROWS, acc + r * TILE_N);
        for (; r < rows; r++) depthwise_narrow(d, lines + r * step, step, 1, acc + r * TILE_N);
    } else {
        for (; r + DW_ROWS <= rows; r += DW_ROWS) depthwise_wide(d, lines + r * step, step, DW_ROWS, acc + r * TILE_N);
        for (; r < rows; r++) depthwise_wide(d, lines + r * step, step, 1, acc + r * TILE_N);
    }
}

/* --- Winograd ----------------------------------------------------------------------------- */

#define ADD16(a, b) _mm256_add_epi16(a, b)
#define SUB16(a, b) _mm256_sub_epi16(a, b)
#define SHL16(a, n) _mm256_slli_epi16(a, n)
#define ADD32(a, b) _mm256_add_epi32(a, b)
#define SUB32(a, b) _mm256_sub_epi32(a, b)
#define SHL32(a, n) _mm256_slli_epi32(a, n)

/* Input transform of one line of 6, rows 1 and 2 negated so that the output side only adds. */
AVX2_INLINE void wino4_line_in(__m256i *v, const __m256i *d) {
    const __m256i d42 = SUB16(d[4], d[2]), d31 = SHL16(SUB16(d[3], d[1]), 1);
    v[0] = ADD16(SHL16(SUB16(d[0], d[2]), 2), d42);
    v[1] = SUB16(SHL16(ADD16(d[1], d[2]), 2), ADD16(d[3], d[4]));
    v[2] = ADD16(SHL16(SUB16(d[2], d[1]), 2), SUB16(d[3], d[4]));
    v[3] = ADD16(d42, d31);
    v[4] = SUB16(d42, d31);
    v[5] = ADD16(SHL16(SUB16(d[1], d[3]), 2), SUB16(d[5], d[3]));
}

AVX2_INLINE void wino2_line_in(__m256i *v, const __m256i *d) {
    v[0] = SUB16(d[0], d[2]);
    v[1] = ADD16(d[1], d[2]);
    v[2] = SUB16(d[2], d[1]);
    v[3] = SUB16(d[1], d[3]);
}

/* 24 times the outputs of one line of 6 products (filter rows scaled by 6, 1, 1, 1, 1, 6). */
AVX2_INLINE void wino4_line_out(__m256i *y, const __m256i *m) {
    const __m256i p = ADD32(m[1], m[2]), q = SUB32(m[1], m[2]), r = ADD32(m[3], m[4]), s = SUB32(m[3], m[4]);
    const __m256i s2 = ADD32(s, s);
    y[0] = ADD32(ADD32(m[0], r), SHL32(p, 2));
    y[1] = ADD32(SHL32(q, 2), s2);
    y[2] = SHL32(ADD32(p, r), 2);
    y[3] = SHL32(ADD32(ADD32(q, s2), m[5]), 2);
}

/* Twice the outputs of one line of 4 products. */
AVX2_INLINE void wino2_line_out(__m256i *y, const __m256i *m) {
    y[0] = ADD32(m[0], ADD32(m[1], m[2]));
    y[1] = SUB32(SUB32(m[1], m[2]), m[3]);
}

#define WINO(M, T) \
    AVX2_INLINE void wino##M##_in_as(int16_t *v, ptrdiff_t position, const uint8_t *const *pixels, int channels, \
                                     const int is_signed) { \
        for (int c = 0; c < channels; c += 16) { \
            __m256i half[T][T]; \
            for (int x = 0; x < T; x++) { \
                __m256i d[T], column[T]; \
                for (int y = 0; y < T; y++) d[y] = widen16(pixels[y * T + x] + c, is_signed); \
                wino##M##_line_in(column, d); \
                for (int y = 0; y < T; y++) half[y][x] = column[y]; \
            } \
            for (int y = 0; y < T; y++) { \
                __m256i row[T]; \
                wino##M##_line_in(row, half[y]); \
                for (int x = 0; x < T; x++) STORE(v + (y * T + x) * position + c, row[x]); \
            } \
        } \
    } \
    AVX2 static void avx2_wino_in##M(int16_t *v, ptrdiff_t position, const uint8_t *const *pixels, int channels, \
                                     int is_signed) { \
        if (is_signed) wino##M##_in_as(v, position, pixels, channels, 1); \
        else wino##M##_in_as(v, position, pixels, channels, 0); \
    } \
    AVX2 static void avx2_wino_out##M(const int32_t *m, ptrdiff_t position, int32_t *y) { \
        for (int c = 0; c < TILE_N; c += 8) { \
            __m256i half[M][T]; \
            for (int x = 0; x < T; x++) { \
                __m256i d[T], column[M]; \
                for (int i = 0; i < T; i++) d[i] = LOAD(m + (i * T + x) * position + c); \
                wino##M##_line_out(column, d); \
                for (int i = 0; i < M; i++) half[i][x] = column[i]; \
            } \
            for (int i = 0; i < M; i++) { \
                __m256i row[M]; \
                wino##M##_line_out(row, half[i]); \
                for (int x = 0; x < M; x++) STORE(y + (i * M + x) * TILE_N + c, wino##M##_unscale(row[x])); \
            } \
        } \
    }

AVX2_INLINE __m256i wino2_unscale(__m256i y) { return _mm256_srai_epi32(y, 2); }

/* 576 = 9 * 64; 954437177 * 9 = 1 modulo 2^32. */
AVX2_INLINE __m256i wino4_unscale(__m256i y) {
    return _mm256_srai_epi32(_mm256_mullo_epi32(y, _mm256_set1_epi32(954437177)), 6);
}

WINO(2, 4)
WINO(4, 6)

#endif
