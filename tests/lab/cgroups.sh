# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Each lab host lives in a control group of its own, LAB/HOST at the top of every hierarchy (version 1 or 2),
# and sees it as the root, so that libvirt daemons side by side do not share one "machine" group.

# One line per hierarchy: where it is mounted.
cgroup_mounts()
{
	awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts | sort -u
}

# Gives a new group what it needs before a process may enter: a cpuset starts empty, and in version 2 a
# controller must be handed down by the parent.
prepare_cgroup()
{
	local group=$1 parent file
	parent=$(dirname "$group")
	for file in cpuset.cpus cpuset.mems; do
		if [[ -e $group/$file && ! -e $group/cgroup.controllers && -z $(<"$group/$file") ]]; then
			cat "$parent/$file" >"$group/$file"
		fi
	done
	if may_hand_down "$parent"; then
		local controller
		for controller in $(<"$parent/cgroup.controllers"); do
			(echo "+$controller" >"$parent/cgroup.subtree_control") 2>/dev/null || true
		done
	fi
}

# Only a version 2 group without processes hands controllers down, except the machine's topmost, which has no type.
# In a container the top that we see may well hold processes; then hosts do without controllers.
may_hand_down()
{
	[[ -e $1/cgroup.controllers ]] && { [[ ! -e $1/cgroup.type ]] || [[ -z $(<"$1/cgroup.procs") ]]; }
}

# Moves the calling shell into LAB/HOST wherever that is allowed. A machine without writable control groups still
# makes a lab, whose hosts then lack the tuning that needs them.
enter_cgroups()
{
	local name=$1 host=$2 top group
	while read -r top; do
		group=$top/$name/$host
		if [[ ! -d $group ]]; then
			mkdir -p "$group" 2>/dev/null || continue
			prepare_cgroup "$top/$name"
			prepare_cgroup "$group"
		fi
		# See leave_root_group in host-init.
		[[ ! -d $group/host ]] || group=$group/host
		echo "$BASHPID" >"$group/cgroup.procs"
	done < <(cgroup_mounts)
}

# True when no hierarchy has the group any more.
remove_cgroups()
{
	local name=$1 top gone=0
	while read -r top; do
		[[ -d $top/$name ]] || continue
		find "$top/$name" -depth -type d -exec rmdir {} + 2>/dev/null || true
		[[ ! -d $top/$name ]] || gone=1
	done < <(cgroup_mounts)
	return "$gone"
}

# In version 2 a lab hands controllers down from the top, which the machine need not have done before. These tell
# what it did, and take back the rest; the kernel refuses where another lab still needs it.
handed_down()
{
	cat /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
}

take_back()
{
	local before=$1 controller
	for controller in $(handed_down); do
		[[ " $before " == *" $controller "* ]] ||
			(echo "-$controller" >/sys/fs/cgroup/cgroup.subtree_control) 2>/dev/null || true
	done
}

# Makes the lab's topmost groups and locks them for as long as a process of the lab lives, all of which inherit the
# locks. Process numbers would not do: another namespace counts them differently, and sees no process of ours.
claim_cgroups()
{
	local top group lock
	while read -r top; do
		group=$top/$1
		while mkdir -p "$group" 2>/dev/null; do
			{ exec {lock}<"$group"; } 2>/dev/null || continue
			flock "$lock"
			# Someone who found it before it was locked may have removed it.
			[[ ! $group -ef /proc/self/fd/$lock ]] || break
			exec {lock}<&-
		done
	done < <(cgroup_mounts)
}

# The groups of labs that are gone, whose lock nobody holds.
stale_cgroups()
{
	local top group
	while read -r top; do
		for group in "$top"/vmhost-lab-*; do
			[[ ! -d $group ]] || ! flock --nonblock "$group" true 2>/dev/null || echo "$group"
		done
	done < <(cgroup_mounts)
}

# Removes what labs that were killed together with their keeper have left.
remove_stale_cgroups()
{
	local group
	while read -r group; do
		# Held meanwhile, so that it is not claimed anew, by a lab of the same name, and removed then.
		flock --nonblock "$group" find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
	done < <(stale_cgroups)
}
