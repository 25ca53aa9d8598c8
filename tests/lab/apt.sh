# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# An apt that knows one release of Debian, in the directory $work, and leaves the machine's own alone.

# Where this machine's own packages come from.
mirror()
{
	# shellcheck disable=SC2016 # apt expands it
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Component: main' | head -n 1
}

# Its packages (deb) or their sources (deb-src). It reads the machine's settings first, as they may name a proxy.
configure_apt()
{
	local kind=$1 release=$2 mirror
	mirror=$(mirror)
	if [[ ! $mirror && $(id -u) == 0 ]]; then
		apt-get -qq update >&2
		mirror=$(mirror)
	fi
	[[ $mirror ]] || die "no package list of Debian's is here; run apt-get update as root"
	mkdir -p "$work"/apt/{lists,cache/archives}/partial
	echo "$kind [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" \
		>"$work/apt/sources.list"
	cat >"$work/apt/apt.conf" <<-END
	Dir::Etc::SourceList "$work/apt/sources.list";
	Dir::Etc::SourceParts "/dev/null";
	Dir::Etc::Preferences "/dev/null";
	Dir::Etc::PreferencesParts "/dev/null";
	Dir::State::Lists "$work/apt/lists";
	Dir::Cache "$work/apt/cache";
	Dir::Cache::Archives "archives";
	Acquire::Languages "none";
	APT::Sandbox::User "root";
	APT::Install-Recommends "false";
	APT::Keep-Downloaded-Packages "true";
	Debug::NoLocking "true";
	#clear APT::Update::Pre-Invoke;
	#clear APT::Update::Post-Invoke;
	#clear APT::Update::Post-Invoke-Success;
	END
}

own_apt()
{
	apt-get -qq -c "$work/apt/apt.conf" "$@" >&2
}
