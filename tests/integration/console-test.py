#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tools' console on a terminal of the test's own: what is typed, what is shown, and that the terminal is
given back as it was at every way out. usage: console-test.py PROGRAM; writes TAP."""

import os
import signal
import subprocess
import sys
import termios

from terminal import LIMIT, Terminal, check, plan

program = sys.argv[1]

t = Terminal(program)
check("the guest's first word is shown", t.wait_for(b"hello"), t.text)
check("the terminal is raw meanwhile", t.wait_raw())
t.type(b"abc\x03def")
check("keys reach the guest, Ctrl-C too", t.wait_for(b"ABC\x03DEF"), t.text)
t.type(b"\x1d")
check("Ctrl-] leaves", t.wait_for(b"end: left"), t.text)
t.check_end("left", 0)

t = Terminal(program)
t.wait_raw()
t.type(b"quit\r")
check("the guest's end is the end", t.wait_for(b"end: ended"), t.text)
t.check_end("ended", 0)

t = Terminal(program)
t.wait_raw()
paste = b"x" * 300000
check("a long paste is taken", t.type(paste))
check("and all of it arrives", t.wait_for(b"X" * 300000), len(t.text))
t.type(b"\x1d")
t.check_end("pasted", 0)

t = Terminal(program, "deaf")
t.wait_raw()
t.type(b"y" * 400000)
t.type(b"\x1d")
check("a guest that reads nothing can be left", t.wait_for(b"end: left"), t.text[-80:])
t.check_end("deaf", 0)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    t = Terminal(program)
    t.wait_raw()
    t.process.send_signal(number)
    t.check_end(number.name, 128 + number)

for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGQUIT):
    t = Terminal(program)
    t.wait_raw()
    t.process.send_signal(number)
    t.check_end(number.name, -number)

t = Terminal(program)
t.wait_raw()
t.process.send_signal(signal.SIGSTOP)
os.waitpid(t.process.pid, os.WUNTRACED)
termios.tcsetattr(t.slave, termios.TCSANOW, t.before)
t.process.send_signal(signal.SIGCONT)
check("after a stop the terminal is raw again", t.wait_raw())
t.type(b"\x1d")
t.check_end("continued", 0)

piped = subprocess.run([program], input=b"one\nquit\n", capture_output=True, timeout=LIMIT)
check("pipes go through", piped.stdout.startswith(b"hello\n"), piped.stdout)
check("stdout carries the console only", b"end" not in piped.stdout and b"end: ended" in piped.stderr, piped.stdout)
with open("/dev/full", "wb") as full:
    piped = subprocess.run([program], stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, timeout=LIMIT)
check("a full disk ends it", b"end: output" in piped.stderr, piped.stderr)
with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as left:
    left.stdout.read(6)
    left.stdout.close()
    check("a reader that leaves ends it", b"end: output" in left.stderr.read())
plan()
