# shellcheck shell=dash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A VM's share of the host's CPUs and memory, by control groups of version 2.

groups=/sys/fs/cgroup/vmhost

# The only VM with limits is the only one with a group.
says_limits()
{
	# shellcheck disable=SC2086 # it is a pattern
	limits=$(cd $groups/*-*-* && cat cpu.weight cpu.max memory.max | xargs)
	[ "$limits" = "$1" ] && return
	echo "# the limits are $limits"
	return 1
}

counts()
{
	count=$(sed -n "s/^$2 //p" $groups/*-*-*/"$1")
	[ "$count" -gt "$3" ] && return
	echo "# $1: $2 $count"
	return 1
}

# The guest's memory is charged to its group, and booting takes more than half a CPU.
holds_to_limits()
{
	run limits vmlinuz -s cpu.weight=50 -s cpu.limit=0.5 -s memory.limit=512MiB
	hears limits "vmhost-guest: ready" && says_limits "50 50000 100000 536870912" &&
		pidof vmhost-vmm | grep -q -w "$(cat $groups/*-*-*/cgroup.procs)" &&
		counts cpu.stat nr_throttled 0 && counts memory.stat shmem 10000000
}

changes_limits()
{
	update limits cpu.weight=200 cpu.limit=1.5 memory.limit=640MiB && says_limits "200 150000 100000 671088640"
}

leaves_no_group()
{
	quietly stop limits && [ ! -e $groups ]
}

try "a VM is held to its limits" holds_to_limits
try "they change while it runs" changes_limits
try "its group ends with it" leaves_no_group
