// exp and log of 16 floats, and the choice between lanes: one polynomial each, built of the IEEE operations that every
// instruction set rounds alike, so that softmax and SiLU give the same bits everywhere (libm's differ between CPUs and
// releases). Compiled anew inside each instruction set's target, like vector_ops.h. The Swift twin is
// `Naive.exponential` and `Naive.logarithm`.

/// `mask` is all ones or all zeros in a lane, as a comparison leaves it.
INLINE f16 select16(i16 mask, f16 yes, f16 no) { return (f16)((mask & (i16)yes) | (~mask & (i16)no)); }
/// a > b ? a : b: with NaN in a the answer is b, with NaN in b it is b.
INLINE f16 larger16(f16 a, f16 b) { return select16(a > b, a, b); }

/// e^x to 1 ulp. Below ln 2^-126 the result is 0 (no subnormal numbers), above ln of the largest float it is infinite,
/// NaN stays. x = n ln 2 + r with |r| <= ln 2 / 2; e^r = 1 + r + r² q(r), q minimax of degree 4 (3e-9); 2^n is added
/// to the exponent, which is exact because the result is a normal number.
INLINE f16 exp16(f16 x) {
    typedef uint32_t bits16 __attribute__((vector_size(64)));
    const f16 round = set16(12582912.0f);  // 1.5 · 2^23: adding it rounds to an integer, kept in the low bits
    f16 shifted = fma16(x, set16(1.44269504f), round);
    f16 n = shifted - round;
    f16 r = fma16(n, set16(-0.693359375f), x);
    r = fma16(n, set16(2.12194440e-4f), r);
    f16 p = set16(0.00138143182f);
    p = fma16(p, r, set16(0.00836885162f));
    p = fma16(p, r, set16(0.0416684002f));
    p = fma16(p, r, set16(0.166665196f));
    p = fma16(p, r, set16(0.49999994f));
    p = fma16(p, r, set16(1.0f));
    p = fma16(p, r, set16(1.0f));
    f16 y = (f16)((bits16)p + ((bits16)shifted << 23));
    y = select16(x < set16(-87.3365402f), set16(0.0f), y);
    y = select16(x > set16(88.7228317f), set16(INFINITY), y);
    return select16(x == x, y, x);
}

/// ln x to 1 ulp for positive normal x; infinity and NaN stay, 0 gives minus infinity; others are not asked for.
/// x = 2^e m with m in [√½, √2), f = m - 1: ln m = f - f²/2 + f³ p(f), p minimax of degree 8 (8e-10).
INLINE f16 log16(f16 x) {
    i16 bits = (i16)x;
    i16 above = bits - 0x3f3504f3;  // √½
    i16 exponent = above >> 23;
    f16 f = (f16)((above & 0x007fffff) + 0x3f3504f3) - set16(1.0f);
    f16 e = __builtin_convertvector(exponent, f16);
    f16 p = set16(0.0674660131f);
    p = fma16(p, f, set16(-0.116756409f));
    p = fma16(p, f, set16(0.118881747f));
    p = fma16(p, f, set16(-0.124055915f));
    p = fma16(p, f, set16(0.142195508f));
    p = fma16(p, f, set16(-0.166679963f));
    p = fma16(p, f, set16(0.200021192f));
    p = fma16(p, f, set16(-0.250000089f));
    p = fma16(p, f, set16(0.333333135f));
    f16 square = f * f;
    f16 tail = fma16(p, square * f, e * set16(-2.12194440e-4f));
    tail = fma16(square, set16(-0.5f), tail);
    f16 y = fma16(e, set16(0.693359375f), f + tail);
    y = select16(x == set16(0.0f), set16(-INFINITY), y);
    return select16(x < set16(INFINITY), y, x);
}

/// 1 / (1 + e^-x).
INLINE f16 sigmoid16(f16 x) { return set16(1.0f) / (set16(1.0f) + exp16(-x)); }

/// GELU's tanh form (arXiv:1606.08415), ½ x (1 + tanh u) with u = √(2/π) (x + 0.044715 x³), which is x · σ(2u): 2u.
INLINE f16 gelu_argument16(f16 x) { return set16(1.59576912f) * fma16(set16(0.044715f) * x, x * x, x); }
INLINE f16 gelu16(f16 x) { return x * sigmoid16(gelu_argument16(x)); }
/// Its derivative: with s = σ(2u), s + x · s · (1 − s) · d(2u)/dx.
INLINE f16 gelu_slope16(f16 x) {
    const f16 s = sigmoid16(gelu_argument16(x));
    const f16 slope = fma16(set16(0.214064495f) * x, x, set16(1.59576912f));
    return fma16(x * s * (set16(1.0f) - s), slope, s);
}
