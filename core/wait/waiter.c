/* waiter.c — see waiter.h. */
#include "core/wait/waiter.h"

#include <limits.h>

#include "core/platform/futex.h"

void
si_waiter_arm(si_waiter *w)
{
    w->next = NULL;
    w->prev = NULL;
    w->elsewhere = NULL;
    si_store_release(&w->word, SI_WAITER_ARMED);
}

static si_status
status_of(uint32_t state)
{
    return state == SI_WAITER_SIGNALLED ? SI_OK : SI_INTERRUPTED;
}

si_status
si_waiter_park(si_waiter *w, int64_t deadline_ns)
{
    uint32_t state = SI_WAITER_ARMED;
    if (!si_cas_acq_rel(&w->word, &state, SI_WAITER_PARKED)) {
        return status_of(state);
    }
    si_status slept;
    do {
        slept = si_futex_wait(&w->word, SI_WAITER_PARKED, deadline_ns);
        state = si_load_acquire(&w->word);
        if (state != SI_WAITER_PARKED) {
            return status_of(state);
        }
    } while (slept == SI_OK);
    /* A waker that comes from here on finds ARMED and spares itself the kick. One that
     * came before has the last word. */
    if (!si_cas_acq_rel(&w->word, &state, SI_WAITER_ARMED)) {
        return status_of(state);
    }
    return slept;
}

/* The first of signal and interrupt decides; true if the thread sleeps. */
static bool
wake(si_waiter *w, si_waiter_state how)
{
    uint32_t state = si_load_relaxed(&w->word);
    do {
        if (state == SI_WAITER_SIGNALLED || state == SI_WAITER_INTERRUPTED) {
            return false;
        }
    } while (!si_cas_acq_rel(&w->word, &state, how));
    return state == SI_WAITER_PARKED;
}

bool
si_waiter_signal(si_waiter *w)
{
    return wake(w, SI_WAITER_SIGNALLED);
}

bool
si_waiter_interrupt(si_waiter *w)
{
    return wake(w, SI_WAITER_INTERRUPTED);
}

/* The thread does not sleep until it has taken the mark away, and looks at its waiter then;
 * so it sees the waiter woken, or the word differs from what it has seen. */
static void
wake_elsewhere(const si_waiter *w)
{
    uint32_t word = si_load_relaxed(w->elsewhere);
    while (!si_cas_acq_rel(w->elsewhere, &word, word | w->mark)) {
    }
    si_futex_wake(w->elsewhere, INT_MAX);
}

bool
si_waiter_interrupt_published(si_waiter *w)
{
    bool sleeps = si_waiter_interrupt(w);
    if (w->elsewhere != NULL) {
        wake_elsewhere(w);
    }
    return sleeps;
}

void
si_waiter_kick(si_waiter *w)
{
    si_futex_wake(&w->word, 1);
}

bool
si_waiter_is_woken(const si_waiter *w)
{
    uint32_t state = si_load_acquire(&w->word);
    return state == SI_WAITER_SIGNALLED || state == SI_WAITER_INTERRUPTED;
}

bool
si_waiter_signalled(const si_waiter *w)
{
    return si_load_acquire(&w->word) == SI_WAITER_SIGNALLED;
}
