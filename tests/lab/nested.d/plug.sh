# shellcheck shell=dash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Disks and NICs that come and go while Linux runs.

has_devices()
{
	ctl show "$1" | grep -q -E "^(disk|nic)\."
}

# Linux finds what is plugged in, and lets go of what it is asked for.
devices_come_and_go()
{
	truncate -s 8M data
	tunctl -t plug0 >/dev/null
	run plug vmlinuz --cpus 2
	hears plug "vmhost-guest: ready" &&
		update plug "disk.data.path=$PWD/data" nic.lan.tap=plug0 && hears plug "^disk vda" && hears plug "^nic eth0" &&
		update plug disk.data.present=no && hears plug "^no disk vda" && has_devices plug &&
		update plug nic.lan.present=no && hears plug "^no nic eth0" && ! has_devices plug
}

# Asked before it has a driver, it finds the request later.
a_guest_that_boots_lets_go()
{
	update plug "disk.other.path=$PWD/data" && quietly reset plug &&
		update plug disk.other.present=no && ! has_devices plug && quietly stop plug
}

try "a disk and a NIC come and go" devices_come_and_go
try "a guest that boots lets go of a disk" a_guest_that_boots_lets_go
