# shellcheck shell=dash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Linux's sockets to the host. The guest gives back what comes at its port 5, and calls port 9 of the host.

# Some MiB there and back, which are the same then.
comes_back()
{
	ctl vsock vsock "$@" <data >back && cmp data back
}

there_and_back()
{
	head -c 4194304 /dev/urandom >data
	run vsock vmlinuz -s vsock.cid=3
	hears vsock "vmhost-guest: echoing" && comes_back connect 5 && comes_back listen 9
}

nobody_listens()
{
	! ctl vsock vsock connect 6 </dev/null >refused 2>&1 && grep -q "nobody in the guest listens at port 6" refused
}

# A stream that nobody ends, and the guest starts anew.
a_reset_ends_streams()
{
	mkfifo held
	: >answer.log
	ctl vsock vsock connect 5 <held >answer.log &
	stream=$!
	exec 3>held
	echo hello >&3
	hears answer hello || return 1
	: >vsock.log
	quietly reset vsock && wait "$stream" && hears vsock "vmhost-guest: echoing" && comes_back connect 5
	exec 3>&-
}

try "data go there and back" there_and_back
try "a port at which nobody listens" nobody_listens
try "a reset ends a stream, and the guest is reached again" a_reset_ends_streams
quietly stop vsock
