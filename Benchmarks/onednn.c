// oneDNN as a rival of the products. Products of fp32 need no header; those of bf16 are its matmul primitive, whose types
// only the header of oneDNN 2 says.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

#include "measure.h"

#if __has_include(<oneapi/dnnl/dnnl.h>)
#include <oneapi/dnnl/dnnl.h>
#elif __has_include(<dnnl.h>)
#include <dnnl.h>
#endif

static bool say_version(void *found, char name[NAME]) {
    const int *(*version)(void) = (const int *(*)(void))dlsym(found, "dnnl_version");
    if (version == NULL) return false;
    snprintf(name, NAME, "oneDNN %d.%d.%d", version()[0], version()[1], version()[2]);
    return true;
}

// int64_t is oneDNN's dnnl_dim_t.
static int (*sgemm)(char, char, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t, float,
                    float *, int64_t);

bool open_onednn(int threads, char name[NAME]) {
    (void)threads;  // OMP_NUM_THREADS
    void *found = library((const char *const[]){"libdnnl.so.3", "libdnnl.so.2", NULL});
    if (found == NULL) return false;
    *(void **)&sgemm = dlsym(found, "dnnl_sgemm");
    return sgemm != NULL && say_version(found, name);
}

void multiply_onednn(mr_context *context, const mr_product *p) {
    (void)context;
    sgemm(p->transpose_a ? 'T' : 'N', p->transpose_b ? 'T' : 'N', p->m, p->n, p->k, 1, p->a, p->lda, p->b, p->ldb,
          p->base != NULL, p->c, p->ldc);
}

#if defined(DNNL_VERSION_MAJOR) && DNNL_VERSION_MAJOR == 2

#define FUNCTIONS(DO)                                                                                                   \
    DO(engine_create) DO(stream_create) DO(stream_wait) DO(memory_desc_init_by_strides) DO(memory_create)               \
    DO(matmul_desc_init) DO(post_ops_create) DO(post_ops_append_sum) DO(primitive_attr_create)                          \
    DO(primitive_attr_set_post_ops) DO(primitive_desc_create) DO(primitive_create) DO(primitive_execute)
#define DECLARE(function) static __typeof__(dnnl_##function) *function;
#define FIND(function) &&(*(void **)&function = dlsym(found, "dnnl_" #function)) != NULL
FUNCTIONS(DECLARE)

static dnnl_engine_t engine;
static dnnl_stream_t stream;

bool open_onednn_bf16(int threads, char name[NAME]) {
    (void)threads;  // OMP_NUM_THREADS
    void *found = library((const char *const[]){"libdnnl.so.2", NULL});
    if (found == NULL || !(true FUNCTIONS(FIND)) || !say_version(found, name)) return false;
    return engine_create(&engine, dnnl_cpu, 0) == dnnl_success &&
           stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success;
}

/// The primitive of the one product that this process measures, and its operands in bf16.
static struct {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t operands[3];
} ready;

/// A matrix of op(A), op(B) or C as oneDNN takes it, over memory that keeps its layout.
static bool describe(dnnl_exec_arg_t *operand, dnnl_memory_desc_t *description, int which, dnnl_data_type_t type,
                     int64_t rows, int64_t columns, bool transposed, int64_t stride, void *numbers) {
    operand->arg = which;
    return memory_desc_init_by_strides(description, 2, (dnnl_dims_t){rows, columns}, type,
                                       (dnnl_dims_t){transposed ? 1 : stride, transposed ? stride : 1}) == dnnl_success &&
           memory_create(&operand->memory, description, engine, numbers) == dnnl_success;
}

static uint16_t *converted(mr_context *context, const float *x, int64_t count) {
    uint16_t *y = (uint16_t *)take(context, (count + 1) / 2);
    for (int64_t i = 0; i < count; i++) y[i] = bf16(x[i]);
    return y;
}

static bool prepare(mr_context *context, const mr_product *p) {
    dnnl_memory_desc_t a, b, c;
    dnnl_matmul_desc_t product;
    dnnl_post_ops_t after;
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t description;
    return describe(&ready.operands[0], &a, DNNL_ARG_SRC, dnnl_bf16, p->m, p->k, p->transpose_a, p->lda,
                    converted(context, p->a, p->m * p->k)) &&
           describe(&ready.operands[1], &b, DNNL_ARG_WEIGHTS, dnnl_bf16, p->k, p->n, p->transpose_b, p->ldb,
                    converted(context, p->b, p->n * p->k)) &&
           describe(&ready.operands[2], &c, DNNL_ARG_DST, dnnl_f32, p->m, p->n, false, p->ldc, p->c) &&
           matmul_desc_init(&product, &a, &b, NULL, &c) == dnnl_success && post_ops_create(&after) == dnnl_success &&
           (p->base == NULL || post_ops_append_sum(after, 1) == dnnl_success) &&
           primitive_attr_create(&attributes) == dnnl_success &&
           primitive_attr_set_post_ops(attributes, after) == dnnl_success &&
           primitive_desc_create(&description, &product, attributes, engine, NULL) == dnnl_success &&
           primitive_create(&ready.primitive, description) == dnnl_success;
}

/// The first call, which nobody times, prepares. A product that it cannot do leaves C, which is then found wrong.
void multiply_onednn_bf16(mr_context *context, const mr_product *p) {
    if (ready.primitive == NULL && !prepare(context, p)) return;
    primitive_execute(ready.primitive, stream, 3, ready.operands);
    stream_wait(stream);
}

#else

bool open_onednn_bf16(int threads, char name[NAME]) {
    (void)threads, (void)name;
    return false;
}

void multiply_onednn_bf16(mr_context *context, const mr_product *p) { (void)context, (void)p; }

#endif
