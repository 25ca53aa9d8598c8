/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Behaviours of metrics and consoles, and of what a guest that runs notices. */
#include "conformance.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- metrics --- */

static size_t row_of(const vmh_frame *frame, const char *uuid)
{
    size_t row = 0;

    while (row < vmh_frame_rows(frame) && strcmp(vmh_frame_row_uuid(frame, row), uuid) != 0)
        row++;
    return row;
}

/* One cell; VMH_METRIC_NONE also when there is no such column. */
static uint64_t cell(const vmh_frame *frame, const char *metric, const char *uuid)
{
    const uint64_t *values = NULL;
    size_t          row = row_of(frame, uuid);

    if (row == vmh_frame_rows(frame) || vmh_frame_column(frame, metric, &values, NULL, NULL) < 0)
        return VMH_METRIC_NONE;
    return values[row];
}

static void has_a_row_for_each(stage *s)
{
    g_autoptr(vmh_vm) stopped = stage_vm(s, 0);
    g_autoptr(vmh_vm) runs = stage_vm(s, VMH_CREATE_START);
    g_autoptr(vmh_frame) frame = vmh_host_sample(s->host, NULL, 0, stage_error(s));
    g_autofree char *name = test_vm_name(runs);

    EXPECT(s, stopped && runs && frame);
    EXPECT(s, vmh_frame_rows(frame) == vmh_host_list_vms(s->host, NULL));
    EXPECT(s, row_of(frame, vmh_vm_uuid(stopped)) < vmh_frame_rows(frame));
    EXPECT(s, row_of(frame, vmh_vm_uuid(runs)) < vmh_frame_rows(frame));
    EXPECT(s, strcmp(vmh_frame_row_name(frame, row_of(frame, vmh_vm_uuid(runs))), name) == 0);
    EXPECT(s, vmh_frame_row_name(frame, vmh_frame_rows(frame)) == NULL);
    stage_remove(s, stopped);
    stage_remove(s, runs);
}

static void has_the_columns_asked_for(stage *s)
{
    g_autoptr(vmh_frame) frame = vmh_host_sample(s->host, "cpu.time,memory.size", 0, stage_error(s));
    const uint64_t *values = NULL, *ages = NULL;

    EXPECT(s, frame && vmh_frame_columns(frame) == 2);
    EXPECT(s, vmh_frame_column(frame, "memory.size", &values, &ages, stage_error(s)) == 0 && values && ages);
    EXPECT(s, vmh_frame_column(frame, "net.rx.bytes", &values, &ages, stage_error(s)) == VMH_ERR_NOT_FOUND);
    EXPECT(s, strcmp(vmh_frame_column_name(frame, 0), "cpu.time") == 0);
    EXPECT(s, vmh_frame_column_name(frame, 2) == NULL);
}

static void names_the_nearest_metric(stage *s)
{
    g_autoptr(vmh_frame) frame = vmh_host_sample(s->host, "cpu.tiem", 0, stage_error(s));

    EXPECT(s, !frame && vmh_error_code(s->error) == VMH_ERR_UNKNOWN_NAME);
    EXPECT(s, strstr(vmh_error_message(s->error), "cpu.time"));
}

static void agrees_with_the_description(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);
    g_autoptr(vmh_frame) frame = vmh_host_sample(s->host, "cpu.count,memory.size,memory.max", 0, stage_error(s));

    EXPECT(s, vm && frame);
    EXPECT(s, cell(frame, "memory.size", vmh_vm_uuid(vm)) == 64 << 20);
    EXPECT(s, cell(frame, "memory.max", vmh_vm_uuid(vm)) == 64 << 20);
    EXPECT(s, cell(frame, "cpu.count", vmh_vm_uuid(vm)) == 1);
    stage_remove(s, vm);
}

static void tells_ages(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);
    g_autoptr(vmh_frame) frame = vmh_host_sample(s->host, "memory.size", 0, stage_error(s));
    const uint64_t *ages = NULL;

    EXPECT(s, vm && frame && row_of(frame, vmh_vm_uuid(vm)) < vmh_frame_rows(frame));
    EXPECT(s, vmh_frame_column(frame, "memory.size", NULL, &ages, stage_error(s)) == 0);
    EXPECT(s, ages[row_of(frame, vmh_vm_uuid(vm))] < 2000);
    stage_remove(s, vm);
}

/* Waits for the guest to have used more CPU time, and sees that no counter goes back meanwhile. */
static void counts_upwards(stage *s)
{
    g_autoptr(vmh_vm) vm = stage_vm(s, VMH_CREATE_START);
    uint64_t first = VMH_METRIC_NONE, last = 0;
    int64_t  end = test_now_ms() + 20000;

    EXPECT(s, vm);
    while ((first == VMH_METRIC_NONE || last <= first) && test_now_ms() < end) {
        g_autoptr(vmh_frame) frame = vmh_host_sample(s->host, "cpu.time", 0, stage_error(s));
        uint64_t now;
        EXPECT(s, frame);
        now = cell(frame, "cpu.time", vmh_vm_uuid(vm));
        EXPECT(s, now != VMH_METRIC_NONE && now >= last);
        first = first == VMH_METRIC_NONE ? now : first;
        last = now;
        g_usleep(10000);
    }
    EXPECT(s, last > first);
    stage_remove(s, vm);
}

static void samples_devices(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "devices");
    g_autofree char *path = stage_disk(s, "metrics");
    g_autoptr(vmh_vm) vm = NULL;
    g_autoptr(vmh_frame) frame = NULL;

    EXPECT(s, vmh_spec_set(spec, "disk.root.path", path, stage_error(s)) == 0);
    vm = stage_create(s, spec, VMH_CREATE_START);
    EXPECT(s, vm);
    frame = vmh_host_sample(s->host, "disk.*,block.*", 0, stage_error(s));
    EXPECT(s, frame);
    EXPECT(s, cell(frame, "disk.root.read.bytes", vmh_vm_uuid(vm)) != VMH_METRIC_NONE);
    EXPECT(s, cell(frame, "disk.root.capacity", vmh_vm_uuid(vm)) >= 1 << 20);
    EXPECT(s, cell(frame, "block.read.bytes", vmh_vm_uuid(vm)) != VMH_METRIC_NONE);
    stage_remove(s, vm);
}

/* --- consoles --- */

static void has_no_console_when_stopped(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "silent");
    g_autoptr(vmh_vm) vm = NULL;

    EXPECT(s, vmh_spec_set(spec, "console.main.to", "pty", stage_error(s)) == 0);
    vm = stage_create(s, spec, 0);
    EXPECT(s, vm);
    EXPECT(s, vmh_vm_console(vm, NULL, 0, stage_error(s)) == VMH_ERR_STATE);
    EXPECT(s, strstr(vmh_error_message(s->error), "stopped"));
    EXPECT_OK(s, vmh_vm_start(vm, 0, stage_error(s)));
    EXPECT(s, vmh_vm_console(vm, "other", 0, stage_error(s)) == VMH_ERR_NOT_FOUND);
    stage_remove(s, vm);
}

static void ends_with_its_vm(stage *s)
{
    g_autoptr(vmh_spec) spec = stage_spec(s, "end");
    g_autoptr(GString) seen = g_string_new(NULL);
    g_autoptr(vmh_vm) vm = NULL;
    char left;
    int  fd;

    EXPECT(s, vmh_spec_set(spec, "console.main.to", "pty", stage_error(s)) == 0);
    vm = stage_create(s, spec, VMH_CREATE_START);
    EXPECT(s, vm);
    fd = vmh_vm_console(vm, "main", 0, stage_error(s));
    EXPECT(s, fd >= 0);
    EXPECT(s, fcntl(fd, F_GETFD) & FD_CLOEXEC);
    EXPECT(s, !(fcntl(fd, F_GETFL) & O_NONBLOCK));
    EXPECT(s, vmh_vm_console(vm, "main", 0, stage_error(s)) == VMH_ERR_BUSY);
    EXPECT_OK(s, vmh_vm_stop(vm, 0, stage_error(s)));
    test_wait_console(fd, seen, "\001 is said by nobody", 20000);
    EXPECT(s, recv(fd, &left, 1, MSG_DONTWAIT) == 0); /* and not EAGAIN: it has ended */
    close(fd);
    stage_remove(s, vm);
}

static void echoes(stage *s)
{
    if (!stage_guest(s))
        return;
    EXPECT(s, strstr(s->seen->str, "vmhost-guest: ready cpus=1"));
    EXPECT(s, test_say(s->console, "hello\n"));
    EXPECT(s, test_wait_console(s->console, s->seen, "echo: hello", PATIENCE_MS));
}

static void is_taken_by_force(stage *s)
{
    int fd;

    if (!stage_guest(s))
        return;
    EXPECT(s, vmh_vm_console(s->guest, NULL, 0, stage_error(s)) == VMH_ERR_BUSY);
    fd = vmh_vm_console(s->guest, NULL, VMH_CONSOLE_FORCE, stage_error(s));
    EXPECT(s, fd >= 0);
    close(s->console);
    s->console = fd;
    g_string_truncate(s->seen, 0);
    EXPECT(s, test_wait_console(fd, s->seen, "tick", PATIENCE_MS));
}

/* --- what the guest notices; the last of these ends it --- */

static void stands_still_when_paused(stage *s)
{
    if (!stage_guest(s))
        return;
    EXPECT_OK(s, vmh_vm_pause(s->guest, 0, stage_error(s)));
    test_wait_console(s->console, s->seen, "\001 is said by nobody", 200); /* what was under way */
    g_string_truncate(s->seen, 0);
    EXPECT(s, !test_wait_console(s->console, s->seen, "tick", 2500));
    EXPECT_OK(s, vmh_vm_resume(s->guest, 0, stage_error(s)));
    EXPECT(s, test_wait_console(s->console, s->seen, "tick", PATIENCE_MS));
}

static void shuts_down_when_asked(stage *s)
{
    if (!stage_guest(s))
        return;
    EXPECT_OK(s, vmh_vm_shutdown(s->guest, 0, stage_error(s)));
    EXPECT(s, test_wait_state(s->guest, VMH_VM_STOPPED, PATIENCE_MS));
    test_wait_console(s->console, s->seen, "power button", 20000);
    EXPECT(s, strstr(s->seen->str, "power button"));
    stage_remove(s, s->guest);
    g_clear_pointer(&s->guest, vmh_vm_unref);
    close(s->console);
    s->console = -1;
}

const behaviour guest_behaviours[] = {
    {"sample", "host.sample,vm.start", has_a_row_for_each, "a frame has a row for each VM"},
    {"sample.columns", "host.sample", has_the_columns_asked_for, "and the columns that were asked for"},
    {"sample.nearest", "host.sample", names_the_nearest_metric, "a misspelt metric is answered with the nearest"},
    {"sample.values", "host.sample,vm.start", agrees_with_the_description, "sizes are what the description says"},
    {"sample.ages", "host.sample,vm.start", tells_ages, "values of a VM that answers are fresh"},
    {"sample.counters", "host.sample,vm.start", counts_upwards, "CPU time grows and never goes back"},
    {"sample.devices", "host.sample,disk.root.path", samples_devices, "disks have columns of their own"},
    {"console.state", "vm.console,console.main.to", has_no_console_when_stopped,
     "a stopped VM has no console, nor has any VM an unknown one"},
    {"console.end", "vm.console,console.main.to,vm.stop", ends_with_its_vm,
     "a console is busy for others, and ends with its VM"},
    {"guest.console", "vm.console,boot.kernel", echoes, "the guest is seen booting, and answers"},
    {"guest.console.force", "vm.console,boot.kernel", is_taken_by_force, "a console is taken by force"},
    {"guest.pause", "vm.pause,vm.resume,vm.console", stands_still_when_paused, "a paused guest stands still"},
    {"guest.shutdown", "vm.shutdown,vm.console", shuts_down_when_asked, "the guest sees the power button and is off"},
    {NULL, NULL, NULL, NULL},
};
