/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Drives a virtio network card: sends send=N frames to everybody, each with its number, and sends back to whom they
 * came from so many as echo=N says. Frames are of a type that is for experiments, and of size=BYTES.
 */
#include "virtio.h"

enum {
    RX = 0,
    TX = 1,
    BUFFERS = 64,
    BUFFER = 2048,
    HEADER = 12, /* virtio's, before each frame */
    ADDRESS = 6,
    TYPE = 2 * ADDRESS,
    NUMBER = TYPE + 2, /* where in a frame */
    SHORTEST = 60,
    LONGEST = 1514,
    MAC_FEATURE = 1 << 5
};

static const uint8_t experimental[] = {0x88, 0xb5};

static struct virtio    device;
static struct virtqueue queues[2];
static uint8_t          buffers[2][BUFFERS][BUFFER];
static uint16_t         free_tx[BUFFERS];
static unsigned         free_count;
static uint64_t         sent, received;

static void copy(uint8_t *to, const uint8_t *from, size_t size)
{
    while (size--)
        *to++ = *from++;
}

static bool same(const uint8_t *a, const uint8_t *b, size_t size)
{
    while (size && *a++ == *b++)
        size--;
    return !size;
}

static void own_address(uint8_t *address)
{
    for (unsigned i = 0; i < ADDRESS; i++)
        address[i] = device.config[i];
}

/* --- sending --- */

/* The frame of a free buffer, whose number is left in *index; waits for one. */
static uint8_t *take_buffer(uint16_t *index)
{
    uint32_t written;
    int      head;

    while ((head = virtqueue_take(&queues[TX], &written)) >= 0 || !free_count) {
        if (head >= 0)
            free_tx[free_count++] = (uint16_t)head;
    }
    *index = free_tx[--free_count];
    return buffers[TX][*index] + HEADER;
}

static void send_buffer(uint16_t index, size_t size)
{
    queues[TX].descriptors[index] =
        (struct descriptor){(uintptr_t)buffers[TX][index], (uint32_t)(HEADER + size), 0, 0};
    virtqueue_offer(&queues[TX], index);
    virtqueue_kick(&queues[TX]);
    sent++;
}

static void send_number(uint64_t number, size_t size)
{
    uint16_t index;
    uint8_t *frame = take_buffer(&index);

    for (unsigned i = 0; i < ADDRESS; i++)
        frame[i] = 0xff;
    own_address(frame + ADDRESS);
    copy(frame + TYPE, experimental, sizeof(experimental));
    copy(frame + NUMBER, (const uint8_t *)&number, sizeof(number));
    send_buffer(index, size);
}

/* --- receiving --- */

static void offer(uint16_t index)
{
    queues[RX].descriptors[index] = (struct descriptor){(uintptr_t)buffers[RX][index], BUFFER, DESCRIPTOR_WRITE, 0};
    virtqueue_offer(&queues[RX], index);
}

static void send_back(const uint8_t *frame, size_t size)
{
    uint16_t index;
    uint8_t *answer = take_buffer(&index);

    copy(answer, frame + ADDRESS, ADDRESS);
    own_address(answer + ADDRESS);
    copy(answer + TYPE, frame + TYPE, size - TYPE);
    send_buffer(index, size);
    received++;
}

static void echo(uint64_t count)
{
    uint32_t written;
    int      head;

    while (received < count) {
        while (received < count && (head = virtqueue_take(&queues[RX], &written)) >= 0) {
            const uint8_t *frame = buffers[RX][head] + HEADER;

            if (written >= HEADER + NUMBER && same(frame + TYPE, experimental, sizeof(experimental)))
                send_back(frame, written - HEADER);
            offer((uint16_t)head);
            virtqueue_kick(&queues[RX]);
        }
        pause();
    }
}

/* Until the device has given back all that was sent. */
static void drain(void)
{
    uint32_t written;

    while (free_count < BUFFERS) {
        if (virtqueue_take(&queues[TX], &written) >= 0)
            free_count++;
        else
            pause();
    }
}

void guest_main(const char *cmdline)
{
    const uint64_t count = argument(cmdline, "send", 0);
    uint64_t       size = argument(cmdline, "size", SHORTEST);

    if (size < SHORTEST || size > LONGEST)
        size = SHORTEST;
    if (!virtio_find(&device, VIRTIO_NET) ||
        !virtio_begin(&device, VIRTIO_VERSION_1 | VIRTIO_EVENT_INDEX | MAC_FEATURE) || !device.config) {
        say("net: no card\n");
        return;
    }
    virtio_add_queue(&device, RX, &queues[RX]);
    virtio_add_queue(&device, TX, &queues[TX]);
    for (uint16_t i = 0; i < BUFFERS; i++) {
        offer(i);
        free_tx[free_count++] = i;
    }
    virtio_go(&device);
    virtqueue_kick(&queues[RX]);
    say("net: ready\n");
    for (uint64_t i = 0; i < count; i++)
        send_number(i, size);
    echo(argument(cmdline, "echo", 0));
    drain();
    say("net:");
    say_value("sent", sent);
    say_value("received", received);
    say("\n");
}
