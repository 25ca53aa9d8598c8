# shellcheck shell=dash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A machine without a bus: Linux learns of its devices from ACPI alone.

finds_its_devices()
{
	truncate -s 8M data
	tunctl -t mmio0 >/dev/null
	run mmio vmlinuz --cpus 2 -s machine=mmio -d "data=$PWD/data" -s nic.lan.tap=mmio0 -s console.main.to=pty \
		-s console.side.to=pty -s vsock.cid=3
	hears mmio "vmhost-guest: ready cpus=2 .* disks=vda nics=eth0 lo" || return 1
	: >side.log
	echo "over here" | ctl console mmio side >side.log 2>&1 &
	hears side "vmhost-guest: hvc0" && hears side "echo: over here" && hears mmio "vmhost-guest: echoing" &&
		echo "by socket" | ctl vsock mmio connect 5 | grep -q "by socket"
}

keeps_its_devices()
{
	! ctl update mmio --live disk.data.present=no >refusal.log 2>&1 && grep -q "without a bus" refusal.log &&
		update mmio memory.size=192MiB
}

starts_anew_and_shuts_down()
{
	: >mmio.log
	quietly reset mmio && hears mmio "vmhost-guest: ready cpus=2 .* disks=vda nics=eth0 lo" &&
		quietly shutdown mmio && hears mmio "power button" && ended mmio
}

try "a disk, a NIC, a console and sockets are found" finds_its_devices
try "none of them goes, and the balloon works" keeps_its_devices
try "it is reset and shut down" starts_anew_and_shuts_down
