/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Disks for the machine of machine.h, and requests of the one that is driven. */
#pragma once

#include "machine.h"
#include <linux/virtio_blk.h>

enum { DISK_SECTORS = 64, SECTOR = 512, DISK_DATA = 0x10000 };

/* Its queue; set by start_disk(). */
extern struct ring disk_ring;

/* A file whose sectors begin with a letter each, the first with A. */
int make_disk(void);
/* Another one of these for the machine, by the name "0", "1" and so on. Returns its file. */
int plug_disk(bool is_readonly);
/* A machine with one on its bus, which is driven. */
int make_machine_with_disk(void);

/* With flushes and zeroes, if it has them. */
void start_disk(void);
/* Header, data if there is any, status; what the device says, and how much it wrote. */
uint8_t request(uint32_t type, uint64_t sector, uint64_t address, uint32_t length, uint32_t *written);
/* To DISK_DATA. */
uint8_t read_sector(uint64_t sector);
/* Its header, with no room for an answer. */
void request_nothing(void);
/* Starts it and reads. */
void assert_disk_serves(void);
/* On the bus, with its registers from this address on. */
bool disk_answers_at(uint64_t address);
