/* annotate.h — compiler annotations, in one place, empty where unsupported.
 *
 * SI_NODISCARD    a status that the caller must look at
 * SI_CAPABILITY   a type that is a lock, for clang's -Wthread-safety
 * SI_REQUIRES     the caller holds the named lock
 * SI_EXCLUDES     the caller must not hold the named lock
 * SI_ACQUIRES, SI_RELEASES, SI_TRY_ACQUIRES  what a lock function does
 * SI_NO_THREAD_SAFETY  a function that those checks cannot follow; it says why
 * SI_GUARDED_BY   the field is read and written only under the named lock. For readers:
 *                 in C, clang cannot resolve a neighbouring field in an attribute
 */
#ifndef SI_BASE_ANNOTATE_H
#define SI_BASE_ANNOTATE_H

#define SI_NODISCARD __attribute__((warn_unused_result))
#define SI_UNUSED __attribute__((unused))
#define SI_LIKELY(x) __builtin_expect(!!(x), 1)
#define SI_UNLIKELY(x) __builtin_expect(!!(x), 0)

#if defined(__clang__)
#define SI_CAPABILITY(name) __attribute__((capability(name)))
#define SI_REQUIRES(...) __attribute__((requires_capability(__VA_ARGS__)))
#define SI_EXCLUDES(...) __attribute__((locks_excluded(__VA_ARGS__)))
#define SI_ACQUIRES(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define SI_RELEASES(...) __attribute__((release_capability(__VA_ARGS__)))
#define SI_TRY_ACQUIRES(...) __attribute__((try_acquire_capability(__VA_ARGS__)))
#define SI_NO_THREAD_SAFETY __attribute__((no_thread_safety_analysis))
#else
#define SI_CAPABILITY(name)
#define SI_REQUIRES(...)
#define SI_EXCLUDES(...)
#define SI_ACQUIRES(...)
#define SI_RELEASES(...)
#define SI_TRY_ACQUIRES(...)
#define SI_NO_THREAD_SAFETY
#endif
#define SI_GUARDED_BY(x)

#endif /* SI_BASE_ANNOTATE_H */
