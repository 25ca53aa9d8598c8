#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tools' console on a terminal of the test's own: what is typed, what is shown, and that the terminal is
given back as it was at every way out. usage: console-test.py PROGRAM; writes TAP."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

LIMIT = 20
program = sys.argv[1]
count = 0
failed = False


def check(description, good, detail=""):
    global count, failed
    count += 1
    failed = failed or not good
    print(f"{'ok' if good else 'not ok'} {count} - {description}")
    if not good and detail:
        print(f"# {detail!r}")


class Terminal:
    """The program on a terminal, with this script as the person before it."""

    def __init__(self, *arguments):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.text = b""
        self.process = subprocess.Popen([program, *arguments], stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                        start_new_session=True, restore_signals=True)

    def wait_for(self, text):
        end = time.monotonic() + LIMIT
        while text not in self.text and time.monotonic() < end:
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536)
        return text in self.text

    def mode(self):
        return termios.tcgetattr(self.slave)

    def is_raw(self):
        return not self.mode()[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    def wait_raw(self):
        end = time.monotonic() + LIMIT
        while not self.is_raw() and time.monotonic() < end:
            time.sleep(0.01)
        return self.is_raw()

    def type(self, text):
        end = time.monotonic() + LIMIT
        os.set_blocking(self.master, False)
        while text and time.monotonic() < end:
            readable, writable, _ = select.select([self.master], [self.master], [], 0.1)
            if readable:
                self.text += os.read(self.master, 65536)
            if writable:
                try:
                    text = text[os.write(self.master, text[:512]):]
                except BlockingIOError:
                    pass
        os.set_blocking(self.master, True)
        return not text

    def exit_code(self):
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "still running"

    def check_end(self, what, code):
        got = self.exit_code()
        check(f"{what}: the exit code is {code}", got == code, got)
        check(f"{what}: the terminal is as it was", self.mode() == self.before)
        os.close(self.slave)
        os.close(self.master)


t = Terminal()
check("the guest's first word is shown", t.wait_for(b"hello"), t.text)
check("the terminal is raw meanwhile", t.wait_raw())
t.type(b"abc\x03def")
check("keys reach the guest, Ctrl-C too", t.wait_for(b"ABC\x03DEF"), t.text)
t.type(b"\x1d")
check("Ctrl-] leaves", t.wait_for(b"end: left"), t.text)
t.check_end("left", 0)

t = Terminal()
t.wait_raw()
t.type(b"quit\r")
check("the guest's end is the end", t.wait_for(b"end: ended"), t.text)
t.check_end("ended", 0)

t = Terminal()
t.wait_raw()
paste = b"x" * 300000
check("a long paste is taken", t.type(paste))
check("and all of it arrives", t.wait_for(b"X" * 300000), len(t.text))
t.type(b"\x1d")
t.check_end("pasted", 0)

t = Terminal("deaf")
t.wait_raw()
t.type(b"y" * 400000)
t.type(b"\x1d")
check("a guest that reads nothing can be left", t.wait_for(b"end: left"), t.text[-80:])
t.check_end("deaf", 0)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    t = Terminal()
    t.wait_raw()
    t.process.send_signal(number)
    t.check_end(number.name, 128 + number)

for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGQUIT):
    t = Terminal()
    t.wait_raw()
    t.process.send_signal(number)
    t.check_end(number.name, -number)

t = Terminal()
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
print(f"1..{count}")
sys.exit(failed)
