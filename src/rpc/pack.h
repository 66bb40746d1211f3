/*
 * The compact binary form of a described struct, as it goes over the agent channel. Fields in
 * table order, no names, little-endian:
 *   BOOL u8 0/1 · INT, ENUM, TIME i64 · STRING u32 length + bytes, 0xffffffff for NULL
 *   BYTES as STRING · lists u32 count + strings · maps u32 count + (key, value) strings
 *   OBJECT its fields · OBJECTS u32 count + the fields of each
 * Fields marked RPC_UNPACKED never cross the channel.
 * docs/protocol/agent-channel.md holds the same text.
 */
#pragma once

#include "base/buf.h"
#include "rpc/schema.h"

/* A field with this flag stays in the daemon: not packed, absent after unpacking. */
#define RPC_UNPACKED 0x10

/* Appends. 0, or -ENOBUFS with b as it was. Values are the caller's own and are not checked. */
int rpc_pack(struct buf *b, const struct rpc_schema *schema, const void *object);
/* Fills *object (any content is overwritten; clear it with rpc_clear()). Every length, range,
 * enumeration, boolean and NUL inside strings is checked against the schema, an RPC_REQUIRED string
 * is never NULL; bytes left over are an error. 0, or -EBADMSG with *object reset. */
int rpc_unpack(const uint8_t *data, size_t len, const struct rpc_schema *schema, void *object);
