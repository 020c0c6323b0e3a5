// The operations of vector.h, compiled anew inside each instruction set's target (no include guard, on purpose).
INLINE f16 load16(const float *p) {
    f16 v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store16(float *p, f16 v) { memcpy(p, &v, sizeof v); }
INLINE f16 set16(float x) { return (f16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
#if defined(MR_ISA_IS_SCALAR) && defined(__x86_64__) && !defined(__FMA__)
/// A fused multiply-add without the instruction, several times faster than 16 calls of libm: the product is exact in
/// double; the sum is rounded to odd (Boldo & Melquiond 2008), so that rounding it to float rounds the exact sum.
INLINE d8 fma_to_odd(d8 a, d8 b, d8 c) {
    typedef int64_t l8 __attribute__((vector_size(64)));
    d8 product = a * b, sum = product + c;
    d8 added = sum - product;
    d8 error = (product - (sum - added)) + (c - added);  // exact (Knuth); NaN where the sum is not finite
    l8 inexact = (l8)((error < 0.0) | (error > 0.0)), even = ((l8)sum & 1) - 1;
    l8 outwards = 1 | (((l8)error ^ (l8)sum) >> 63);  // 1, or -1 when the exact sum is nearer to zero
    return (d8)((l8)sum + (outwards & even & inexact));
}
INLINE f16 fma16(f16 a, f16 b, f16 c) {
    typedef float f8 __attribute__((vector_size(32)));
    f8 half[2];
    for (int i = 0; i < 2; i++) {
        f8 x, y, z;
        memcpy(&x, (const char *)&a + 32 * i, sizeof x);
        memcpy(&y, (const char *)&b + 32 * i, sizeof y);
        memcpy(&z, (const char *)&c + 32 * i, sizeof z);
        half[i] = __builtin_convertvector(fma_to_odd(__builtin_convertvector(x, d8), __builtin_convertvector(y, d8),
                                                     __builtin_convertvector(z, d8)), f8);
    }
    f16 result;
    memcpy(&result, half, sizeof result);
    return result;
}
#else
INLINE f16 fma16(f16 a, f16 b, f16 c) { return __builtin_elementwise_fma(a, b, c); }
#endif
/// The fixed tree over 16 lanes: 8 + 8, 4 + 4, 2 + 2, 1 + 1.
INLINE float sum16(f16 v) {
    float s[16];
    memcpy(s, &v, sizeof s);
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++) s[i] = s[i] + s[i + width];
    return s[0];
}
/// The first `count` (0...16) lanes from memory, the rest `fill`.
INLINE f16 load_partial(const float *p, int64_t count, float fill) {
    float s[16];
    for (int i = 0; i < 16; i++) s[i] = i < count ? p[i] : fill;
    return load16(s);
}
INLINE void store_partial(float *p, f16 v, int64_t count) { memcpy(p, &v, (size_t)count * sizeof(float)); }
INLINE int64_t smaller_of(int64_t a, int64_t b) { return a < b ? a : b; }
/// 16 floats, or what is `left` of them and zeros.
INLINE f16 load_row(const float *p, int64_t left) { return left >= 16 ? load16(p) : load_partial(p, left, 0.0f); }
INLINE void store_row(float *p, f16 v, int64_t left) {
    if (left >= 16)
        store16(p, v);
    else
        store_partial(p, v, left);
}
// Four of each four lanes of two vectors, and four fours of lanes.
#define SHUFFLED(x, y, i, j, k, l)                                                                                          \
    __builtin_shufflevector(x, y, i, j, k, l, i + 4, j + 4, k + 4, l + 4, i + 8, j + 8, k + 8, l + 8, i + 12, j + 12, k + 12, \
                            l + 12)
#define QUARTERS(x, y, i, j, k, l)                                                                                            \
    __builtin_shufflevector(x, y, 4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3, 4 * j, 4 * j + 1, 4 * j + 2, 4 * j + 3, 4 * k,      \
                            4 * k + 1, 4 * k + 2, 4 * k + 3, 4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3)
/// Transposes 16 × 16 in place: in fours of rows and columns, then the fours.
INLINE void transpose16(f16 r[16]) {
    f16 t[16];
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i += 2) {
        t[i] = SHUFFLED(r[i], r[i + 1], 0, 16, 1, 17);
        t[i + 1] = SHUFFLED(r[i], r[i + 1], 2, 18, 3, 19);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i += 4)
#pragma clang loop unroll(full)
        for (int half = 0; half < 2; half++) {
            r[i + 2 * half] = SHUFFLED(t[i + half], t[i + half + 2], 0, 1, 16, 17);
            r[i + 2 * half + 1] = SHUFFLED(t[i + half], t[i + half + 2], 2, 3, 18, 19);
        }
    // r[4 g + i] now has, in its fours of lanes, columns i, 4 + i, 8 + i and 12 + i of rows 4 g … 4 g + 3.
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; i++) {
        t[i] = QUARTERS(r[i], r[4 + i], 0, 2, 4, 6);
        t[4 + i] = QUARTERS(r[i], r[4 + i], 1, 3, 5, 7);
        t[8 + i] = QUARTERS(r[8 + i], r[12 + i], 0, 2, 4, 6);
        t[12 + i] = QUARTERS(r[8 + i], r[12 + i], 1, 3, 5, 7);
    }
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++) {
        r[i] = QUARTERS(t[i], t[8 + i], 0, 2, 4, 6);
        r[8 + i] = QUARTERS(t[i], t[8 + i], 1, 3, 5, 7);
    }
}
#undef SHUFFLED
#undef QUARTERS
