/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A 16550: registers on eight ports, an edge on line 4. It sends at once, so its transmitter is always empty. */
#include "serial.h"
#include <string.h>

enum {
    DATA = 0,
    INTERRUPT_ENABLE = 1,
    INTERRUPT_ID = 2, /* and, written, the control of the FIFO */
    LINE_CONTROL = 3,
    MODEM_CONTROL = 4,
    LINE_STATUS = 5,
    MODEM_STATUS = 6,
    SCRATCH = 7,

    ENABLE_RECEIVED = 1,
    ENABLE_EMPTY = 2,
    ID_NONE = 0x01,
    ID_EMPTY = 0x02,
    ID_RECEIVED = 0x04,
    ID_FIFO = 0xc0,
    FIFO_CLEAR = 0x02,
    DIVISOR_LATCH = 0x80,
    MODEM_LOOP = 0x10,
    STATUS_RECEIVED = 0x01,
    STATUS_EMPTY = 0x60,
    MODEM_READY = 0xb0 /* carrier, set ready, clear to send */
};

static uint8_t pending(const struct serial *serial)
{
    if (serial->count && serial->enabled & ENABLE_RECEIVED)
        return ID_RECEIVED;
    if (serial->sent && serial->enabled & ENABLE_EMPTY)
        return ID_EMPTY;
    return ID_NONE;
}

static void tell(struct serial *serial)
{
    if (pending(serial) != ID_NONE)
        vm_interrupt(serial->vm, SERIAL_LINE);
}

static bool put(struct serial *serial, uint8_t byte)
{
    if (serial->count == SERIAL_FIFO)
        return false;
    serial->fifo[(serial->first + serial->count++) % SERIAL_FIFO] = byte;
    return true;
}

static void send_byte(struct serial *serial, uint8_t byte)
{
    if (serial->modem_control & MODEM_LOOP)
        put(serial, byte);
    else
        console_write(&serial->console, &byte, 1);
    serial->sent = true;
    tell(serial);
}

static uint8_t take_byte(struct serial *serial)
{
    uint8_t byte = 0;

    if (serial->count) {
        byte = serial->fifo[serial->first];
        serial->first = (serial->first + 1) % SERIAL_FIFO;
        serial->count--;
        /* Half of the room at a time, lest the loop is woken for each byte. */
        if (serial->count == SERIAL_FIFO / 2 || serial->count == 0)
            console_ready(&serial->console);
    }
    tell(serial);
    return byte;
}

static void write_register(struct serial *serial, uint64_t offset, uint8_t value)
{
    const bool latch = serial->line_control & DIVISOR_LATCH;

    switch (offset) {
    case DATA:
        if (latch)
            serial->divisor[0] = value;
        else
            send_byte(serial, value);
        break;
    case INTERRUPT_ENABLE:
        if (latch) {
            serial->divisor[1] = value;
            break;
        }
        /* Whoever asks for it is told that the transmitter is empty, as it always is. */
        serial->sent = serial->sent || (value & ENABLE_EMPTY && !(serial->enabled & ENABLE_EMPTY));
        serial->enabled = value & 0x0f;
        tell(serial);
        break;
    case INTERRUPT_ID:
        if (value & FIFO_CLEAR)
            serial->count = 0;
        break;
    case LINE_CONTROL:
        serial->line_control = value;
        break;
    case MODEM_CONTROL:
        serial->modem_control = value;
        break;
    case SCRATCH:
        serial->scratch = value;
        break;
    default:
        break;
    }
}

static uint8_t read_id(struct serial *serial)
{
    const uint8_t id = pending(serial);

    if (id == ID_EMPTY)
        serial->sent = false;
    return id | ID_FIFO;
}

/* The modem's lines, which are the port's own when it listens to itself. */
static uint8_t read_modem(const struct serial *serial)
{
    const uint8_t control = serial->modem_control;

    if (!(control & MODEM_LOOP))
        return MODEM_READY;
    return (uint8_t)((control & 2) << 3 | (control & 1) << 5 | (control & 4) << 4 | (control & 8) << 4);
}

static uint8_t read_register(struct serial *serial, uint64_t offset)
{
    const bool latch = serial->line_control & DIVISOR_LATCH;

    switch (offset) {
    case DATA:
        return latch ? serial->divisor[0] : take_byte(serial);
    case INTERRUPT_ENABLE:
        return latch ? serial->divisor[1] : serial->enabled;
    case INTERRUPT_ID:
        return read_id(serial);
    case LINE_CONTROL:
        return serial->line_control;
    case MODEM_CONTROL:
        return serial->modem_control;
    case LINE_STATUS:
        return STATUS_EMPTY | (serial->count ? STATUS_RECEIVED : 0);
    case MODEM_STATUS:
        return read_modem(serial);
    default:
        return serial->scratch;
    }
}

/* Its registers are bytes: of a wider access the first one counts. */
static void access_port(void *device, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
    (void)size;
    if (write)
        write_register(device, offset, (uint8_t)*value);
    else
        *value = read_register(device, offset);
}

static unsigned input(void *data, const uint8_t *bytes, unsigned count)
{
    struct serial *serial = data;
    unsigned       taken = 0;

    pthread_mutex_lock(&serial->lock);
    while (taken < count && put(serial, bytes[taken]))
        taken++;
    if (taken)
        tell(serial);
    pthread_mutex_unlock(&serial->lock);
    return taken;
}

void serial_reset(struct serial *serial)
{
    pthread_mutex_lock(&serial->lock);
    serial->enabled = serial->line_control = serial->modem_control = serial->scratch = 0;
    serial->sent = false;
    serial->first = serial->count = 0;
    memset(serial->divisor, 0, sizeof(serial->divisor));
    pthread_mutex_unlock(&serial->lock);
    console_ready(&serial->console);
}

bool serial_init(struct serial *serial, struct vm *vm)
{
    const struct bus_range range = {SERIAL_PORT, 8, access_port, serial, &serial->lock};

    memset(serial, 0, sizeof(*serial));
    pthread_mutex_init(&serial->lock, NULL);
    serial->vm = vm;
    return console_init(&serial->console, input, serial) && bus_add(&vm->ports, &range);
}
