/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the socket device share: the guest's driver for it, and programs at its listener. */
#pragma once

#include "machine.h"
#include "virtio/vsockets.h"

enum {
    CID = 42,
    HOST = 2,
    RX = 0,
    TX = 1,
    QUEUES = 3,
    RX_BUFFERS = 0x40000,
    TX_PACKETS = 0x80000,
    UNDER_WAY = RING_SIZE / 2, /* packets of header and data apart, as Linux has them */
    HEADER = sizeof(struct virtio_vsock_hdr),
    GUEST_ROOM = 256 << 10,
    SEND = VIRTIO_VSOCK_SHUTDOWN_SEND,
    RCV = VIRTIO_VSOCK_SHUTDOWN_RCV
};

/* --- the guest, whose port is 1000 where none is given, and the host's 7 --- */
extern struct ring rings[QUEUES];

/* A machine with the device, its loop in a thread of its own. */
void make_device(void);
void start_driver(void);
void offer_buffers(void);
/* All three. */
void     begin(void);
uint64_t guest_cid(void);
uint16_t used_index(unsigned queue);
/* How many packets the device has not taken yet, and whether it has one that was not heard. */
unsigned under_way(void);
bool     is_there(void);

struct virtio_vsock_hdr packet(unsigned op, uint32_t guest_port, uint32_t host_port);
/* Returns without waiting for the device, as the others do not. */
void put(struct virtio_vsock_hdr header, const void *data, uint32_t size);
void say(struct virtio_vsock_hdr header);
void say_simply(unsigned op, uint32_t guest_port, uint32_t host_port);
void say_data(uint32_t guest_port, uint32_t host_port, const void *data, uint32_t size);
/* The next packet from the device, and its data until the one after that. */
struct virtio_vsock_hdr hear(const char **data);
struct virtio_vsock_hdr hear_op(unsigned op, uint32_t guest_port, uint32_t host_port);
/* Whatever was to be said before is said when this is answered. */
void nothing_is_said(uint32_t guest_port, uint32_t host_port);

/* --- programs of the host --- */
int listen_somewhere(void);
int dial(const char *line);
int listen_at(const char *port);
/* A connection from the guest to a program that listens. */
int  connect_to_program(void);
void expect(int program, const char *text);
/* By an end, or an error where it had still something to say. */
void expect_end(int program);
/* A connection of the guest's, from a program that listens. */
int expect_descriptor(int program, const char *text);
