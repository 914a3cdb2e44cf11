/* turn.c — see turn.h. */
#include "binding/turn.h"

#include "binding/compat/compat.h"
#include "core/base/atomic.h"
#include "core/platform/clock.h"
#include "core/platform/futex.h"

static si_atomic_u32 turn; /* 1 while somebody creates, where that matters; a futex */
static _Thread_local bool my_turn; /* this thread does: its site may create, too */

bool
sipy_turn_take(void)
{
    if (!sipy_compat_creates_in_turn() || my_turn) {
        return false;
    }
    uint32_t nobody = 0;
    while (!si_cas_acquire(&turn, &nobody, 1)) {
        Py_BEGIN_ALLOW_THREADS
        si_status status = si_futex_wait(&turn, 1, SI_FOREVER);
        (void)status; /* whatever woke us: try again; signals wait for create() */
        Py_END_ALLOW_THREADS
        nobody = 0;
    }
    my_turn = true;
    return true;
}

void
sipy_turn_give(void)
{
    my_turn = false;
    si_store_release(&turn, 0);
    si_futex_wake(&turn, 1);
}

void
sipy_turn_fork_done(void)
{
    my_turn = false; /* nobody creates in a child that has just begun */
    si_store_release(&turn, 0);
}
