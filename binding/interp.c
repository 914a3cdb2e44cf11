/* interp.c — see interp.h. */
#include "binding/interp.h"

#include "binding/meter.h"
#include "core/base/alloc.h"

si_registry sipy_interps; /* guarded by its own mutex; see docs/internals/globals.md */

sipy_interp *
sipy_interp_new(sipy_origin origin, PyInterpreterState *native)
{
    sipy_interp *interp = si_calloc(sizeof(*interp));
    sipy_meter *meter = interp == NULL ? NULL : sipy_meter_new();
    if (meter == NULL) {
        si_free(interp);
        return NULL;
    }
    interp->meter = meter;
    interp->origin = origin;
    interp->native = native;
    return interp;
}

static void
destroy_record(si_entry *entry)
{
    sipy_interp *interp = (sipy_interp *)entry; /* its first member */
    si_free(si_load_relaxed(&interp->name));
    si_free(interp->meter);
    si_free(interp);
}

si_status
sipy_interp_register(sipy_interp *interp)
{
    interp->entry.id = PyInterpreterState_GetID(interp->native);
    return si_registry_add(&sipy_interps, &interp->entry, destroy_record);
}

sipy_interp *
sipy_interp_find(int64_t id)
{
    return (sipy_interp *)si_registry_find(&sipy_interps, id);
}

sipy_interp *
sipy_interp_current(void)
{
    return sipy_interp_find(PyInterpreterState_GetID(PyInterpreterState_Get()));
}

void
sipy_interp_drop(sipy_interp *interp)
{
    if (interp != NULL) {
        si_entry_drop(&interp->entry);
    }
}

void
sipy_interp_free(sipy_interp *interp)
{
    if (interp == NULL) {
        return;
    }
    if (si_load_acquire(&interp->entry.refs) == 0) {
        destroy_record(&interp->entry);
        return;
    }
    si_registry_remove(&sipy_interps, &interp->entry);
    sipy_interp_drop(interp);
}
