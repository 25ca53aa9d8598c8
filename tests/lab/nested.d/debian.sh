# shellcheck shell=dash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Debian as its packages make it, from a disk to its login, on two networks, and down again by its power button. All
# is done as its user would: with a JSON file, by typing on its console, and from beside it.

# One network is a tap with a DHCP server; the way out of the other, passt's, is this host's default route.
make_networks()
{
	mkdir www
	head -c 8388608 /dev/urandom >www/data
	httpd -h www
	tunctl -t debian0 >/dev/null
	ip address add 10.8.0.1/24 dev debian0
	ip link set debian0 up
	printf '%s\n' "start 10.8.0.10" "end 10.8.0.20" "interface debian0" "option subnet 255.255.255.0" \
		"lease_file $PWD/leases" "pidfile $PWD/dhcp" >dhcp.conf
	touch leases
	udhcpd -f dhcp.conf >dhcp.log 2>&1 &
	tunctl -t out0 >/dev/null
	ip address add 192.0.2.2/24 dev out0
	ip link set out0 up
	ip route add default via 192.0.2.1
}

write_spec()
{
	cat >debian.json <<-'END'
		{
		  "name": "debian",
		  "cpu": { "count": 1 },
		  "memory": { "size": 536870912 },
		  "boot": {
		    "kernel": "/debian/vmlinuz",
		    "initrd": "/debian/initrd",
		    "cmdline": "console=ttyS0 root=/dev/vda rw mitigations=off quiet systemd.show_status=yes"
		  },
		  "disk": { "root": { "path": "/dev/vda" } },
		  "nic": { "lan": { "tap": "debian0" }, "out": { "user": true } },
		  "console": { "main": { "to": "pty" } }
		}
	END
}

type_line()
{
	echo "$1" >&3
}

boots_to_its_login()
{
	begin=$(cut -d ' ' -f 1 /proc/uptime)
	start debian --file debian.json
	hears debian "debian login:" || return 1
	echo "# debian: its login after $(cut -d ' ' -f 1 /proc/uptime | awk -v begin="$begin" '{ print $1 - begin }') s"
	type_line root
	hears debian "root@debian:"
}

# What is typed is seen as well, so what is waited for is put together by the guest.
says()
{
	type_line "$1"
	hears debian "$2"
}

has_addresses()
{
	says '/lib/systemd/systemd-networkd-wait-online; echo on"line"; busybox ip -4 address' "online" &&
		hears debian "inet 10\.8\.0\.[12][0-9]*/24" && hears debian "inet 192\.0\.2\.2/"
}

fetches_by()
{
	says "echo by-$1-\$(busybox wget -q -O - http://$2/data | sha256sum)" \
		"by-$1-$(sha256sum <www/data | cut -d ' ' -f 1)"
}

# What the guest's driver told the host last; it tells every few seconds.
measures_less()
{
	unused=$(ctl --json sample memory.unused | tr '{' '\n' | sed -n '/"debian"/s/.*unused":\([0-9]*\).*/\1/p') &&
		[ "${unused:-0}" -gt 0 ] && [ "$unused" -lt 268435456 ]
}

# Its own figure, in KiB, counted in the guest. The balloon's pages are in use, as the guest may have them back when it
# would be out of memory.
gives_memory_away()
{
	# shellcheck disable=SC2016 # the guest expands it
	available='$(sed -n "s/^MemAvailable: *\([0-9]*\) kB/\1/p" /proc/meminfo)'
	says "[ $available -gt 307200 ] && echo has 'ever'ything" "has everything" &&
		update debian memory.size=320MiB &&
		says "until [ $available -lt 256000 ]; do sleep 1; done; echo has 'le'ss" "has less" &&
		await measures_less && update debian memory.size=512MiB &&
		says "until [ $available -gt 307200 ]; do sleep 1; done; echo has 'mo're" "has more"
}

ends_by_its_button()
{
	quietly shutdown debian && hears debian "Reached target.*poweroff.target" && ended debian
}

if [ -e /debian/vmlinuz ]; then
	make_networks
	write_spec
	# shellcheck disable=SC2034 # start() reads it
	keys=keys
	mkfifo keys
	exec 3<>keys
	try "Debian boots to its login and lets its root in" boots_to_its_login
	try "both NICs get addresses" has_addresses
	try "it fetches a file by a tap" fetches_by tap 10.8.0.1
	try "it fetches a file by passt" fetches_by passt 192.0.2.1
	try "it gives memory away and gets it back" gives_memory_away
	try "it shuts down when its power button is pressed" ends_by_its_button
else
	skip "Debian boots to its login" "no disk of Debian could be made"
fi
