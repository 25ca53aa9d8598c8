#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The tools as a user meets them, on hosts that need no daemon: exit codes, what goes where, JSON, hostile names.
# usage: tools-test.sh DIRECTORY-OF-THE-TOOLS DIRECTORY-OF-THE-MANUAL SMALL-GUEST RING3-GUESTS; writes TAP.
# shellcheck disable=SC2317 # check calls the functions
set -u
PATH=$1:$PATH
manual=$2
small_guest=$3
ring3_guests=$4
# shellcheck source=tests/integration/tap.sh
. "$(dirname "$0")/tap.sh"

# with_stream COMMAND...: @ in it is a descriptor of a socket. What comes there until it is closed is told on stderr.
with_stream()
{
	python3 -c 'import socket, struct, subprocess, sys
ours, theirs = socket.socketpair()
number = theirs.fileno()
words = [word.replace("=@", f"={number}") for word in sys.argv[1:]]
tool = subprocess.Popen(words, pass_fds=[number])
theirs.close()
sizes = []
stream = ours.makefile("rb")
while head := stream.read(4):
    sizes.append(len(stream.read(struct.unpack("!I", head)[0])))
print("frames:", *sizes, file=sys.stderr)
sys.exit(tool.wait())' "$@"
}

ctl()
{
	run vmhost-ctl -c test:///default "$@"
}

for tool in vmhost-run vmhost-list vmhost-ctl vmhost-migrate; do
	run $tool --help
	check "$tool --help succeeds" exits 0
	check "$tool --help is on stdout" says out --version
	check "$tool --help says nothing on stderr" silent err
	run $tool --version
	check "$tool --version" says out "$tool 0."
	run $tool --nonsense
	check "$tool refuses an unknown option as usage" exits 2
	check "$tool names itself in the error" says err "$tool: "
	check "$tool prints nothing on stdout then" silent out
	"$tool" --help >/dev/full 2>"$scratch/err"
	code=$?
	check "$tool notices that the disk is full" exits 1
	check "$tool says so" says err "writing the output"
done

# exits_with PROCESS CODE: of a child that has ended by now.
exits_with()
{
	[[ ! -e /proc/$1 ]] || return 1
	wait "$1"
	code=$?
	exits "$2"
}

once()
{
	(($(grep -oF -- "$2" "$scratch/$1" | wc -l) == 1))
}

# Each long option and each verb of the help is in the manual.
# shellcheck disable=SC2013 # words without spaces
documented()
{
	local word
	for word in $(grep -oE '^  (-[a-z], )?(-h, |-V, )?--[a-z-]+' "$scratch/out" | grep -oE -- '--[a-z-]+'); do
		[[ $word == --help || $word == --version ]] || grep -qF "Fl -${word#--}" "$manual/$1.1" || {
			echo "$1.1 lacks $word" >&2
			return 1
		}
	done
	for word in $(sed -n '/^Verbs:/,/^$/s/^  \([a-z-]*\).*/\1/p' "$scratch/out"); do
		grep -qE "^\.It Ic $word( |$)" "$manual/$1.1" || {
			echo "$1.1 lacks $word" >&2
			return 1
		}
	done
}
for tool in vmhost-run vmhost-list vmhost-ctl vmhost-migrate; do
	run $tool --help
	check "the manual of $tool has all its options and verbs" documented $tool
done

run vmhost-ctl
check "no verb is usage" exits 2
run vmhost-ctl strat x
check "an unknown verb is usage" exits 2
check "an unknown verb names the nearest" says err 'did you mean "start"?'
run vmhost-ctl start
check "a missing argument is usage" exits 2
run vmhost-ctl start a b
check "a superfluous argument is usage" exits 2
run vmhost-ctl update a cpu.count
check "an assignment without = is usage" exits 2
run vmhost-ctl update a cpu.cuont=2
check "an unknown property is usage" exits 2
check "an unknown property names the nearest" says err cpu.count
run vmhost-ctl --timeout 3parsecs list
check "a wrong duration is usage" exits 2
run vmhost-ctl sample --interval x
check "a wrong interval is usage" exits 2
run vmhost-migrate one
check "migrate needs a destination" exits 2
run vmhost-run surplus
check "run takes no argument" exits 2
run vmhost-run -k ''
check "a kernel has a path" exits 2
check "an empty one is told with its option" says err '--kernel takes a path'
run vmhost-run -d root=
check "a disk has a path" exits 2
run vmhost-ctl schema nonsense
check "an unknown kind is usage" exits 2
run vmhost-ctl start --help
check "a verb's help is on stdout" says out --paused

run vmhost-ctl -c nobody:///x list
check "a URI of nobody fails" exits 1
check "the error tells tool, deed and object" says err 'vmhost-ctl: opening "nobody:///x": '
run vmhost-ctl -c "test://$scratch/nothing.xml" list
check "and tells the deed once" once err 'opening '
ctl show nobody
check "a VM that is not there fails" exits 1
check "its error tells the name" says err 'finding "nobody"'
ctl start test
check "starting what runs fails" exits 1
check "its error tells the deed" says err 'starting "test": '
ctl show -- --help
check "-- ends the options" says err 'finding "--help"'

ctl list
check "list succeeds" exits 0
check "list shows the VM" says out 6695eb01-f6a4-8304-79aa-97f2502e193f
ctl list --json
check "list --json" json '[v["name"] for v in d] == ["test"] and d[0]["state"] == "running"'
ctl --json list
check "--json before the verb" json 'len(d) == 1'
ctl describe-host --json
check "describe-host --json has numbers in base units" json 'd["memory"]["total"] > 1 << 20'
ctl show test
check "show writes a table" says out memory.size
ctl show test --json
check "show --json" json 'd["name"] == "test" and d["cpu"]["count"] == 2'
ctl supports vm.start cpu.count --json
check "supports --json" json '[a["name"] for a in d] == ["vm.start", "cpu.count"] and d[0]["supported"]'
ctl supports
check "supports lists all" exits 0
check "with the verbs" says out vm.migrate
ctl supports migrate
check "supports takes the names of the library's verbs" exits 1
check "and tells how they are written" says err 'the verb is "vm.migrate"'
ctl supports vm.strat
check "supports of an unknown name fails" exits 1
ctl refresh
check "refresh" exits 0
run vmhost-ctl schema --json
check "schema needs no host" json 'any(p["property"] == "disk.<id>.path" and p["type"] == "path" for p in d)'
run vmhost-ctl schema migrate
check "schema of another kind" says out downtime
run vmhost-ctl metrics --json
check "metrics needs no host" json 'any(m["metric"] == "cpu.time" and m["type"] == "counter" for m in d)'

# What the test driver changes lives in one process: these see only their own call.
ctl pause test --json
check "pause" json 'd["state"] == "paused"'
ctl shutdown --wait test --json
check "shutdown --wait" json 'd["state"] in ("stopped", "gone")'
ctl stop test
check "stop" exits 0
check "stop says nothing" silent out
ctl delete test
check "delete of a running VM is refused" exits 1
ctl delete --force test
check "delete --force" exits 0
ctl create --validate-only --set name=x --set memory.size=64MiB
check "create --validate-only" exits 0
ctl create --set name=x --set memory.size=64MiB --json
check "create --json" json 'd["name"] == "x" and d["state"] == "stopped"'
ctl create --start --set name=test --set memory.size=64MiB
check "create of a name that is taken fails" exits 1
echo '{"name": "y", "memory": {"size": "64MiB"}}' >"$scratch/vm.json"
ctl create --start "$scratch/vm.json" --set cpu.count=2 --json
check "create from a file" json 'd["name"] == "y" and d["state"] == "running"'
vmhost-ctl -c test:///default create - --json <"$scratch/vm.json" >"$scratch/out" 2>"$scratch/err"
code=$?
check "create from stdin" json 'd["name"] == "y"'
echo '{"name": "y", "name": "z"}' >"$scratch/twice.json"
ctl create "$scratch/twice.json"
check "a key given twice fails" exits 1
ctl create "$scratch/missing.json"
check "a missing file fails" exits 1
check "a missing file is named" says err missing.json

ctl update test title=hello memory.size=4GiB --dry-run --json
check "update has a verdict for each property" json \
	'{v["property"] for v in d} == {"title", "memory.size"} and all(v["verdict"] for v in d)'
ctl update test title=x --generation 12345
check "update of another generation fails" exits 1
ctl update test title=x --generation -1
check "a generation that is no number is usage" exits 2

ctl sample --json cpu.count,memory.size
check "sample --json" json 'd["vms"][0]["name"] == "test" and d["vms"][0]["memory.size"] == 2 << 30'
ctl sample
check "sample writes a table" says out cpu.time
ctl sample --json --interval 10ms --count 3 cpu.count
check "sample --count: a line each" json_lines 'len(d) == 3'
ctl sample nonsense.metric
check "an unknown metric fails" exits 1
ctl events --json --count 2 --topics vm
check "events: the snapshot, then synced" json_lines '[e["type"] for e in d] == ["vm-added", "synced"]'
ctl events --topics nonsense
check "an unknown topic fails" exits 1
vmhost-ctl -c test:///default events --json 2>"$scratch/err" | head -1 >"$scratch/out"
code=${PIPESTATUS[0]}
check "a reader that leaves ends the events" exits 1

vmhost-ctl -c test:///default events >"$scratch/out" 2>"$scratch/err" &
says_soon out synced
kill -TERM $! # a shell lets its background jobs ignore SIGINT
wait $!
code=$?
check "SIGTERM ends events with 143" exits 143

run vmhost-list test:///default
check "vmhost-list" says out 'test:///default'
run vmhost-list --json test:///default "test://$scratch/nothing.xml" test:///default
check "a dead host makes the list fail" exits 1
check "a dead host hides no other" json 'len(d) == 2'
check "a dead host is told of" says err nothing.xml
run vmhost-list --json --metrics cpu.time test:///default
check "vmhost-list --metrics" json '"cpu.time" in d[0] and d[0]["memory.size"] == 2 << 30'

# A host that takes connections and never says a word; each connection makes a line.
python3 -c 'import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], file=open(sys.argv[1], "w"), flush=True)
guests = []
while True:
    guests.append(server.accept())
    print("accepted", flush=True)' "$scratch/port" >"$scratch/accepted" &
server=$!
until [[ -s $scratch/port ]]; do sleep 0.05; done
silent_host=qemu+tcp://127.0.0.1:$(<"$scratch/port")/system
run timeout 10 vmhost-list --timeout 1s "$silent_host" test:///default qemu+tcp://127.0.0.1:1/system
check "a silent host and one that is down make the list fail within the timeout" exits 1
check "they hide no other" says out 6695eb01-f6a4-8304-79aa-97f2502e193f
check "the silent one is told of" says err "opening \"$silent_host\": no answer within 1000 ms"
check "the one that is down, too" says err 'opening "qemu+tcp://127.0.0.1:1/system": '
for command in vmhost-list "vmhost-ctl list -c" "vmhost-run -c" "vmhost-migrate x test:///default -c"; do
	: >"$scratch/accepted"
	# shellcheck disable=SC2086 # words
	env --default-signal=INT $command "$silent_host" >"$scratch/out" 2>"$scratch/err" &
	says_soon accepted accepted
	kill -INT $!
	timeout 5 tail --pid=$! -f /dev/null
	check "Ctrl-C ends ${command%% *} at once while it opens a silent host" exits_with $! 130
done
kill $server
wait $server 2>/dev/null

for command in "vmhost-list test:///default" "vmhost-ctl -c test:///default list" "vmhost-ctl schema"; do
	$command >&- 2>"$scratch/err"
	code=$?
	check "a stdout that is closed is an error ($command)" exits 1
	check "which is told as what it is ($command)" says err "writing the output: Bad file descriptor"
	$command 2>/dev/null <&- >"$scratch/out"
	code=$?
	check "a stdin that is closed is none ($command)" exits 0
done
vmhost-ctl -c test:///default create - <&- >"$scratch/out" 2>"$scratch/err"
code=$?
check "but where it is to be read" says err "reading standard input: Bad file descriptor"
check "and that fails" exits 1

run vmhost-migrate -c test:///default test test:///default
check "migration to itself fails" exits 1
check "its error names the VM" says err 'migrating "test": '
run vmhost-run -c test:///default --set name=test --memory 64MiB
check "vmhost-run of a name that is taken fails" exits 1
check "vmhost-run prints nothing but the console" silent out
run vmhost-run -c test:///default --set no.such=1
check "vmhost-run of an unknown property is usage" exits 2

is_empty()
{
	[[ ! $(ls -A "$1") ]]
}

# A VM that vanishes with its end still says how it ended. Without KVM nothing can run.
if [[ -w /dev/kvm ]]; then
	run vmhost-run -c "kvm://$scratch/vms" --memory 32MiB --kernel "$small_guest" --append "tick=5 crash"
	check "vmhost-run fails when the guest crashes" exits 1
	check "vmhost-run tells why" says err "crashed: vCPU 0: triple fault"
	run vmhost-run -c "kvm://$scratch/vms" --memory 32MiB --kernel "$small_guest" --append "tick=5 exit=1" --set debug.exit=244
	check "vmhost-run succeeds when the guest ends by itself" exits 0
	check "nothing is left of either" is_empty "$scratch/vms/vms"
	run with_stream vmhost-run -c "kvm://$scratch/vms" --memory 32MiB --kernel "${ring3_guests}net" --append "send=3" \
		-s boot.format=flat -s boot.mode=user -s nic.lan.fd=@
	check "vmhost-run gives a NIC a descriptor that it was started with" exits 0
	check "the frames go over it" says err "frames: 60 60 60"
	run with_stream vmhost-ctl -c "kvm://$scratch/vms" create -s name=kept -s memory.size=32MiB \
		-s "boot.kernel=$small_guest" -s nic.lan.fd=@
	check "vmhost-ctl refuses a descriptor for a VM that is kept" exits 1
	check "vmhost-ctl says what to do" says err "VMH_CREATE_TRANSIENT"
fi
for word in 77 -1 three '' 99999999999; do
	ctl create -s name=fd -s memory.size=32MiB -s "nic.lan.fd=$word"
	check "\"$word\" is no descriptor and usage" exits 2
	check "\"$word\" is told" says err "nic.lan.fd"
done

# Names with what moves a cursor (U+009B), turns text around (U+202E) and looks like markup.
cat >"$scratch/hostile.xml" <<'END'
<node><domain type="test"><name>a&#x9b;2J&#x202e;b&lt;i&gt;"</name><memory>65536</memory><os><type>hvm</type></os></domain></node>
END
for form in '' --json; do
	# shellcheck disable=SC2086 # no form is no argument
	run vmhost-list $form "test://$scratch/hostile.xml"
	check "a hostile name is listed ($form)" exits 0
	check "a hostile name cannot reach the terminal ($form)" printable out
	check "a hostile name is told apart ($form)" says out 'a\u009b2J\u202eb<i>'
done
check "JSON means the name as it is" json 'd[0]["name"] == "a\u009b2J\u202eb<i>\""'
run vmhost-ctl -c "test://$scratch/hostile.xml" start $'x\e[2J'
check "a hostile argument comes back safely" printable err

plan
