/*
 * Memory of the control plane. Running out of it ends the process with a message: a daemon that
 * cannot allocate a few hundred bytes cannot keep any promise. Data-plane buffers have their own
 * hard maximum (base/buf.h) and answer exhaustion with an error instead.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>

#define auto_free __attribute__((cleanup(mem_free_ptr)))

/* Zeroed object of type T on the heap; free(). Never NULL. */
#define mem_new(T) ((T *)mem_zalloc(sizeof(T)))

/* The value of pointer variable P, leaving NULL behind: marks a move of ownership. */
#define take_ptr(p) \
	({ \
		__typeof__(p) *take_p_ = &(p); \
		__typeof__(p) take_v_ = *take_p_; \
		*take_p_ = NULL; \
		take_v_; \
	})

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define array_len(a) (sizeof(a) / sizeof((a)[0]))

/* Zeroed bytes; never NULL (size 0 gives a unique pointer). */
void *mem_zalloc(size_t size);
/* Zeroed array; never NULL, ends the process when count * size overflows. */
void *mem_zalloc_array(size_t count, size_t size);
/* realloc() that never returns NULL. New bytes are not initialised. */
void *mem_realloc(void *p, size_t size);
/* Copies of a string (NULL gives NULL), of len bytes plus a NUL, of a formatted text. */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t len);
void *mem_dup(const void *p, size_t len);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Overwrites memory in a way the compiler keeps, for tokens and other secrets. */
void mem_wipe(void *p, size_t len);

static inline void mem_free_ptr(void *p)
{
	free(*(void **)p);
}
