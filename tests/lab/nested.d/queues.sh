# shellcheck shell=dash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A NIC of several queues, and limits of a disk, as Linux meets them: it reads the disk and sends all the time.

# A counter of the guest's, such as disk.data.read.ops. The first frame of a program may be too early to have it.
read_counter()
{
	value=$(ctl --json sample "$1" | sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p")
	[ "$value" ]
}

counter()
{
	await read_counter "$1"
	echo "${value:-0}"
}

starts_with_two_queues()
{
	truncate -s 8M data
	brctl addbr queues && ip addr add 10.77.0.1/24 dev queues && ip link set queues up || return 1
	nc -ll -p 7000 -e cat &
	echo $! >echo.pid
	run queues vmlinuz --cpus 2 -s "disk.data.path=$PWD/data" -s disk.data.iops.read=10 \
		-s nic.lan.bridge=queues -s nic.lan.queues=2 \
		-a "$(cat /guest/cmdline) quiet read=vda net=10.77.0.2 send=10.77.0.1:7000 show=/sys/class/net/eth0/queues/rx-1/rps_cpus,/sys/class/net/eth0/queues/tx-1/xps_cpus,/sys/class/net/eth0/device/features,/sys/block/vda/mq/1/cpu_list"
	hears queues "vmhost-guest: ready" && hears queues "^show .*rx-1" && hears queues "^show .*tx-1" &&
		hears queues "^show .*mq/1/cpu_list"
}

# CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, MAC, HOST_TSO4, HOST_TSO6, MRG_RXBUF, STATUS, CTRL_VQ, and MQ.
has_its_features()
{
	grep -q "^show .*features: 11000101100110011100001" queues.log && return
	grep "features" queues.log | sed "s/^/# /"
	return 1
}

# Of one frame, as both grow all the time; of the VM whose NIC it is, which may be one of several.
bytes_a_packet()
{
	ctl --json sample "nic.lan.$1.bytes,nic.lan.$1.packets" | tr '{' '\n' |
		sed -n "s/.*\"nic.lan.$1.bytes\":\([0-9]*\),.*\"nic.lan.$1.packets\":\([1-9][0-9]*\).*/\1 \2/p" |
		awk '{ printf "%d", $1 / $2 }'
}

# More than 3 MB, by packets of more than so many bytes.
flows()
{
	[ "$(counter "nic.lan.$1.bytes")" -gt 3000000 ] && size=$(bytes_a_packet "$1") && [ "${size:-0}" -gt "$2" ]
}

says_size()
{
	size=
	await flows "$@"
	flowed=$?
	echo "# $1: ${size:-0} bytes a packet"
	return $flowed
}

# Each way; the guest's own by packets larger than any Ethernet has: segments are left to the receiver.
traffic_flows()
{
	says_size tx 1514 && says_size rx 0
}

has_read()
{
	reads=$(($(counter disk.data.read.ops) - first))
	[ "$reads" -ge "$1" ]
}

# So many reads, which take the guest as long as they may: how many a second, by this host's clock.
read_rate()
{
	begin=$(cut -d ' ' -f 1 /proc/uptime)
	first=$(counter disk.data.read.ops)
	await has_read "$1"
	enough=$?
	cut -d ' ' -f 1 /proc/uptime | awk -v begin="$begin" -v reads="$reads" '{ printf "%d", reads / ($1 - begin) }'
	return $enough
}

# No more than it may; on a busy host a guest may come to fewer.
reads_at()
{
	rate=$(read_rate $(($1 * 3)))
	enough=$?
	echo "# $rate reads a second, of $1"
	[ "$enough" = 0 ] && [ "$rate" -le $(($1 * 11 / 10 + 1)) ]
}

limits_hold()
{
	kill "$(cat echo.pid)"
	reads_at 10 && update queues disk.data.iops.read=4 && reads_at 4 &&
		update queues disk.data.iops.read=0 disk.data.iops.total=20 && reads_at 20 &&
		[ "$(counter disk.data.read.stalled)" -gt 1000000000 ]
}

ends()
{
	quietly stop queues && ip link set queues down && brctl delbr queues
}

try "two queues of a NIC and of a disk" starts_with_two_queues
try "checksums and segments are offloaded" has_its_features
try "traffic flows" traffic_flows
try "a disk's limit holds, and another when it changes" limits_hold
try "it ends" ends
