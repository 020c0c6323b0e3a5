// The operations of vector.h, compiled anew inside each instruction set's target (no include guard, on purpose).
INLINE f16 load16(const float *p) {
    f16 v;
    memcpy(&v, p, sizeof v);
    return v;
}
INLINE void store16(float *p, f16 v) { memcpy(p, &v, sizeof v); }
INLINE f16 set16(float x) { return (f16){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
INLINE f16 fma16(f16 a, f16 b, f16 c) { return __builtin_elementwise_fma(a, b, c); }
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
