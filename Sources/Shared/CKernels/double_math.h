// log, exp, sin and cos in double, by our own operations in a fixed order, so that tables and initial weights have the
// same bits on every processor (a C library picks its variant by CPU, and their last bits differ). Accurate to a few
// units in the last place over the ranges used here: far below the float that results are rounded to.
#ifndef MILLRACE_DOUBLE_MATH_H
#define MILLRACE_DOUBLE_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#pragma STDC FP_CONTRACT OFF

/// ln x for finite x > 0 (normal): x = m · 2^e with m in [√½, √2); ln m = 2 artanh((m − 1)/(m + 1)) as a series.
static inline double double_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t exponent = (int64_t)(bits >> 52 & 0x7ff) - 1023;
    bits = (bits & 0x000fffffffffffffULL) | 0x3ff0000000000000ULL;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m = m * 0.5;
        exponent += 1;
    }
    double s = (m - 1.0) / (m + 1.0);
    double z = s * s;
    // |s| ≤ 0.1716, z ≤ 0.0295: eleven terms reach 2^-53.
    double sum = 1.0 / 23.0;
    for (int n = 21; n >= 3; n -= 2) sum = sum * z + 1.0 / (double)n;
    double tail = 2.0 * s * z * sum;
    // ln 2 in two parts, the first with trailing zeros so that its product with the exponent is exact.
    return (double)exponent * 0.693147180369123816490 + (2.0 * s + (tail + (double)exponent * 1.90821492927058770002e-10));
}

/// e^x for |x| < 700: x = k ln 2 + r, |r| ≤ ln 2 / 2, Taylor series of r.
static inline double double_exp(double x) {
    double k = floor(x * 1.4426950408889634074 + 0.5);
    double r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
    double sum = 1.0;
    for (int n = 15; n >= 1; n--) sum = sum * r / (double)n + 1.0;
    uint64_t bits = (uint64_t)((int64_t)k + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return sum * power;
}

/// sin x and cos x for 0 ≤ x < 2^30: x = k π/2 + r with π/2 in three parts (Cody & Waite), Taylor series of r.
static inline void double_sincos(double x, double *sine, double *cosine) {
    double k = floor(x * 0.63661977236758134308 + 0.5);
    double r = ((x - k * 1.57079632673412561417) - k * 6.07710050630396597660e-11) - k * 2.02226624879595063154e-21;
    double z = r * r;
    double s = 1.0, c = 1.0;
    for (int n = 20; n >= 2; n -= 2) {
        s = 1.0 - z * s / (double)(n * (n + 1));
        c = 1.0 - z * c / (double)(n * (n - 1));
    }
    s = r * s;
    switch ((int64_t)k & 3) {
    case 0: *sine = s; *cosine = c; break;
    case 1: *sine = c; *cosine = -s; break;
    case 2: *sine = -s; *cosine = -c; break;
    default: *sine = -c; *cosine = s; break;
    }
}

#endif
