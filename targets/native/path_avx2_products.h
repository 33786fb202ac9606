/* AVX2 matrix products: tiles of up to 4 rows by 16 channels. */
#ifndef LOWBITC_PATH_AVX2_PRODUCTS_H
#define LOWBITC_PATH_AVX2_PRODUCTS_H

#define ROWS_1(X) X(0)
#define ROWS_2(X) ROWS_1(X) X(1)
#define ROWS_3(X) ROWS_2(X) X(2)
#define ROWS_4(X) ROWS_3(X) X(3)

#define ZERO2(r) __m256i c##r##0 = _mm256_setzero_si256(), c##r##1 = c##r##0;
#define ZERO1(r) __m256i c##r##0 = _mm256_setzero_si256();
#define CLEAR2(r) c##r##0 = c##r##1 = _mm256_setzero_si256();
#define CLEAR1(r) c##r##0 = _mm256_setzero_si256();
#define STORE2(r) STORE(c + r * TILE_N, c##r##0); STORE(c + r * TILE_N + 8, c##r##1);
#define STORE1(r) STORE(c + r * TILE_N, c##r##0);

/* One row of a step, in assembly: left to intrinsics, compilers load all rows first and spill sums. */
#define MAC_2(multiply, add, r) { \
    __m256i x, t; \
    __asm__("vpbroadcastd %4, %2\n\t" multiply " %5, %2, %3\n\t" multiply " %6, %2, %2\n\t" \
            add " %3, %0, %0\n\t" add " %2, %1, %1" \
            : "+x"(c##r##0), "+x"(c##r##1), "=&x"(x), "=&x"(t) \
            : "m"(*(const quad *)(const void *)(a + r * lda)), "x"(w0), "x"(w1)); }
#define MAC_1(multiply, add, r) { \
    __m256i x; \
    __asm__("vpbroadcastd %2, %1\n\t" multiply " %3, %1, %1\n\t" add " %1, %0, %0" \
            : "+x"(c##r##0), "=&x"(x) : "m"(*(const quad *)(const void *)(a + r * lda)), "x"(w0)); }
#define MAC16_2(r) MAC_2("vpmaddwd", "vpaddd", r)
#define MAC16_1(r) MAC_1("vpmaddwd", "vpaddd", r)
#define MAC8_2(r) MAC_2("vpmaddubsw", "vpaddw", r)
#define MAC8_1(r) MAC_1("vpmaddubsw", "vpaddw", r)
#define INIT2(r) STORE(c + r * TILE_N, i0); STORE(c + r * TILE_N + 8, i1);
#define INIT1(r) STORE(c + r * TILE_N, i0);
#define WIDEN1(r) STORE(c + r * TILE_N, _mm256_add_epi32(LOAD(c + r * TILE_N), _mm256_madd_epi16(c##r##0, ones)));
#define WIDEN2(r) WIDEN1(r) \
    STORE(c + r * TILE_N + 8, _mm256_add_epi32(LOAD(c + r * TILE_N + 8), _mm256_madd_epi16(c##r##1, ones)));

/* Sums of 4 rows, three steps at a time. Products wait in registers for two rows before they are added: an add that
 * is ready at once takes one of the two ports that multiply. */
#define MULTIPLY_ROW(x, t, from) "vpbroadcastd " from ", %%ymm" x "\n\t" \
    "vpmaddwd %%ymm14, %%ymm" x ", %%ymm" t "\n\tvpmaddwd %%ymm15, %%ymm" x ", %%ymm" x "\n\t"
#define ADD_PAIR(x, t, r) "vpaddd %%ymm" t ", %[c" r "0], %[c" r "0]\n\tvpaddd %%ymm" x ", %[c" r "1], %[c" r "1]\n\t"
#define STEP_OF_3(k, w0, w1, ahead, x0, t0, x1, t1, x2, t2) \
    "vmovdqu " w0 "(%[w]), %%ymm14\n\tvmovdqu " w1 "(%[w]), %%ymm15\n\tprefetcht0 " ahead "(%[w])\n\t" \
    MULTIPLY_ROW(x0, t0, k "(%[a])") ADD_PAIR(x1, t1, "2") MULTIPLY_ROW(x1, t1, k "(%[a], %[l])") ADD_PAIR(x2, t2, "3") \
    MULTIPLY_ROW(x2, t2, k "(%[a], %[l], 2)") ADD_PAIR(x0, t0, "0") MULTIPLY_ROW(x0, t0, k "(%[b], %[l])") ADD_PAIR(x1, t1, "1")
#define ADD_SUMS16(A, LDA, W, PAIRS) \
    { \
        const int16_t *a = (A), *b_ = a + 2 * (LDA), *w = (W); \
        long n_ = (PAIRS) / 3; \
        __asm__ volatile( \
            "vpxor %%xmm10, %%xmm10, %%xmm10\n\tvpxor %%xmm11, %%xmm11, %%xmm11\n\t" \
            "vpxor %%xmm12, %%xmm12, %%xmm12\n\tvpxor %%xmm13, %%xmm13, %%xmm13\n\t" \
            "test %[n], %[n]\n\tjz 2f\n\t.p2align 5\n1:\n\t" \
            STEP_OF_3("0", "0", "32", "4096", "8", "9", "10", "11", "12", "13") \
            STEP_OF_3("4", "64", "96", "4160", "10", "11", "12", "13", "8", "9") \
            STEP_OF_3("8", "128", "160", "4224", "12", "13", "8", "9", "10", "11") \
            "add $12, %[a]\n\tadd $12, %[b]\n\tadd $192, %[w]\n\tdec %[n]\n\tjnz 1b\n2:\n\t" \
            ADD_PAIR("10", "11", "2") ADD_PAIR("12", "13", "3") \
            : [c00] "+x"(c00), [c01] "+x"(c01), [c10] "+x"(c10), [c11] "+x"(c11), [c20] "+x"(c20), [c21] "+x"(c21), \
              [c30] "+x"(c30), [c31] "+x"(c31), [a] "+r"(a), [b] "+r"(b_), [w] "+r"(w), [n] "+r"(n_) \
            : [l] "r"(2 * (LDA)) \
            : "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc", "memory"); \
        for (int k = 0; k < (PAIRS) % 3; k++, a += 2, w += 32) { \
            const __m256i w0 = LOAD(w), w1 = LOAD(w + 16); \
            ROWS_4(MAC16_2) \
        } \
    }
#define SUMS16(A, LDA, W, PAIRS) \
    ROWS_4(ZERO2) \
    ADD_SUMS16(A, LDA, W, PAIRS)

AVX2 static void gemm16_4x16(int32_t *c, const int16_t *rows, ptrdiff_t lda, const int16_t *weights,
                             int pairs) {
    SUMS16(rows, lda, weights, pairs)
    ROWS_4(STORE2)
}

#define GEMM16_WIDE(R) \
    AVX2 static void gemm16_##R##x16(int32_t *c, const int16_t *a, ptrdiff_t lda, const int16_t *w, int pairs) { \
        ROWS_##R(ZERO2) \
        for (int k = 0; k < pairs; k++, a += 2, w += 32) { \
            const __m256i w0 = LOAD(w), w1 = LOAD(w + 16); \
            AHEAD(w); \
            ROWS_##R(MAC16_2) \
        } \
        ROWS_##R(STORE2) \
    }

#define GEMM(R) \
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

GEMM16_WIDE(1)
GEMM16_WIDE(2)
GEMM16_WIDE(3)
GEMM(1)
GEMM(2)
GEMM(3)
GEMM(4)

static void avx2_gemm16(int32_t *c, const int16_t *a, ptrdiff_t lda, const int16_t *w, int pairs, int rows, int nr) {
    typedef void kernel(int32_t *, const int16_t *, ptrdiff_t, const int16_t *, int);
    static kernel *const wide[] = {gemm16_1x16, gemm16_2x16, gemm16_3x16, gemm16_4x16};
    static kernel *const half[] = {gemm16_1x8, gemm16_2x8, gemm16_3x8, gemm16_4x8};
    for (; rows > 0; rows -= 4, c += 4 * TILE_N, a += 4 * lda)
        (nr == 16 ? wide : half)[imin(rows, 4) - 1](c, a, lda, w, pairs);
}

static void avx2_gemm8(int32_t *c, const uint8_t *a, ptrdiff_t lda, const int8_t *w, const int32_t *init, int quads,
                       int chunk, int rows, int nr) {
    typedef void kernel(int32_t *, const uint8_t *, ptrdiff_t, const int8_t *, const int32_t *, int, int);
    static kernel *const wide[] = {gemm8_1x16, gemm8_2x16, gemm8_3x16, gemm8_4x16};
    static kernel *const half[] = {gemm8_1x8, gemm8_2x8, gemm8_3x8, gemm8_4x8};
    for (; rows > 0; rows -= 4, c += 4 * TILE_N, a += 4 * lda)
        (nr == 16 ? wide : half)[imin(rows, 4) - 1](c, a, lda, w, init, quads, chunk);
}

#endif
