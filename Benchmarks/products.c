// Matrix products on the shapes of real steps beside oneDNN and OpenBLAS. OpenMP's threads spin for a while after a product
// and would disturb whoever runs next, so every measurement is a process of its own: a parent that computes nothing starts a
// child for each shape, round and contender in turn, and the child measures the processor's peak beside the product. Another
// precision is more rows in `contenders`.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

enum { MISSING = 69, WRONG = 70, MOST_CALLS = 64, SAMPLES = 64 };
static const double shortest = 0.05;  // seconds of calls that a child takes the median of

// MARK: shapes

typedef struct {
    const char *name, *layout;  // layout: whether A and B are transposed
    int64_t m, n, k, period;
    bool accumulates;
} shape;

#define GPT2(rows, length)                                              \
    {"124M qkv", "NN", rows, 2304, 768, 0, false},                      \
    {"124M attention out", "NN", rows, 768, 768, 0, false},             \
    {"124M up", "NN", rows, 3072, 768, 0, false},                       \
    {"124M down", "NN", rows, 768, 3072, 0, false},                     \
    {"124M qkv input", "NT", rows, 768, 2304, 0, false},                \
    {"124M attention out input", "NT", rows, 768, 768, 0, false},       \
    {"124M up input", "NT", rows, 768, 3072, 0, false},                 \
    {"124M down input", "NT", rows, 3072, 768, 0, false},               \
    {"124M qkv weights", "TN", 768, 2304, rows, length, true},          \
    {"124M attention out weights", "TN", 768, 768, rows, length, true}, \
    {"124M up weights", "TN", 768, 3072, rows, length, true},           \
    {"124M down weights", "TN", 3072, 768, rows, length, true},         \
    {"124M head", "NT", rows, 50304, 768, 0, false},                    \
    {"124M head input", "NN", rows, 768, 50304, 0, false},              \
    {"124M head weights", "TN", 50304, 768, rows, length, true}

static const shape shapes[] = {
    // GPT-2 124M, whose weights are (in, out): 4 rows of 64 and of 256 tokens.
    GPT2(256, 64),
    GPT2(1024, 256),
    // Six layers, 384 wide, 16 rows of 256 tokens: Llama, whose weights are (out, in).
    {"Llama 6x384 qkv", "NT", 4096, 1152, 384, 0, false},
    {"Llama 6x384 attention out", "NT", 4096, 384, 384, 0, false},
    {"Llama 6x384 gate and up", "NT", 4096, 2048, 384, 0, false},
    {"Llama 6x384 down", "NT", 4096, 384, 1024, 0, false},
    {"Llama 6x384 head", "NT", 4096, 512, 384, 0, false},
    {"Llama 6x384 qkv input", "NN", 4096, 384, 1152, 0, false},
    {"Llama 6x384 gate and up input", "NN", 4096, 384, 2048, 0, false},
    {"Llama 6x384 qkv weights", "TN", 1152, 384, 4096, 256, true},
    {"Llama 6x384 gate and up weights", "TN", 2048, 384, 4096, 256, true},
    // The same as GPT-2.
    {"GPT-2 6x384 qkv", "NN", 4096, 1152, 384, 0, false},
    {"GPT-2 6x384 up", "NN", 4096, 1536, 384, 0, false},
    {"GPT-2 6x384 down", "NN", 4096, 384, 1536, 0, false},
    {"GPT-2 6x384 up input", "NT", 4096, 384, 1536, 0, false},
    {"GPT-2 6x384 down input", "NT", 4096, 1536, 384, 0, false},
    {"GPT-2 6x384 up weights", "TN", 384, 1536, 4096, 256, true},
    // Adapters of rank 8 beside a matrix of (1,376, 512), 4 rows of 256 tokens: x · A', and with B'; of dy the gradients of B,
    // of what is between, of A and of x.
    {"rank 8, x A", "NT", 1024, 8, 512, 0, false},
    {"rank 8, B", "NT", 1024, 1376, 8, 0, true},
    {"rank 8, B weights", "TN", 1376, 8, 1024, 256, true},
    {"rank 8, B input", "NN", 1024, 8, 1376, 0, false},
    {"rank 8, A weights", "TN", 8, 512, 1024, 256, true},
    {"rank 8, A input", "NN", 1024, 512, 8, 0, true},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, TRIAL_SHAPE = 17 };  // 1,024 x 3,072 x 768

static double operations(const shape *s) { return 2.0 * (double)s->m * (double)s->n * (double)s->k; }

// MARK: contenders

/// Makes a contender ready and says what it is; false: it is not on this machine.
typedef bool opening(int threads, char name[NAME]);
typedef void multiplying(mr_context *context, const mr_product *product);

static bool open_ours(int threads, char name[NAME]) {
    (void)threads;
    snprintf(name, NAME, "ours");
    return true;
}

void *library(const char *const *names) {
    void *found = NULL;
    for (; found == NULL && *names != NULL; names++) found = dlopen(*names, RTLD_NOW);
    return found;
}

static void (*cblas_sgemm)(int, int, int, int, int, int, float, const float *, int, const float *, int, float, float *, int);

static bool open_openblas(int threads, char name[NAME]) {
    void *found = library((const char *const[]){"libopenblas.so.0", "libopenblas.so", NULL});
    if (found == NULL) return false;
    *(void **)&cblas_sgemm = dlsym(found, "cblas_sgemm");
    void (*set_threads)(int) = (void (*)(int))dlsym(found, "openblas_set_num_threads");
    char *(*core)(void) = (char *(*)(void))dlsym(found, "openblas_get_corename");
    if (cblas_sgemm == NULL || set_threads == NULL || core == NULL) return false;
    set_threads(threads);
    snprintf(name, NAME, "OpenBLAS %s", core());
    return true;
}

static void multiply_openblas(mr_context *context, const mr_product *p) {
    (void)context;
    enum { ROW_MAJOR = 101, NOT_TRANSPOSED = 111, TRANSPOSED = 112 };
    cblas_sgemm(ROW_MAJOR, p->transpose_a ? TRANSPOSED : NOT_TRANSPOSED, p->transpose_b ? TRANSPOSED : NOT_TRANSPOSED, (int)p->m,
                (int)p->n, (int)p->k, 1, p->a, (int)p->lda, p->b, (int)p->ldb, p->base != NULL, p->c, (int)p->ldc);
}

typedef struct {
    const char *precision, *name, *package;
    double error;  // of an element, relative to it or to sqrt(k), beside the exact one of operands rounded to the precision
    opening *open;
    multiplying *multiply;
} contender;

/// Of each precision ours first. Sums of bf16 are fp32's, so the same error is allowed; operands that nobody rounded would
/// be tens of times further off.
static const contender contenders[] = {
    {"fp32", "ours", "", 1e-5, open_ours, mr_gemm},
    {"fp32", "oneDNN", "libdnnl-dev", 1e-5, open_onednn, multiply_onednn},
    {"fp32", "OpenBLAS", "libopenblas0-pthread", 1e-5, open_openblas, multiply_openblas},
    {"bf16", "ours", "", 1e-5, open_ours, mr_gemm},
    {"bf16", "oneDNN", "libdnnl-dev of oneDNN 2", 1e-5, open_onednn_bf16, multiply_onednn_bf16},
};
enum { CONTENDERS = sizeof contenders / sizeof *contenders };

// MARK: the child

/// Sampled elements of C before the product, and after it as they must be.
typedef struct {
    int64_t row[SAMPLES], column[SAMPLES];
    double wanted[SAMPLES];
} samples;

/// x as a product of `precision` takes it.
static double operand(mr_precision precision, float x) {
    if (precision == MR_FP32) return (double)x;
    const uint32_t bits = (uint32_t)bf16(x) << 16;
    memcpy(&x, &bits, sizeof x);
    return (double)x;
}

static void sample(const mr_product *p, samples *of) {
    for (int i = 0; i < SAMPLES; i++) {
        const int64_t row = of->row[i] = (i * INT64_C(7919) + 13) % p->m;
        const int64_t column = of->column[i] = (i * INT64_C(104729) + 7) % p->n;
        double sum = p->base != NULL ? (double)p->base[row * p->ldbase + column] : 0;
        for (int64_t k = 0; k < p->k; k++)
            sum += operand(p->precision, p->transpose_a ? p->a[k * p->lda + row] : p->a[row * p->lda + k]) *
                   operand(p->precision, p->transpose_b ? p->b[column * p->ldb + k] : p->b[k * p->ldb + column]);
        of->wanted[i] = sum;
    }
}

static bool is_right(const mr_product *p, const samples *of, double error) {
    for (int i = 0; i < SAMPLES; i++) {
        const double found = (double)p->c[of->row[i] * p->ldc + of->column[i]];
        if (!(fabs(found - of->wanted[i]) <= error * fmax(sqrt((double)p->k), fabs(of->wanted[i])))) return false;
    }
    return true;
}

/// Prints seconds a call, the peaks of fused multiply-adds and of dots of bf16 (0: none) in FLOP/s, the contender's name.
int measure_product(const measurement *of, int contender_index, int shape_index) {
    const contender *who = &contenders[contender_index];
    const shape *s = &shapes[shape_index];
    char name[NAME];
    if (!who->open(mr_context_threads(of->context), name)) return MISSING;
    const bool is_bf16 = strcmp(who->precision, "bf16") == 0;
    const bool ta = s->layout[0] == 'T', tb = s->layout[1] == 'T';
    float *c = take(of->context, s->m * s->n);
    const mr_product product = {
        .transpose_a = ta, .transpose_b = tb, .m = s->m, .n = s->n, .k = s->k, .period = s->period,
        .a = take(of->context, s->m * s->k), .lda = ta ? s->m : s->k,
        .b = take(of->context, s->n * s->k), .ldb = tb ? s->k : s->n,
        .base = s->accumulates ? c : NULL, .ldbase = s->n, .c = c, .ldc = s->n,
        .precision = is_bf16 ? MR_BF16 : MR_FP32,
    };
    samples expected;
    sample(&product, &expected);
    bind_threads(of->context);
    const double peak = peak_rate(of->context);  // before the rival's threads spin
    const double dot_peak = is_bf16 ? dot_peak_rate(of->context) : 0;
    who->multiply(of->context, &product);
    bind_threads(of->context);
    if (!is_right(&product, &expected, who->error)) return WRONG;
    double times[MOST_CALLS], total = 0;
    int calls = 0;
    while (calls < MOST_CALLS && total < shortest) {
        const double time = seconds();
        who->multiply(of->context, &product);
        total += times[calls++] = seconds() - time;
    }
    printf("%.9g %.9g %.9g %s\n", median(times, calls), peak, dot_peak, name);
    return 0;
}

// MARK: the parent

typedef struct {
    double seconds, peak, dot_peak;
    char name[NAME];
} answer;

/// Starts a child and reads its answer. False: it has none, and `status` says why.
static bool ask(const measurement *of, const char *program, int contender_index, int shape_index, answer *got, int *status) {
    char threads[16], who[16], what[16];
    snprintf(threads, sizeof threads, "%d", mr_context_threads(of->context));
    snprintf(who, sizeof who, "%d", contender_index);
    snprintf(what, sizeof what, "%d", shape_index);
    int ends[2];
    if (pipe(ends) != 0) return false;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]), close(ends[1]);
        setenv("OMP_NUM_THREADS", threads, 1);
        execl(program, program, "--threads", threads, "--contender", who, "--shape", what, (char *)NULL);
        _exit(71);
    }
    close(ends[1]);
    FILE *answers = fdopen(ends[0], "r");
    const bool answered =
        fscanf(answers, "%lf %lf %lf %63[^\n]", &got->seconds, &got->peak, &got->dot_peak, got->name) == 4;
    fclose(answers);
    waitpid(child, status, 0);
    return answered && *status == 0;
}

/// Debian's OpenBLAS takes a slow kernel on a processor that it does not know, so every kernel that it has and this
/// processor can run is tried, and the fastest becomes the rival.
static void choose_openblas_core(const measurement *of, const char *program, int contender_index) {
    static const char *const cores[] = {
        NULL,
#if defined(__x86_64__)
        "Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids",
#else
        "ARMV8", "NeoverseN1", "NeoverseV1", "NeoverseN2",
#endif
    };
    const char *best_core = NULL;
    char seen[256] = "", best_name[NAME] = "";
    double best = 0;
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++) {
        if (cores[i] == NULL)
            unsetenv("OPENBLAS_CORETYPE");
        else
            setenv("OPENBLAS_CORETYPE", cores[i], 1);
        double rate = 0;
        char name[NAME] = "";
        for (int round = 0; round < 3; round++) {
            answer got;
            int status;
            if (!ask(of, program, contender_index, TRIAL_SHAPE, &got, &status)) break;
            rate = fmax(rate, operations(&shapes[TRIAL_SHAPE]) / got.seconds);
            memcpy(name, got.name, NAME);
            if (strstr(seen, name) != NULL) break;  // a name that it does not know falls back to one that it does
        }
        if (rate == 0 || strstr(seen, name) != NULL) continue;
        snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%s%s %.0f", *seen ? ", " : "", name, rate * 1e-9);
        if (rate > best) best = rate, best_core = cores[i], memcpy(best_name, name, NAME);
    }
    if (best_core == NULL)
        unsetenv("OPENBLAS_CORETYPE");
    else
        setenv("OPENBLAS_CORETYPE", best_core, 1);
    if (best > 0) printf("Rival: %s, the fastest of its kernels here (GFLOP/s: %s).\n", best_name, seen);
}

void print_products(const measurement *of, const char *program) {
    int chosen[CONTENDERS], count = 0;
    for (int i = 0; i < CONTENDERS; i++)
        if (strcmp(contenders[i].precision, of->precision) == 0) chosen[count++] = i;
    if (count == 0) {
        fprintf(stderr, "kernels: no products of precision '%s'\n", of->precision);
        exit(64);
    }
    bool runs[CONTENDERS];
    for (int i = 0; i < count; i++) {
        const contender *who = &contenders[chosen[i]];
        answer got;
        int status = 0;
        runs[i] = ask(of, program, chosen[i], TRIAL_SHAPE, &got, &status);
        if (!runs[i])
            printf("%s: not run: %s %s.\n", who->name,
                   WIFEXITED(status) && WEXITSTATUS(status) == MISSING ? "there is no" : "it failed; its package is",
                   who->package);
        else if (strcmp(who->name, "OpenBLAS") == 0)
            choose_openblas_core(of, program, chosen[i]);
        else if (i > 0)
            printf("Rival: %s.\n", got.name);
    }
    if (!runs[0]) exit(70);
    const bool is_bf16 = strcmp(of->precision, "bf16") == 0;
    printf("\n| product, %s | | m | n | k | GFLOP/s | %% of %speak |", of->precision, is_bf16 ? "fp32 " : "");
    if (is_bf16) printf(" dot peak | %% of dot peak |");
    for (int i = 1; i < count; i++) printf(" %s |", contenders[chosen[i]].name);
    printf(" ratio%s |\n|---|---|--:|--:|--:|--:|--:|", count > 2 ? " to the better" : "");
    for (int i = is_bf16 ? -2 : 0; i < count; i++) printf("--:|");
    printf("\n");
    double logs_of_rate = 0, logs_of_share = 0, logs_of_dot_share = 0, logs_of_ratio = 0;
    bool has_rival = false, has_dots = false;
    for (int index = 0; index < SHAPES; index++) {
        const shape *s = &shapes[index];
        double times[CONTENDERS][MOST_ROUNDS], peaks[CONTENDERS * MOST_ROUNDS], dot_peaks[CONTENDERS * MOST_ROUNDS];
        int answers[CONTENDERS] = {0}, peak_count = 0;
        for (int round = 0; round < of->rounds; round++)
            for (int i = 0; i < count; i++) {
                answer got;
                int status;
                if (!runs[i] || !ask(of, program, chosen[i], index, &got, &status)) continue;
                times[i][answers[i]++] = got.seconds;
                dot_peaks[peak_count] = got.dot_peak;
                peaks[peak_count++] = got.peak;
            }
        if (answers[0] == 0) {
            fprintf(stderr, "kernels: %s %s gives no right answer\n", s->name, s->layout);
            exit(70);
        }
        const double rate = operations(s) / median(times[0], answers[0]), share = rate / median(peaks, peak_count);
        printf("| %s | %s | %lld | %lld | %lld | %.1f | %.1f |", s->name, s->layout, (long long)s->m, (long long)s->n,
               (long long)s->k, rate * 1e-9, 100 * share);
        const double dot_peak = median(dot_peaks, peak_count);
        if (dot_peak > 0) {
            printf(" %.1f | %.1f |", dot_peak * 1e-9, 100 * rate / dot_peak);
            logs_of_dot_share += log(rate / dot_peak), has_dots = true;
        } else if (is_bf16) {
            printf(" - | - |");
        }
        double best = 0;
        for (int i = 1; i < count; i++) {
            if (answers[i] == 0) {
                printf(" not run |");
                continue;
            }
            const double theirs = operations(s) / median(times[i], answers[i]);
            printf(" %.1f |", theirs * 1e-9);
            best = fmax(best, theirs);
        }
        if (best > 0)
            printf(" %.2f |\n", rate / best);
        else
            printf(" - |\n");
        fflush(stdout);
        logs_of_rate += log(rate), logs_of_share += log(share);
        if (best > 0) logs_of_ratio += log(rate / best), has_rival = true;
    }
    printf("| geometric mean | | | | | %.1f | %.1f |", exp(logs_of_rate / SHAPES) * 1e-9, 100 * exp(logs_of_share / SHAPES));
    if (has_dots)
        printf(" | %.1f |", 100 * exp(logs_of_dot_share / SHAPES));
    else if (is_bf16)
        printf(" | - |");
    for (int i = 1; i < count; i++) printf(" |");
    if (has_rival)
        printf(" %.2f |\n", exp(logs_of_ratio / SHAPES));
    else
        printf(" - |\n");
}
