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

AVX2 static void avx2_pair(int16_t *out, const int16_t *in, ptrdiff_t apart, int step, int n) {
    for (int i = 0; i < n; i++, in += step * TILE_N, out += 2 * TILE_N) {
        const __m256i x = LOAD(in), y = LOAD(in + apart * TILE_N);
        STORE(out, _mm256_unpacklo_epi16(x, y));
        STORE(out + TILE_N, _mm256_unpackhi_epi16(x, y));
    }
}

/* Sums of `rows` pixels. Wide: low[r] has channels 0-3 and 8-11, high[r] 4-7 and 12-15, as unpacking
 * leaves them. Narrow: low[r] has all 16 as int16. */
AVX2_INLINE void depthwise_sums(const Depthwise *d, const int16_t *lines, ptrdiff_t step, const int rows,
                                const int narrow, __m256i *low, __m256i *high) {
    const int16_t *w = d->weights;
    for (int r = 0; r < rows; r++) low[r] = high[r] = _mm256_setzero_si256();
    if (narrow) {
        for (int t = 0; t < d->steps; t++, w += 16) {
            const __m256i w0 = LOAD(w);
            const int16_t *p = lines + d->offsets[t];
            for (int r = 0; r < rows; r++)
                low[r] = _mm256_add_epi16(low[r], _mm256_mullo_epi16(LOAD(p + r * step), w0));
        }
        return;
    }
    for (int t = 0; t < d->steps; t++, w += 32) {
        const __m256i w0 = LOAD(w), w1 = LOAD(w + 16);
        const int16_t *p = lines + d->offsets[t];
        for (int r = 0; r < rows; r++) {
            low[r] = _mm256_add_epi32(low[r], _mm256_madd_epi16(LOAD(p + r * step), w0));
            high[r] = _mm256_add_epi32(high[r], _mm256_madd_epi16(LOAD(p + r * step + 16), w1));
        }
    }
}

/* The same sums in the order of channels, int32. */
AVX2_INLINE void depthwise_store(const int rows, const int narrow, const __m256i *low, const __m256i *high,
                                 int32_t *acc) {
    for (int r = 0; r < rows; r++, acc += TILE_N) {
        if (narrow) {
            STORE(acc, _mm256_cvtepi16_epi32(_mm256_castsi256_si128(low[r])));
            STORE(acc + 8, _mm256_cvtepi16_epi32(_mm256_extracti128_si256(low[r], 1)));
        } else {
            STORE(acc, _mm256_permute2x128_si256(low[r], high[r], 0x20));
            STORE(acc + 8, _mm256_permute2x128_si256(low[r], high[r], 0x31));
        }
    }
}

AVX2_INLINE void depthwise_as(const Depthwise *d, const int16_t *lines, ptrdiff_t step, int rows, const int narrow,
                              int32_t *acc) {
    __m256i low[DW_ROWS], high[DW_ROWS];
    int r = 0;
    for (; r + DW_ROWS <= rows; r += DW_ROWS) {
        depthwise_sums(d, lines + r * step, step, DW_ROWS, narrow, low, high);
        depthwise_store(DW_ROWS, narrow, low, high, acc + r * TILE_N);
    }
    for (; r < rows; r++) {
        depthwise_sums(d, lines + r * step, step, 1, narrow, low, high);
        depthwise_store(1, narrow, low, high, acc + r * TILE_N);
    }
}

AVX2 static void avx2_depthwise(const Depthwise *d, const int16_t *lines, ptrdiff_t step, int rows, int32_t *acc) {
    if (d->narrow) depthwise_as(d, lines, step, rows, 1, acc);
    else depthwise_as(d, lines, step, rows, 0, acc);
}

AVX2_INLINE __m256 load_split(const float *p) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 8), 1);
}

/* The constants of 16 channels in the order of depthwise_sums. */
AVX2_INLINE FloatStage load_split_stage(const Stage *s, int channel) {
    return (FloatStage){{load_split(s->scale + channel), load_split(s->scale + channel + 4)},
                        {load_split(s->offset + channel), load_split(s->offset + channel + 4)},
                        {load_split(s->limit + channel), load_split(s->limit + channel + 4)}};
}

/* Levels of n pixels by the definition; summed again, so that the fast way need not keep its sums. */
AVX2 static __attribute__((noinline)) void depthwise_exact(const Depthwise *d, const Stage *s, int channel,
                                                           const int16_t *lines, ptrdiff_t step, int n, uint8_t *out,
                                                           ptrdiff_t ldo) {
    int32_t acc[DW_ROWS * TILE_N];
    avx2_depthwise(d, lines, step, n, acc);
    avx2_stage(s, FORM_EXACT, channel, TILE_N, acc, n, out, ldo);
}

/* Levels of n pixels, an even number. */
AVX2_INLINE void depthwise_tile(const Depthwise *d, const Stage *s, const FloatStage *f, const int form,
                                const int narrow, const int is_signed, int channel, const int16_t *lines,
                                ptrdiff_t step, const int n, uint8_t *out, ptrdiff_t ldo) {
    __m256i low[DW_ROWS], high[DW_ROWS], words[DW_ROWS];
    __m256 far[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    depthwise_sums(d, lines, step, n, narrow, low, high);
    for (int i = 0; i < n; i++) {
        const __m256i a = narrow ? _mm256_cvtepi16_epi32(_mm256_castsi256_si128(low[i])) : low[i];
        const __m256i b = narrow ? _mm256_cvtepi16_epi32(_mm256_extracti128_si256(low[i], 1)) : high[i];
        words[i] = _mm256_packs_epi32(stage_float(f, form, 0, a, far), stage_float(f, form, 1, b, far));
        if (narrow) words[i] = _mm256_permute4x64_epi64(words[i], 0xd8);
    }
    if (form == FORM_CHECKED && too_far(f, far)) {
        depthwise_exact(d, s, channel, lines, step, n, out, ldo);
        return;
    }
    const __m256i lo = _mm256_broadcastsi128_si256(LOAD128(s->low + channel));
    const __m256i hi = _mm256_broadcastsi128_si256(LOAD128(s->high + channel));
    for (int i = 0; i < n; i += 2) {
        __m256i bytes =
            is_signed ? _mm256_packs_epi16(words[i], words[i + 1]) : _mm256_packus_epi16(words[i], words[i + 1]);
        bytes = _mm256_permute4x64_epi64(bytes, 0xd8);
        bytes = is_signed ? _mm256_max_epi8(_mm256_min_epi8(bytes, hi), lo)
                          : _mm256_max_epu8(_mm256_min_epu8(bytes, hi), lo);
        store_rows(out + i * ldo, ldo, bytes, TILE_N, 1);
    }
}

/* The last tile of a row may compute pixels again that the one before it has done. */
AVX2_INLINE void depthwise_levels_as(const Depthwise *d, const Stage *s, const int form, const int narrow,
                                     const int is_signed, int channel, const int16_t *lines, ptrdiff_t step, int rows,
                                     uint8_t *out, ptrdiff_t ldo) {
    const FloatStage f = narrow ? load_float_stage(s, channel) : load_split_stage(s, channel);
    int r = 0;
    for (; rows - r > 2; r += DW_ROWS) {
        r = imin(r, rows - DW_ROWS);
        depthwise_tile(d, s, &f, form, narrow, is_signed, channel, lines + r * step, step, DW_ROWS, out + r * ldo, ldo);
    }
    if (r >= rows) return;
    r = rows - 2;
    depthwise_tile(d, s, &f, form, narrow, is_signed, channel, lines + r * step, step, 2, out + r * ldo, ldo);
}

#define DW_LEVELS(FORM, NARROW) \
    do { \
        if (s->is_signed) depthwise_levels_as(d, s, FORM, NARROW, 1, channel, lines, step, rows, out, ldo); \
        else depthwise_levels_as(d, s, FORM, NARROW, 0, channel, lines, step, rows, out, ldo); \
    } while (0)

AVX2 static int avx2_depthwise_levels(const Depthwise *d, const Stage *s, int form, int channel, const int16_t *lines,
                                      ptrdiff_t step, int rows, uint8_t *out, ptrdiff_t ldo) {
    if (rows < DW_ROWS || form > FORM_CHECKED) return 0;
    if (form == FORM_FLOAT && d->narrow) DW_LEVELS(FORM_FLOAT, 1);
    else if (form == FORM_FLOAT) DW_LEVELS(FORM_FLOAT, 0);
    else if (d->narrow) DW_LEVELS(FORM_CHECKED, 1);
    else DW_LEVELS(FORM_CHECKED, 0);
    return rows;
}

/* --- Winograd ----------------------------------------------------------------------------- */

#define ADD16(a, b) _mm256_add_epi16(a, b)
#define SUB16(a, b) _mm256_sub_epi16(a, b)
#define SHL16(a, n) _mm256_slli_epi16(a, n)
#define ADD32(a, b) _mm256_add_epi32(a, b)
#define SUB32(a, b) _mm256_sub_epi32(a, b)
#define SHL32(a, n) _mm256_slli_epi32(a, n)

/* Input transform of one line of 6, rows 1 and 2 negated so that the output side only adds. */
AVX2_INLINE void wino_line_in4(__m256i *v, const __m256i *d) {
    const __m256i d42 = SUB16(d[4], d[2]), d31 = SHL16(SUB16(d[3], d[1]), 1);
    v[0] = ADD16(SHL16(SUB16(d[0], d[2]), 2), d42);
    v[1] = SUB16(SHL16(ADD16(d[1], d[2]), 2), ADD16(d[3], d[4]));
    v[2] = ADD16(SHL16(SUB16(d[2], d[1]), 2), SUB16(d[3], d[4]));
    v[3] = ADD16(d42, d31);
    v[4] = SUB16(d42, d31);
    v[5] = ADD16(SHL16(SUB16(d[1], d[3]), 2), SUB16(d[5], d[3]));
}

AVX2_INLINE void wino_line_in2(__m256i *v, const __m256i *d) {
    v[0] = SUB16(d[0], d[2]);
    v[1] = ADD16(d[1], d[2]);
    v[2] = SUB16(d[2], d[1]);
    v[3] = SUB16(d[1], d[3]);
}

/* 24 times the outputs of one line of 6 products (filter rows scaled by 6, 1, 1, 1, 1, 6). */
AVX2_INLINE void wino_line_out4(__m256i *y, const __m256i *m) {
    const __m256i p = ADD32(m[1], m[2]), q = SUB32(m[1], m[2]), r = ADD32(m[3], m[4]), s = SUB32(m[3], m[4]);
    const __m256i s2 = ADD32(s, s);
    y[0] = ADD32(ADD32(m[0], r), SHL32(p, 2));
    y[1] = ADD32(SHL32(q, 2), s2);
    y[2] = SHL32(ADD32(p, r), 2);
    y[3] = SHL32(ADD32(ADD32(q, s2), m[5]), 2);
}

/* Twice the outputs of one line of 4 products. */
AVX2_INLINE void wino_line_out2(__m256i *y, const __m256i *m) {
    y[0] = ADD32(m[0], ADD32(m[1], m[2]));
    y[1] = SUB32(SUB32(m[1], m[2]), m[3]);
}

/* At stride 2 the outer two taps meet every second input, as a kernel of two taps with stride 1 would, and the
 * middle tap the others: F(2, 2) with products 0 to 2, and products 3 and 4 as they are. */
AVX2_INLINE void wino_line_in_strided(__m256i *v, const __m256i *d) {
    v[0] = SUB16(d[0], d[2]);
    v[1] = d[2];
    v[2] = SUB16(d[2], d[4]);
    v[3] = d[1];
    v[4] = d[3];
}

AVX2_INLINE void wino_line_out_strided(__m256i *y, const __m256i *m) {
    y[0] = ADD32(ADD32(m[0], m[1]), m[3]);
    y[1] = ADD32(SUB32(m[1], m[2]), m[4]);
}

#define WINO(M, T, NAME) \
    AVX2_INLINE void wino_in_as##NAME(int16_t *v, ptrdiff_t position, const uint8_t *const *pixels, int channels, \
                                     const int is_signed) { \
        for (int c = 0; c < channels; c += 16) { \
            __m256i half[T][T]; \
            for (int x = 0; x < T; x++) { \
                __m256i d[T], column[T]; \
                for (int y = 0; y < T; y++) d[y] = widen16(pixels[y * T + x] + c, is_signed); \
                wino_line_in##NAME(column, d); \
                for (int y = 0; y < T; y++) half[y][x] = column[y]; \
            } \
            for (int y = 0; y < T; y++) { \
                __m256i row[T]; \
                wino_line_in##NAME(row, half[y]); \
                for (int x = 0; x < T; x++) STORE(v + (y * T + x) * position + c, row[x]); \
            } \
        } \
    } \
    AVX2 static void avx2_wino_in##NAME(int16_t *v, ptrdiff_t position, const uint8_t *const *pixels, int channels, \
                                     int is_signed) { \
        if (is_signed) wino_in_as##NAME(v, position, pixels, channels, 1); \
        else wino_in_as##NAME(v, position, pixels, channels, 0); \
    } \
    AVX2 static void avx2_wino_out##NAME(const int32_t *m, ptrdiff_t position, int32_t *y) { \
        for (int c = 0; c < TILE_N; c += 8) { \
            __m256i half[M][T]; \
            for (int x = 0; x < T; x++) { \
                __m256i d[T], column[M]; \
                for (int i = 0; i < T; i++) d[i] = LOAD(m + (i * T + x) * position + c); \
                wino_line_out##NAME(column, d); \
                for (int i = 0; i < M; i++) half[i][x] = column[i]; \
            } \
            for (int i = 0; i < M; i++) { \
                __m256i row[M]; \
                wino_line_out##NAME(row, half[i]); \
                for (int x = 0; x < M; x++) STORE(y + (i * M + x) * TILE_N + c, wino_unscale##NAME(row[x])); \
            } \
        } \
    }

AVX2_INLINE __m256i wino_unscale2(__m256i y) { return _mm256_srai_epi32(y, 2); }

/* 576 = 9 * 64; 954437177 * 9 = 1 modulo 2^32. */
AVX2_INLINE __m256i wino_unscale4(__m256i y) {
    return _mm256_srai_epi32(_mm256_mullo_epi32(y, _mm256_set1_epi32(954437177)), 6);
}

AVX2_INLINE __m256i wino_unscale_strided(__m256i y) { return y; }

WINO(2, 4, 2)
WINO(4, 6, 4)
WINO(2, 5, _strided)

#endif
