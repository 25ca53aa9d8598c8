# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Installs Debian packages that a list names and the machine lacks.

# True when the list's packages are there, or could be installed; says what is missing otherwise.
install_packages()
{
	local list=$1 missing
	command -v dpkg-query >/dev/null || return 0
	missing=$(missing_packages "$list")
	[[ $missing ]] || return 0
	if [[ $(id -u) != 0 ]]; then
		echo "not installed, and only root could: $missing" >&2
		return 1
	fi
	echo "installing $missing"
	# shellcheck disable=SC2086 # a list of words
	apt_install $missing || { apt-get -qq update && apt_install $missing; }
}

apt_install()
{
	DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$@" >/dev/null
}

missing_packages()
{
	local name
	while read -r name; do
		[[ $name && $name != '#'* ]] || continue
		[[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || echo "$name"
	done <"$1" | xargs
}
