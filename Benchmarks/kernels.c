// The kernels beside rivals and the machine's own limits: products.c, passes.c. Built and run by Benchmarks/kernels.sh, which
// says what the options are.
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"

static const char *const names[] = {"scalar", "avx2", "avx512", "neon", "avx512bf16"};  // by mr_isa

static mr_isa chosen_isa(void) {
    const char *chosen = getenv("MILLRACE_ISA");
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (chosen != NULL && strcmp(chosen, names[i]) == 0) return (mr_isa)i;
    return mr_isa_best();
}

/// The best of many short runs: what a whole tool is held against.
static void print_peak(const measurement *of) {
    double best = 0;
    for (int run = 0; run < 5; run++) {
        const double rate = peak_rate(of->context);
        if (rate > best) best = rate;
    }
    printf("%.1f\n", best * 1e-9);
}

int main(int count, char **arguments) {
    static const struct option options[] = {
        {"threads", required_argument, NULL, 't'}, {"rounds", required_argument, NULL, 'r'},
        {"precision", required_argument, NULL, 'p'}, {"only", required_argument, NULL, 'o'},
        {"peak", no_argument, NULL, 'k'}, {"contender", required_argument, NULL, 'c'},
        {"shape", required_argument, NULL, 's'}, {0},
    };
    measurement of = {.rounds = 5, .precision = "fp32"};
    const char *only = "all", *cpu = getenv("MILLRACE_BENCH_CPU_TIME");
    int threads = 0, contender = -1, shape = -1;
    bool peak = false;
    for (int option; (option = getopt_long(count, arguments, "", options, NULL)) != -1;) switch (option) {
        case 't': threads = atoi(optarg); break;
        case 'r': of.rounds = atoi(optarg); break;
        case 'p': of.precision = optarg; break;
        case 'o': only = optarg; break;
        case 'k': peak = true; break;
        case 'c': contender = atoi(optarg); break;
        case 's': shape = atoi(optarg); break;
        default: return 64;
        }
    const bool all = strcmp(only, "all") == 0, products = all || strcmp(only, "products") == 0;
    const bool passes = all || strcmp(only, "passes") == 0;
    if (optind < count || of.rounds < 1 || of.rounds > MOST_ROUNDS || !(products || passes)) {
        fprintf(stderr, "kernels: --rounds 1 ... %d, --only products|passes, --precision fp32|bf16\n", MOST_ROUNDS);
        return 64;
    }
    const mr_isa isa = chosen_isa();
    of.context = mr_context_create(threads, isa);
    if (of.context == NULL) {
        fprintf(stderr, "kernels: cannot start %d threads of %s\n", threads, names[isa]);
        return 64;
    }
    if (cpu != NULL && strcmp(cpu, "1") == 0) {
        if (mr_context_threads(of.context) > 1) {
            fprintf(stderr, "kernels: MILLRACE_BENCH_CPU_TIME needs --threads 1\n");
            return 64;
        }
        count_cpu_time();
    }
    if (contender >= 0) return measure_product(&of, contender, shape);
    if (peak) {
        bind_threads(of.context);
        print_peak(&of);
        return 0;
    }
    printf("%s, %d threads, %s, %d rounds.\n", names[isa], mr_context_threads(of.context), clock_name(), of.rounds);
    if (products) print_products(&of, arguments[0]);
    if (passes) {
        bind_threads(of.context);  // not before: a child would inherit it
        printf("\n");
        print_attention(&of);
        printf("\n");
        print_passes(&of);
        printf("\n");
        print_activations(&of);
    }
    mr_context_destroy(of.context);
    return 0;
}
