/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The few terms of ACPI's machine language that a table of ours needs. */
#include "aml.h"
#include <string.h>

enum {
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_METHOD = 0x14,
    OP_EXTENDED = 0x5b,
    OP_DEVICE = 0x82,
    OP_LOCAL = 0x60,
    OP_STORE = 0x70,
    OP_AND = 0x7b,
    OP_NOTIFY = 0x86,
    OP_IF = 0xa0,
    METHOD_SERIALIZED = 1 << 3,

    LENGTH_BYTES = 4, /* the longest form of a length, which short ones may have as well */

    RESOURCE_PORTS = 0x47,
    RESOURCE_PORTS_16_BITS = 1,
    RESOURCE_MEMORY = 0x86,
    RESOURCE_DWORD_SPACE = 0x87,
    RESOURCE_WORD_SPACE = 0x88,
    RESOURCE_INTERRUPT = 0x89,
    SPACE_MEMORY = 0,
    SPACE_BUS = 2,
    SPACE_FIXED_PRODUCER = 0x0c, /* its start and its end are as they are */
    SPACE_WRITABLE = 1,
    RESOURCE_END = 0x79,
    INTERRUPT_CONSUMER_LEVEL = 0x01,
    INTERRUPT_CONSUMER_EDGE = 0x03
};

void aml_bytes(struct aml *aml, const void *data, size_t count)
{
    if (aml->overflow || count > aml->size - aml->used) {
        aml->overflow = true;
        return;
    }
    memcpy(aml->data + aml->used, data, count);
    aml->used += count;
}

void aml_byte(struct aml *aml, uint8_t byte)
{
    aml_bytes(aml, &byte, 1);
}

/* Little-endian, as this host is. */
static void number(struct aml *aml, uint64_t value, size_t size)
{
    aml_bytes(aml, &value, size);
}

static size_t open_length(struct aml *aml)
{
    const size_t open = aml->used;

    number(aml, 0, LENGTH_BYTES);
    return open;
}

void aml_close(struct aml *aml, size_t open)
{
    const size_t length = aml->used - open;

    if (aml->overflow)
        return;
    aml->data[open] = (uint8_t)((LENGTH_BYTES - 1) << 6 | (length & 15));
    aml->data[open + 1] = (uint8_t)(length >> 4);
    aml->data[open + 2] = (uint8_t)(length >> 12);
    aml->data[open + 3] = (uint8_t)(length >> 20);
}

size_t aml_open_scope(struct aml *aml, const char *path)
{
    aml_byte(aml, OP_SCOPE);
    const size_t open = open_length(aml);
    aml_bytes(aml, path, strlen(path));
    return open;
}

size_t aml_open_device(struct aml *aml, const char *name)
{
    aml_byte(aml, OP_EXTENDED);
    aml_byte(aml, OP_DEVICE);
    const size_t open = open_length(aml);
    aml_bytes(aml, name, 4);
    return open;
}

size_t aml_open_method(struct aml *aml, const char *name, unsigned arguments)
{
    aml_byte(aml, OP_METHOD);
    const size_t open = open_length(aml);
    aml_bytes(aml, name, 4);
    aml_byte(aml, (uint8_t)(arguments | METHOD_SERIALIZED));
    return open;
}

size_t aml_open_package(struct aml *aml, const char *name, unsigned count)
{
    aml_byte(aml, OP_NAME);
    aml_bytes(aml, name, 4);
    aml_byte(aml, OP_PACKAGE);
    const size_t open = open_length(aml);
    aml_byte(aml, (uint8_t)count);
    return open;
}

void aml_integer(struct aml *aml, uint64_t value)
{
    if (value <= 1) {
        aml_byte(aml, (uint8_t)value); /* they have codes of their own */
    } else if (value <= UINT8_MAX) {
        aml_byte(aml, OP_BYTE);
        number(aml, value, 1);
    } else if (value <= UINT16_MAX) {
        aml_byte(aml, OP_WORD);
        number(aml, value, 2);
    } else if (value <= UINT32_MAX) {
        aml_byte(aml, OP_DWORD);
        number(aml, value, 4);
    } else {
        aml_byte(aml, OP_QWORD);
        number(aml, value, 8);
    }
}

static void name(struct aml *aml, const char *text)
{
    aml_byte(aml, OP_NAME);
    aml_bytes(aml, text, 4);
}

void aml_name_integer(struct aml *aml, const char *text, uint64_t value)
{
    name(aml, text);
    aml_integer(aml, value);
}

void aml_name_text(struct aml *aml, const char *text, const char *value)
{
    name(aml, text);
    aml_byte(aml, OP_STRING);
    aml_bytes(aml, value, strlen(value) + 1);
}

static unsigned hex(char digit)
{
    return (unsigned)(digit <= '9' ? digit - '0' : digit - 'A' + 10);
}

/* Three letters of five bits and four digits, with its bytes in reverse. */
void aml_name_id(struct aml *aml, const char *text, const char *id)
{
    uint32_t code = 0;

    for (unsigned i = 0; i < 3; i++)
        code = code << 5 | (uint32_t)(id[i] - 0x40);
    for (unsigned i = 3; i < 7; i++)
        code = code << 4 | hex(id[i]);
    name(aml, text);
    aml_byte(aml, OP_DWORD);
    number(aml, __builtin_bswap32(code), 4);
}

void aml_notify_if(struct aml *aml, unsigned local, uint32_t mask, const char *device, uint8_t value)
{
    aml_byte(aml, OP_IF);
    const size_t open = open_length(aml);
    aml_byte(aml, OP_AND);
    aml_byte(aml, (uint8_t)(OP_LOCAL + local));
    aml_integer(aml, mask);
    aml_byte(aml, 0); /* the result is stored nowhere */
    aml_byte(aml, OP_NOTIFY);
    aml_bytes(aml, device, strlen(device));
    aml_integer(aml, value);
    aml_close(aml, open);
}

void aml_store(struct aml *aml, uint32_t value, const char *target)
{
    aml_byte(aml, OP_STORE);
    aml_integer(aml, value);
    aml_bytes(aml, target, strlen(target));
}

struct aml_resources aml_open_resources(struct aml *aml)
{
    struct aml_resources resources;

    name(aml, "_CRS");
    aml_byte(aml, OP_BUFFER);
    resources.open = open_length(aml);
    aml_byte(aml, OP_WORD);
    resources.length = aml->used;
    number(aml, 0, 2);
    resources.start = aml->used;
    return resources;
}

void aml_close_resources(struct aml *aml, struct aml_resources resources)
{
    uint16_t length;

    aml_byte(aml, RESOURCE_END);
    aml_byte(aml, 0); /* a checksum of 0 is taken for right */
    length = (uint16_t)(aml->used - resources.start);
    if (!aml->overflow)
        memcpy(aml->data + resources.length, &length, sizeof(length));
    aml_close(aml, resources.open);
}

void aml_interrupt(struct aml *aml, uint32_t line, bool is_level)
{
    aml_byte(aml, RESOURCE_INTERRUPT);
    number(aml, 6, 2);
    aml_byte(aml, is_level ? INTERRUPT_CONSUMER_LEVEL : INTERRUPT_CONSUMER_EDGE);
    aml_byte(aml, 1);
    number(aml, line, 4);
}

void aml_memory(struct aml *aml, uint32_t start, uint32_t length)
{
    aml_byte(aml, RESOURCE_MEMORY);
    number(aml, 9, 2);
    aml_byte(aml, SPACE_WRITABLE);
    number(aml, start, 4);
    number(aml, length, 4);
}

void aml_ports(struct aml *aml, uint16_t start, uint8_t count)
{
    aml_byte(aml, RESOURCE_PORTS);
    aml_byte(aml, RESOURCE_PORTS_16_BITS);
    number(aml, start, 2);
    number(aml, start, 2);
    aml_byte(aml, 1);
    aml_byte(aml, count);
}

/* Granularity, first, last, translation, length: each of this many bytes. */
static void space(struct aml *aml, uint8_t type, uint8_t flags, uint64_t first, uint64_t last, size_t size)
{
    number(aml, 3 + 5 * size, 2);
    aml_byte(aml, type);
    aml_byte(aml, SPACE_FIXED_PRODUCER);
    aml_byte(aml, flags);
    number(aml, 0, size);
    number(aml, first, size);
    number(aml, last, size);
    number(aml, 0, size);
    number(aml, last - first + 1, size);
}

void aml_bus_numbers(struct aml *aml, uint16_t first, uint16_t last)
{
    aml_byte(aml, RESOURCE_WORD_SPACE);
    space(aml, SPACE_BUS, 0, first, last, 2);
}

void aml_memory_window(struct aml *aml, uint32_t start, uint32_t length)
{
    aml_byte(aml, RESOURCE_DWORD_SPACE);
    space(aml, SPACE_MEMORY, SPACE_WRITABLE, start, (uint64_t)start + length - 1, 4);
}
