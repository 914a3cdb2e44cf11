/* spin.c — how long a thread looks before it sleeps; see spin.h. */
#include "core/wait/spin.h"

#include "core/platform/clock.h"

int64_t
si_spin_end(const si_spin_memory *memory, int64_t deadline_ns)
{
    uint32_t misses = si_load_relaxed(&memory->misses);
    uint32_t halvings = misses % SI_SPIN_RETRIAL == 0 ? 0
                        : misses < SI_SPIN_HALVINGS   ? misses
                                                      : SI_SPIN_HALVINGS;
    int64_t end = si_deadline_after(SI_SPIN_NS >> halvings);
    return end < deadline_ns ? end : deadline_ns;
}

void
si_spin_learn(si_spin_memory *memory, bool found)
{
    uint32_t misses = si_load_relaxed(&memory->misses);
    if (!found) {
        si_store_relaxed(&memory->misses, misses + 1);
    }
    else if (misses != 0) {
        si_store_relaxed(&memory->misses, 0); /* written only when it changes */
    }
}
