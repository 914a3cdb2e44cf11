/* sample.c — the library that test_elf.c copies: one of everything that a patch changes.
 *
 * It needs a library that is there (libm) by a search path with $ORIGIN in it, has a
 * symbol that the linker would merge across copies, and calls host_sum, which nobody
 * defines, by a direct call, through data, and lazily.
 */
#include <math.h>
#include <stddef.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int
sample_bump(void);
EXPORT int
sample_call(int a, int b);
EXPORT double
sample_power(double x);
EXPORT void *
sample_getter(void);
EXPORT extern int sample_global;
EXPORT extern int (*sample_pointer)(int, int);
EXPORT extern const char sample_constant[16384];
EXPORT extern char sample_values[16384];

/* What the redirected call adds at the end is invisible here. */
extern int
host_sum(int a, int b);

__asm__(
    ".pushsection .data\n"
    ".globl sample_unique\n"
    ".type sample_unique, @gnu_unique_object\n"
    ".size sample_unique, 4\n"
    "sample_unique: .long 7\n"
    ".popsection\n");
extern int sample_unique;

int sample_global = 5;
static int sample_static = 3;
static __thread int sample_thread = 11;

int (*sample_pointer)(int, int) = host_sum;

char sample_values[16384] = "variables of some pages";

const char sample_constant[16384] = "constants of some pages, the same in all copies";

EXPORT int
sample_bump(void)
{
    return ++sample_unique + ++sample_global + ++sample_static + ++sample_thread;
}

EXPORT int
sample_call(int a, int b)
{
    return host_sum(a, b) * 1000 + sample_pointer(a, b);
}

EXPORT double
sample_power(double x)
{
    return pow(x, (double)sample_static);
}

/* What a module's PyInit_ function looks like to the compiler. */
typedef struct sample_slots {
    int number;
    void *value;
} sample_slots;

static sample_slots slots[] = {{3, (void *)2}, {0, NULL}};
struct sample_def {
    long head;
    sample_slots *slots;
};
static struct sample_def definition = {0x5a, slots};
EXPORT struct sample_def *sample_definition = &definition;

extern void *
host_keep(void *definition);

EXPORT void *
sample_getter(void)
{
    return host_keep(&definition);
}
