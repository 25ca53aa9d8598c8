# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the lab's scripts share: its paths, its addresses, and how it waits.

# shellcheck source=tests/lab/cgroups.sh
. "$(dirname "${BASH_SOURCE[0]}")/cgroups.sh"

# /run is a tmpfs of the lab's own, so this path is the same in every lab and all of it goes away with the lab.
lab=/run/vmhost-lab
lab_network=10.77.0
# shellcheck disable=SC2034 # used by the scripts that source this file
lab_user=vmhost-lab
lab_user_id=64777
# shellcheck disable=SC2034
lab_user_runtime=/run/user/$lab_user_id
# The host whose QEMU is older, when the lab has that.
# shellcheck disable=SC2034
lab_old_host=o

die()
{
	echo "$(basename "$0"): $*" >&2
	exit 1
}

# Hosts are called by one letter, and the letter is the last number of the address: a is 10.77.0.1.
check_host_name()
{
	[[ $1 =~ ^[a-z]$ ]] || die "no host is called '$1'; a name is one letter from a to z"
}

letters()
{
	fold -w 1 <<<"$1"
}

host_address()
{
	echo "$lab_network.$(($(printf '%d' "'$1") - 96))"
}

host_directory()
{
	echo "$lab/hosts/$1"
}

# The process whose namespaces are the host's.
host_process()
{
	cat "$(host_directory "$1")/init.pid" 2>/dev/null || die "host $1 does not run"
}

# Runs a command inside a host, its control groups included.
in_host()
(
	process=$(host_process "$1")
	enter_cgroups "$LAB_NAME" "$1"
	shift
	exec nsenter --target "$process" --mount --net --uts --ipc --cgroup -- "$@"
)

# Tries a command until it succeeds, for at most that many seconds.
wait_until()
{
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return 1
		sleep 0.05
	done
}

libvirtd_process()
{
	cat "$(host_directory "$1")/run/libvirtd.pid" 2>/dev/null || true
}

libvirtd_runs()
{
	local process
	process=$(libvirtd_process "$1")
	[[ $process && $(cat "/proc/$process/comm" 2>/dev/null) == libvirtd ]]
}

libvirtd_ended()
{
	! libvirtd_runs "$1"
}

host_uri()
{
	echo "qemu+tcp://$(host_address "$1")/system"
}

libvirtd_answers()
{
	virsh -c "$(host_uri "$1")" uri
}

libvirtd_answers_or_ended()
{
	libvirtd_answers "$1" || libvirtd_ended "$1"
}

# Fails at once when libvirtd has died.
wait_for_libvirtd()
{
	wait_until 30 libvirtd_answers_or_ended "$1" && libvirtd_runs "$1"
}

in_lab()
{
	[[ -e $lab/environment.partial || -e $lab/environment ]] || die "this works inside a lab only: tests/lab/enter -- bash"
}
