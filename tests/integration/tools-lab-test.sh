#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The tools with a Linux guest on QEMU: run, watch, change, move and stop it, and two examples of the README.
# usage, in a lab: tools-lab-test.sh DIRECTORY-OF-THE-TOOLS; writes TAP.
set -u
PATH=$1:$PATH
# shellcheck source=tests/integration/tap.sh
. "$(dirname "$0")/tap.sh"
if [[ -z ${VMHOST_TEST_URI_B-} || -z ${VMHOST_TEST_KERNEL-} ]]; then
	echo "1..0 # SKIP needs the hosts of a lab and a guest: tests/run"
	exit
fi
a=${VMHOST_TEST_URI_A-}
b=$VMHOST_TEST_URI_B
guest=(-k "$VMHOST_TEST_KERNEL" -i "$VMHOST_TEST_INITRD" -a "$VMHOST_TEST_CMDLINE" -m 128MiB)

# Runs vmhost-run in the background, where bash would let it ignore SIGINT; what it reads is in the pipe keys.
run_guest()
{
	rm -f "$scratch/keys"
	mkfifo "$scratch/keys"
	env --default-signal=INT vmhost-run -c "$a" "${guest[@]}" "$@" \
		<"$scratch/keys" >"$scratch/out" 2>"$scratch/err" &
	tool=$!
	exec {keys}>"$scratch/keys"
}

end_guest()
{
	wait "$tool"
	code=$?
	exec {keys}>&-
}

run_guest --name one
check "the guest boots" says_soon out "vmhost-guest: ready"
check "no message is lost: the first line is there" says out "Linux version"
echo hello >&"$keys"
check "what is piped in reaches the guest" says_soon out "echo: hello"
cp "$scratch/out" "$scratch/console"
vmhost-ctl -c "$a" shutdown --wait --timeout 60s one 2>>"$scratch/err"
end_guest
check "a guest that shuts down ends the tool with 0" exits 0
run vmhost-list --json "$a"
check "and leaves nothing behind" json 'd == []'

run_guest --name two
says_soon out "vmhost-guest: ready"
kill -TERM $tool
end_guest
check "SIGTERM ends it with 143" exits 143
run vmhost-list --json "$a"
check "and the guest with it" json 'd == []'

run_guest --name three --keep --set cpu.max=2 --set memory.max=192MiB
says_soon out "vmhost-guest: ready"
kill -TERM $tool
end_guest
run vmhost-list --json --metrics cpu.time "$a"
check "--keep leaves it running" json 'd[0]["name"] == "three" and d[0]["state"] == "running"'
check "its metrics are there" json 'd[0]["cpu.time"] > 0 and d[0]["cpu.count"] == 1'

run vmhost-ctl -c "$a" update three --live cpu.count=2 memory.size=96MiB --json
check "CPUs and memory change live" json '[v["verdict"] for v in d] == ["applied"] * 2'
timeout 120 vmhost-ctl -c "$a" console three </dev/null >"$scratch/out" 2>"$scratch/err" &
tool=$!
check "the guest sees the CPU" says_soon out "cpus=2"
check "its console counts" says_soon out "tick"
run timeout 30 vmhost-ctl -c "$a" console three main
check "a console in use is refused" exits 1
kill $tool
wait $tool 2>/dev/null

env --default-signal=INT vmhost-migrate -c "$a" three "$b" --bandwidth 1MiB/s >"$scratch/out" 2>"$scratch/err" &
tool=$!
check "progress is a line a second where there is no terminal" says_soon err "copying"
kill -INT $tool
wait $tool
code=$?
check "Ctrl-C cancels a migration" exits 130
check "it says where the guest is" says err "goes on at $a"
run vmhost-list --json "$a"
check "and it is there" json 'd[0]["state"] == "running"'

run vmhost-migrate -c "$a" three "$b" --json --downtime 500ms --bandwidth 16MiB/s
check "a migration succeeds" exits 0
check "its result is told" json 'd["outcome"] == "done" and d["bytes"] > 0 and d["elapsed_ms"] > 0'
run vmhost-list --json "$a" "$b"
check "it is on the other host" json '[v["host"] for v in d if v["state"] == "running"] == ["'"$b"'"]'
timeout 120 vmhost-ctl -c "$b" console three </dev/null >"$scratch/out" 2>"$scratch/err" &
tool=$!
check "its console counts on" says_soon out "tick"
kill $tool
wait $tool 2>/dev/null
run vmhost-ctl -c "$b" delete --force three
check "it is deleted" exits 0

run tour "$a" "$b" "$VMHOST_TEST_KERNEL" "$VMHOST_TEST_INITRD"
check "the tour succeeds" exits 0
check "the tour's guest saw the second CPU" says out "cpus=2"
run vmhost-list --json "$a" "$b"
check "the tour leaves nothing behind" json 'd == []'

"$VMHOST_TEST_LAB/host" run a "$1/first" "$VMHOST_TEST_KERNEL" "$VMHOST_TEST_INITRD" >"$scratch/out" 2>"$scratch/err" &
tool=$!
check "the first program shows the console of its guest" says_soon out "vmhost-guest: ready"
vmhost-ctl -c "$a" shutdown first 2>>"$scratch/err"
wait $tool
code=$?
check "and ends with it" exits 0
plan
