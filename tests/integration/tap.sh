# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What the tests of programs share: running one, looking at what it did, and a line of TAP for each look.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
number=0
failed=0

# Runs a command; its exit code is in $code, its output in the files out and err.
run()
{
	"$@" >"$scratch/out" 2>"$scratch/err" </dev/null
	code=$?
}

# check DESCRIPTION COMMAND...: with what the last run wrote when the command fails.
check()
{
	local description=$1
	shift
	number=$((number + 1))
	if "$@" 2>"$scratch/problem"; then
		echo "ok $number - $description"
		return
	fi
	failed=1
	echo "not ok $number - $description"
	echo "# exit code $code"
	tail -n 20 "$scratch/out" | sed 's/^/# out: /'
	tail -n 60 "$scratch/err" | sed 's/^/# err: /'
	tail -n 5 "$scratch/problem" | sed 's/^/# /'
}

plan()
{
	echo "1..$number"
	exit $failed
}

exits()
{
	((code == $1))
}

silent()
{
	[[ ! -s $scratch/$1 ]]
}

says()
{
	grep -qaF -- "$2" "$scratch/$1"
}

# says_soon FILE TEXT: what a program in the background will write, within a minute.
says_soon()
{
	local end=$((SECONDS + 60))
	until says "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.05
	done
}

# json EXPRESSION: the output is JSON, and the expression is true of it, as d.
json()
{
	python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(not eval(sys.argv[2]))' "$scratch/out" "$1"
}

# Each line of the output is JSON of its own.
json_lines()
{
	python3 -c 'import json, sys
d = [json.loads(line) for line in open(sys.argv[1])]
sys.exit(not eval(sys.argv[2]))' "$scratch/out" "$1"
}

# Nothing but printable text and line feeds.
printable()
{
	python3 -c 'import sys
text = open(sys.argv[1], encoding="utf-8").read()
sys.exit(any(not c.isprintable() and c != "\n" for c in text))' "$scratch/$1"
}
