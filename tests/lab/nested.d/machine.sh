# shellcheck shell=dash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What Linux finds of the machine: eight CPUs of two sockets, the clock, its generation, and how its panic is told. It
# lies at a random address, as nothing says that it must not.

cpus=/sys/devices/system/cpu

finds()
{
	hears machine "show $1: $2[[:space:]]*\$"
}

begins_where_it_likes()
{
	run machine vmlinuz --cpus 8 --set cpu.sockets=2 --set cpu.cores=2 --set cpu.threads=2 --keep \
		-a "$(sed 's/ nokaslr//' /guest/cmdline) quiet die=yes show=$cpus/cpu*/topology/*s_list,/sys/class/rtc/rtc0/*e,/sys/bus/acpi/devices/VMGENCTR*/hid"
	hears machine "vmhost-guest: ready cpus=8 "
}

knows_its_topology()
{
	finds $cpus/cpu0/topology/thread_siblings_list 0-1 && finds $cpus/cpu0/topology/package_cpus_list 0-3 &&
		finds $cpus/cpu7/topology/thread_siblings_list 6-7 &&
		finds $cpus/cpu7/topology/package_cpus_list 4-7
}

knows_the_date()
{
	finds /sys/class/rtc/rtc0/name "rtc_cmos.*" && finds /sys/class/rtc/rtc0/date "$(date -u +%Y-%m-%d)"
}

has_a_generation()
{
	finds "/sys/bus/acpi/devices/VMGENCTR:00/hid" VMGENCTR
}

panics()
{
	hears machine "the guest of \"machine\" crashed" && ctl show machine | grep -q "state.*crashed" &&
		grep -q "the guest panicked at rip=" /var/lib/vmhost/vms/*/words && quietly delete machine
}

try "a kernel at a random address" begins_where_it_likes
try "sockets, cores and threads" knows_its_topology
try "the clock" knows_the_date
try "the generation counter" has_a_generation
try "a panic" panics
