# shellcheck shell=dash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Debian's kernel, from its first instruction to the power button, by each way of booting it.

boots_and_shuts_down()
{
	begin=$(cut -d ' ' -f 1 /proc/uptime)
	run "$1" "$2" --cpus "$3"
	hears "$1" "vmhost-guest: ready cpus=$3 " || return 1
	echo "# $1: ready after $(cut -d ' ' -f 1 /proc/uptime | awk -v begin="$begin" '{ print $1 - begin }') s"
	hears "$1" "tick 2" && ctl shutdown "$1" && hears "$1" "power button" && ended "$1"
}

has_hardware()
{
	ctl describe-host | grep -q "accelerator.kind.*hardware"
}

try "KVM is on hardware" has_hardware
try "a bzImage with one CPU" boots_and_shuts_down boot-bzimage-1 vmlinuz 1
try "a bzImage with two CPUs" boots_and_shuts_down boot-bzimage-2 vmlinuz 2
try "a PVH kernel with one CPU" boots_and_shuts_down boot-pvh-1 vmlinux 1
try "a PVH kernel with two CPUs" boots_and_shuts_down boot-pvh-2 vmlinux 2
