# SPDX-License-Identifier: LGPL-2.1-or-later
"""A terminal for the tests of programs that use one, and a line of TAP for each look."""

import os
import pty
import select
import subprocess
import sys
import termios
import time

LIMIT = 20
count = 0
failed = False


def check(description, good, detail=""):
    global count, failed
    count += 1
    failed = failed or not good
    print(f"{'ok' if good else 'not ok'} {count} - {description}", flush=True)
    if not good and detail:
        print(f"# {detail!r}")


def plan():
    print(f"1..{count}")
    sys.exit(failed)


class Terminal:
    """The program on a terminal, with this script as the person before it."""

    def __init__(self, *command):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.text = b""
        self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave,
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
