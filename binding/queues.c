/* queues.c — see queues.h. */
#include "binding/queues.h"

#include "core/base/alloc.h"

si_registry sipy_queues; /* guarded by its own mutex; see docs/internals/globals.md */

void
sipy_queues_owner_gone(int64_t interp_id)
{
    si_entry **list = NULL;
    size_t count = 0;
    if (si_registry_list(&sipy_queues, &list, &count) != SI_OK) {
        return; /* no memory: items stay as they are, which loses nothing */
    }
    for (size_t i = 0; i < count; i++) {
        si_channel_owner_gone((si_channel *)list[i], interp_id);
        si_entry_drop(list[i]);
    }
    si_free(list);
}
