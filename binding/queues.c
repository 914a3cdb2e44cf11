/* queues.c — see queues.h. */
#include "binding/queues.h"

si_registry sipy_queues; /* guarded by its own mutex; see docs/internals/globals.md */

void
sipy_queues_owner_gone(int64_t interp_id)
{
    si_entry *e = NULL;
    while ((e = si_registry_next(&sipy_queues, e)) != NULL) {
        si_channel_owner_gone((si_channel *)e, interp_id);
    }
}
