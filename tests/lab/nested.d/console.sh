# shellcheck shell=dash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Consoles beside the serial one, which Linux finds as hvc0, hvc1, ...

several_consoles()
{
	run console vmlinuz -s console.main.to=pty -s console.side.to=pty -s "console.tail.to=file:$PWD/tail.log"
	hears console "vmhost-guest: ready" || return 1
	: >side.log
	echo "over here" | ctl console console side >side.log 2>&1 &
	hears side "vmhost-guest: hvc0" && hears side "echo: over here" && hears tail "vmhost-guest: hvc1" &&
		quietly stop console
}

try "two virtio consoles beside the serial one" several_consoles
