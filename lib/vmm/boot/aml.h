/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Writes ACPI's machine language into a buffer. What does not fit sets `overflow`, and nothing more is written. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
    uint8_t *data;
    size_t   size, used;
    bool     overflow;
};

void aml_bytes(struct aml *aml, const void *data, size_t count);
void aml_byte(struct aml *aml, uint8_t byte);

/* What holds others: what *_open returns is given to aml_close after the contents. Names have four letters. */
size_t aml_open_scope(struct aml *aml, const char *path);
size_t aml_open_device(struct aml *aml, const char *name);
size_t aml_open_method(struct aml *aml, const char *name, unsigned arguments);
size_t aml_open_package(struct aml *aml, const char *name, unsigned count);
void   aml_close(struct aml *aml, size_t open);

void aml_integer(struct aml *aml, uint64_t value);
void aml_name_integer(struct aml *aml, const char *name, uint64_t value);
void aml_name_text(struct aml *aml, const char *name, const char *text);
/* An identifier such as PNP0501. */
void aml_name_id(struct aml *aml, const char *name, const char *id);

/* If (Local & mask) { Notify (name, value) }, of the local variable with that number. */
void aml_notify_if(struct aml *aml, unsigned local, uint32_t mask, const char *name, uint8_t value);

/* Store (value, name) */
void aml_store(struct aml *aml, uint32_t value, const char *name);

/* A resource template: a buffer, whose parts follow until aml_close_resources(). */
struct aml_resources {
    size_t open;
    size_t length;
    size_t start;
};
struct aml_resources aml_open_resources(struct aml *aml);
void                 aml_close_resources(struct aml *aml, struct aml_resources resources);
void                 aml_interrupt(struct aml *aml, uint32_t line, bool is_level);
void                 aml_memory(struct aml *aml, uint32_t start, uint32_t length);
void                 aml_ports(struct aml *aml, uint16_t start, uint8_t count);
/* What a bridge hands on to the bus behind it. */
void aml_bus_numbers(struct aml *aml, uint16_t first, uint16_t last);
void aml_memory_window(struct aml *aml, uint32_t start, uint32_t length);
