// The inner loops of Millrace, in C: matrix products, attention, row work, the optimizer's pass.
//
// Nothing here knows a model or a file. Every function gives the same bits on every instruction set and for every
// number of threads (docs/numerics.md states the order of each sum); the Swift module `Kernels` holds the scalar twin
// of each function, which is its specification. Shapes are row-major; `n` counts rows (tokens). No function allocates:
// what they need lives in the context, made once.
#ifndef MILLRACE_CKERNELS_H
#define MILLRACE_CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flat.h"
#include "text.h"

#ifdef __cplusplus
extern "C" {
#endif

// MARK: context.c, dispatch.c: instruction sets, the thread pool, the workspace

typedef enum { MR_ISA_SCALAR = 0, MR_ISA_AVX2 = 1, MR_ISA_AVX512 = 2, MR_ISA_NEON = 3, MR_ISA_AVX512_BF16 = 4 } mr_isa;

/// MR_ISA_AVX512_BF16 is AVX-512 with VDPBF16PS for products of bf16.
/// Whether this processor (and this build) can run `isa`. Scalar always can.
bool mr_isa_supported(mr_isa isa);
/// The widest supported one; of those that differ in products of bf16 only, the one that is faster at them.
mr_isa mr_isa_best(void);

typedef struct mr_context mr_context;

/// A persistent pool of `threads` (the caller counts as one; 0 = the CPUs this process may run on) running kernels of
/// `isa`. NULL when threads cannot be made or `isa` is not supported. Workers spin for a bounded time, then sleep; they
/// do not spin when threads outnumber CPUs.
mr_context *mr_context_create(int threads, mr_isa isa);
void mr_context_destroy(mr_context *context);
int mr_context_threads(const mr_context *context);
mr_isa mr_context_isa(const mr_context *context);
/// Bytes the context holds (packing panels, attention scratch), for the printed memory plan.
size_t mr_context_bytes(const mr_context *context);

/// Calls work(argument, task, worker) for every task in 0 ..< tasks, spread over the pool, and returns when all are done.
/// worker is in 0 ..< threads. Not reentrant.
void mr_parallel(mr_context *context, int64_t tasks, void (*work)(void *argument, int64_t task, int worker),
                 void *argument);

// MARK: gemm.c

/// What operands of a product are rounded to before they are multiplied.
typedef enum { MR_FP32 = 0, MR_BF16 = 1 } mr_precision;

/// What becomes of a finished number of C, with GELU's tanh form gelu(x) = x · σ(2u), u = √(2/π) (x + 0.044715 x³)
/// (arXiv:1606.08415):
///   MR_GELU           other = gelu(C), and C stays
///   MR_GELU_BACKWARD  C = C · gelu'(other): the gradient of what GELU was applied to, where C was that of its result
typedef enum { MR_NO_ACTIVATION = 0, MR_GELU = 1, MR_GELU_BACKWARD = 2 } mr_activation;

/// C (m, n) = base + op(A) (m, k) · op(B) (k, n) + bias, then the activation.
///
/// Order of summation: k is cut in blocks that begin at every multiple of `period` and at every multiple of MR_GEMM_KC
/// after such a beginning. A block's sum starts at 0 and takes its products in order of k, each by one fused
/// multiply-add; block sums are added to the base in order (the first one replaces C when there is no base); then the bias
/// is added. k = 0 leaves base + bias. The activation is applied to each number when it is finished.
///
/// With MR_BF16 every number of A and B is rounded to bf16 first (to nearest, ties to even; a subnormal number becomes
/// zero). A block's products are taken in
/// pairs (0, 1), (2, 3) … counted from its beginning, of each pair the second first; subnormal numbers of fp32 count as zero
/// in operands, sums and results, not in activations. All else, sums and C included, stays fp32. The bits are those of VDPBF16PS.
#define MR_GEMM_KC 256
typedef struct {
    bool transpose_a, transpose_b;  // A is stored (k, m) with row stride lda, else (m, k); B is stored (n, k), else (k, n)
    int64_t m, n, k;
    int64_t period;                 // 0: k is one period
    const float *a, *b;
    int64_t lda, ldb;
    const float *base;              // (m, n), may be C itself; NULL: nothing
    int64_t ldbase;
    const float *bias;              // (n); NULL: nothing
    float *c;
    int64_t ldc;
    mr_precision precision;
    mr_activation activation;
    float *other;                   // (m, n), read or written by the activation
    int64_t ldother;
} mr_product;
void mr_gemm(mr_context *context, const mr_product *product);

// MARK: optimizer.c: one pass over flat arrays

/// y = 0.
void mr_zero(mr_context *context, int64_t n, float *y);
/// y += x, elementwise.
void mr_add(mr_context *context, int64_t n, const float *x, float *y);
/// Σ x², in double: blocks of 4096 elements; inside a block 8 lanes (element i to lane i mod 8), products and sums in
/// double with fused multiply-add, lanes added as a tree ((0+4)+(2+6))+((1+5)+(3+7)); block sums added in order.
/// A non-finite input gives a non-finite result.
double mr_sum_squares(mr_context *context, int64_t n, const float *x);

/// The same sum and the largest |x|, which is NaN when any element is.
typedef struct {
    double squares;
    float largest;
} mr_magnitude;
mr_magnitude mr_magnitude_of(mr_context *context, int64_t n, const float *x);

/// What an update went through: Σ (after - before)² and Σ before² over the parameters, differences in double, both sums in
/// the order of mr_sum_squares. The updates below add to it where it is not NULL, which changes no bit of what they do.
typedef struct {
    double update, weight;
} mr_update_squares;

/// AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101), decoupled decay:
///   g' = g · gradient_scale
///   m  = fma(one_minus_beta1, g' - m, m)
///   v  = fma(one_minus_beta2, fma(g', g', -v), v)
///   p  = fma(-decay, p, p)                       (decay = learning rate · weight decay; 0 skips nothing)
///   p  = p - (step_size · m) / (sqrt(v) · inverse_sqrt_bias2 + epsilon)
/// with step_size = lr / (1 - beta1^t) and inverse_sqrt_bias2 = 1 / sqrt(1 - beta2^t), computed by the caller in double.
typedef struct {
    float gradient_scale, one_minus_beta1, one_minus_beta2, decay, step_size, inverse_sqrt_bias2, epsilon;
} mr_adamw_parameters;
void mr_adamw(mr_context *context, int64_t n, mr_adamw_parameters parameters, const float *g, float *p, float *m,
              float *v, mr_update_squares *squares);

/// Lion (Chen et al. 2023, arXiv:2302.06675), decoupled decay:
///   g' = g · gradient_scale
///   c  = fma(one_minus_beta1, g' - m, m)
///   m  = fma(one_minus_beta2, g' - m, m)
///   p  = fma(-decay, p, p)
///   p  = p - step_size where c > 0, p + step_size where c < 0, p where c = 0
typedef struct {
    float gradient_scale, one_minus_beta1, one_minus_beta2, decay, step_size;
} mr_lion_parameters;
void mr_lion(mr_context *context, int64_t n, mr_lion_parameters parameters, const float *g, float *p, float *m,
             mr_update_squares *squares);

/// Stochastic gradient descent with momentum (Polyak 1964; Sutskever et al. 2013), decay added to the gradient:
///   d  = fma(decay, p, g · gradient_scale)
///   m  = fma(momentum, m, d)
///   p  = fma(-step_size, m, p), or with nesterov fma(-step_size, fma(momentum, m, d), p)
/// m may be NULL: then p = fma(-step_size, d, p).
typedef struct {
    float gradient_scale, decay, momentum, step_size;
    bool nesterov;
} mr_sgd_parameters;
void mr_sgd(mr_context *context, int64_t n, mr_sgd_parameters parameters, const float *g, float *p, float *m,
            mr_update_squares *squares);

/// y = fma(weight, x · scale - y, y): a moving average; and then, unless u is NULL, what Muon makes orthogonal:
/// u = y, or with nesterov u = fma(1 - weight, y - x · scale, x · scale).
typedef struct {
    float scale, weight;
    bool nesterov;
} mr_average_parameters;
void mr_average(mr_context *context, int64_t n, mr_average_parameters parameters, const float *x, float *y, float *u);

/// y = fma(a, x, b · y); y may be x.
void mr_combine(mr_context *context, int64_t n, float a, const float *x, float b, float *y);

// MARK: peak.c

/// Floating-point operations a second of fused multiply-adds in registers, on all threads at once: what the context's
/// processors can do in fp32 with its instruction set now, the best of about ten milliseconds.
double mr_peak_rate(mr_context *context);

// MARK: norms.c

/// rstd[i] = 1 / sqrt(mean(x²) + epsilon); y = x · rstd · w   (RMSNorm, arXiv:1910.07467). x, y are (n, c); w is (c).
/// The mean of squares: 16 float lanes (element i to lane i mod 16), fused multiply-add, then the fixed tree.
void mr_rmsnorm_forward(mr_context *context, int64_t n, int64_t c, const float *x, const float *w, float epsilon,
                        float *y, float *rstd);
/// dx += , dw +=. dw takes, for each period of `period` rows (0 = all n), the sum over that period's rows in order,
/// started at 0, then added.
void mr_rmsnorm_backward(mr_context *context, int64_t n, int64_t c, int64_t period, const float *x, const float *w,
                         const float *rstd, const float *dy, float *dx, float *dw);

/// RMSNorm of each of `heads` heads of width d in n tokens, in place, all with the weight w (d): Qwen3's norms of queries
/// and keys (arXiv:2505.09388). Tokens of x are `stride` floats apart; `kept` takes x as it was, its tokens `kept_stride`
/// apart, for the backward pass; rstd is (n, heads).
void mr_head_norm_forward(mr_context *context, int64_t n, int64_t heads, int64_t d, float *x, int64_t stride,
                          const float *w, float epsilon, float *kept, int64_t kept_stride, float *rstd);
/// dy becomes dx in place; dw takes, for each period of `period` tokens, the sum over tokens, and heads inside a token,
/// in order, started at 0, then added.
void mr_head_norm_backward(mr_context *context, int64_t n, int64_t heads, int64_t d, int64_t period, const float *x,
                           int64_t x_stride, const float *w, const float *rstd, float *dy, int64_t y_stride,
                           float *dw);

/// y = (x - mean) · rstd · w + b with rstd = 1 / sqrt(mean((x - mean)²) + epsilon)   (LayerNorm, arXiv:1607.06450). The
/// mean, then the mean of squared differences: 16 float lanes each, then the fixed tree. y = fma((x - mean) · rstd, w, b).
void mr_layernorm_forward(mr_context *context, int64_t n, int64_t c, const float *x, const float *w, const float *b,
                          float epsilon, float *y, float *mean, float *rstd);
/// dx +=, dw +=, db +=; dw and db in periods as in mr_rmsnorm_backward.
void mr_layernorm_backward(mr_context *context, int64_t n, int64_t c, int64_t period, const float *x, const float *w,
                           const float *mean, const float *rstd, const float *dy, float *dx, float *dw, float *db);

/// db += for each period of rows the sum of dy over them, in order, started at 0.
void mr_bias_backward(mr_context *context, int64_t n, int64_t c, int64_t period, const float *dy, float *db);

// MARK: rows.c

/// cosine, sine: (positions, d/2) for angle = p · theta^(-2i/d), computed in double by our own functions (the same bits
/// on every processor), then rounded.
void mr_rope_table(double theta, int64_t positions, int64_t d, float *cosine, float *sine);
/// The same for given frequencies (half of them), times `magnitude`.
void mr_rope_table_of(const double *frequency, double magnitude, int64_t positions, int64_t half, float *cosine,
                      float *sine);
/// Rotates (RoFormer, arXiv:2104.09864; split-half pairs (i, i + d/2)) `heads` heads of width d in each of n rows of x,
/// in place; a row begins every `stride` floats. position[i] chooses the row of the table. `inverse` rotates back
/// (which is the backward pass).
void mr_rope(mr_context *context, int64_t n, int64_t heads, int64_t d, int64_t stride, float *x,
             const uint32_t *position, const float *cosine, const float *sine, bool inverse);

/// gate_up is (n, 2·width): gate then up. out (n, width) = silu(gate) · up   (SwiGLU, arXiv:2002.05202).
void mr_swiglu_forward(mr_context *context, int64_t n, int64_t width, const float *gate_up, float *out);
/// d_gate_up (n, 2·width) is overwritten. It may be gate_up itself.
void mr_swiglu_backward(mr_context *context, int64_t n, int64_t width, const float *gate_up, const float *dout,
                        float *d_gate_up);

/// out (n, c) = table[ids], plus position_table[positions] unless that table is NULL. The caller has checked the ids.
void mr_embedding_forward(mr_context *context, int64_t n, int64_t c, const float *table, const uint32_t *ids,
                          const float *position_table, const uint32_t *positions, float *out);
/// dtable[ids[i]] += dout[i], in order of i.
void mr_embedding_backward(mr_context *context, int64_t n, int64_t c, const float *dout, const uint32_t *ids,
                           float *dtable);

/// table (…, c): rows ids[0 ..< n] become 0.
void mr_zero_rows(mr_context *context, int64_t n, int64_t c, const uint32_t *ids, float *table);
/// table[id] += x[id] (…, c) for each of n different ids.
void mr_add_rows(mr_context *context, int64_t n, int64_t c, const uint32_t *ids, const float *x, float *table);

/// Softmax and cross-entropy of each row of logits (n, v), row stride `stride`. loss[i] = log Σ exp(logits) −
/// logits[target], or 0 where weight[i] == 0. When `gradient`, logits become weight[i] · (softmax − one-hot), rows of
/// weight 0 become 0. weight is what the caller divides by (1 / count of targets), so losses are unweighted and
/// gradients weighted. A non-finite logit gives a non-finite loss.
/// The sum: exp(logit − largest), in blocks of 1024 (16 float lanes, then the fixed tree), blocks in order in double.
void mr_cross_entropy(mr_context *context, int64_t n, int64_t v, int64_t stride, float *logits,
                      const uint32_t *targets, const float *weight, float *loss, bool gradient);

// MARK: attention.c

/// Causal attention inside documents. Token i of a row attends to keys first[i] ... i (indices inside its row).
typedef struct {
    int64_t rows, length;          // B, T
    int64_t heads, kv_heads, d;    // H, KV (divides H), head width (≤ 256, a multiple of 2)
    int64_t q_stride, k_stride, v_stride, out_stride;  // floats from one token to the next
    float scale;                   // 1 / sqrt(d)
} mr_attention_shape;

/// q points at head 0 of token 0; token t, head h lies at q + t · q_stride + h · d (k, v alike with kv_heads).
/// out (B·T, H·d by out_stride), log_sum_exp (B, H, T): what the backward pass needs, instead of a T × T matrix.
/// Blocked online softmax (arXiv:2112.05682, arXiv:2205.14135); masked blocks are skipped; memory O(T).
///
/// Order: a score is a chain of fused multiply-adds k[i] · (q[i] · scale) in order of i. Keys come in blocks that begin
/// at multiples of 64 in the row; before a block's weights exp(score − largest so far) are added, in order of keys, to
/// their sum and (by fused multiply-add) to the output, both are multiplied by exp(largest before − largest now).
/// out = output · (1 / sum); log_sum_exp = largest + ln sum.
void mr_attention_forward(mr_context *context, const mr_attention_shape *shape, const float *q, const float *k,
                          const float *v, const int32_t *first, float *out, float *log_sum_exp);
/// dq, dk, dv (strides as q, k, v) are overwritten. `delta` is scratch (B, H, T): Σ_d dout · out.
///
/// Order: p = exp(score − log_sum_exp), ds = (p · (Σ_i v[i] · dout[i] − delta)) · scale. dq takes ds · k key by key; dk
/// and dv take ds · q and p · dout head by head of the group and query by query, each one chain of fused multiply-adds.
void mr_attention_backward(mr_context *context, const mr_attention_shape *shape, const float *q, const float *k,
                           const float *v, const int32_t *first, const float *out, const float *log_sum_exp,
                           const float *dout, float *delta, float *dq, float *dk, float *dv);
/// One new token against a cache: q (H, d), k and v caches (count, KV, d), out (H, d). The bits are those of the last
/// token of mr_attention_forward over the whole row (first = 0).
void mr_attention_decode(mr_context *context, int64_t count, int64_t heads, int64_t kv_heads, int64_t d, float scale,
                         const float *q, const float *k, const float *v, float *out);

// MARK: random.c: a counter-based generator; the same (seed, purpose, step, index) gives the same number anywhere

/// 64 uniform bits for (seed, purpose, step, index).
uint64_t mr_random_bits(uint64_t seed, uint64_t purpose, uint64_t step, uint64_t index);
/// out[i] = mean 0, deviation `deviation` normal for index first + i (Box–Muller in double by our own log, sin, cos).
void mr_random_normal(uint64_t seed, uint64_t purpose, uint64_t step, uint64_t first, int64_t n, float deviation,
                      float *out);

/// y = exp(x) by the polynomial that every kernel uses (1 ulp; below the smallest normal number 0); y may be x.
void mr_exp(mr_context *context, int64_t n, const float *x, float *y);

// MARK: bytes.c

/// Tells glibc's allocator to keep what is freed; nothing elsewhere.
void mr_keep_freed_memory(void);
/// Asks for `count` bytes to be brought into the caches.
void mr_prefetch(const void *bytes, size_t count);
/// The largest of `count` unsigned integers of `width` bytes, 2 or 4, wherever they lie; 0 of none.
uint32_t mr_largest(const void *bytes, size_t count, int width);
/// Whether none of `count` floats is infinite or not a number.
bool mr_all_finite(const float *values, size_t count);

// MARK: crc32c.c

/// Whether this processor has an instruction for CRC-32C.
bool mr_crc32c_supported(void);
/// The CRC-32C of `count` bytes, going on from `previous` (0 at the start). Only where supported.
uint32_t mr_crc32c(uint32_t previous, const void *bytes, size_t count);
/// The same without carry-less products; for tests.
uint32_t mr_crc32c_lanes(uint32_t previous, const void *bytes, size_t count);

#ifdef __cplusplus
}
#endif
#endif
