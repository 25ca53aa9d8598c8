#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Logging in with the tools, at a host that asks who we are: on a terminal, by a file, and with nobody to ask.
usage, in a lab: login-test.py DIRECTORY-OF-THE-TOOLS; writes TAP."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import termios

from terminal import LIMIT, Terminal, check, plan

PASSWORD = "correct horse"
tls = os.environ.get("VMHOST_TEST_URI_TLS")
if not tls or not shutil.which("saslpasswd2"):
    print("1..0 # SKIP needs a lab with TLS, and saslpasswd2: tests/run")
    sys.exit(0)
lab = os.environ["VMHOST_TEST_LAB"] + "/host"
subprocess.run([lab, "start", "s", "fred:" + PASSWORD], check=True, stdout=subprocess.DEVNULL)
uri = "qemu+tls://host-s/system?" + tls.partition("?")[2]
tool = sys.argv[1] + "/vmhost-ctl"
ask_all = (tool, "-c", uri, "list")
ask_password = (*ask_all, "--open", "auth.user=fred")


def run(*command, given=""):
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=LIMIT)


def password_asked(*command):
    t = Terminal(*command)
    check("a password is asked for, and by which host", t.wait_for(b"Password for " + uri.encode()), t.text)
    check("what is typed is not shown", not t.mode()[3] & termios.ECHO)
    return t


t = Terminal(*ask_all)
check("the user's name is asked for", t.wait_for(b"User name for " + uri.encode()), t.text)
check("and shown", t.mode()[3] & termios.ECHO)
t.type(b"fred\n")
check("then the password", t.wait_for(b"Password for"), t.text)
t.type(PASSWORD.encode() + b"\n")
check("the login succeeds", t.wait_for(b"UUID"), t.text)
check("the password was not shown", b"horse" not in t.text, t.text)
t.check_end("logged in", 0)

t = password_asked(*ask_password)
t.type(b"wrong\n")
check("a wrong password is told of", t.wait_for(b"refused the user name or the password"), t.text)
t.check_end("refused", 1)

t = password_asked(*ask_password)
t.type(b"\x04")
t.check_end("Ctrl-D instead of a password", 1)

for number in (signal.SIGINT, signal.SIGTERM):
    t = password_asked(*ask_password)
    t.process.send_signal(number)
    t.check_end(number.name + " instead of a password", -number)

with tempfile.NamedTemporaryFile("w") as file:
    file.write(PASSWORD + "\nand another line\n")
    file.flush()
    done = run(*ask_password, "--password-file", file.name)
check("--password-file takes the first line of a file", done.returncode == 0, done.stderr)
done = run(*ask_password, "--password-file=-", given=PASSWORD + "\n")
check("--password-file=- takes that of standard input", done.returncode == 0, done.stderr)
vm = '{"name": "y", "memory": {"size": "64MiB"}}'
done = run(tool, "-c", uri, "--open", "auth.user=fred", "--password-file=-", "create", "--validate-only", "-",
           given=PASSWORD + "\n" + vm)
check("and leaves what follows", done.returncode == 0, done.stderr)
done = run(*ask_password, "--password-file=-", given="\n")
check("an empty password file is told of", done.returncode == 1 and "first line is empty" in done.stderr, done.stderr)
done = run(*ask_password, "--password-file=/no/such/file")
check("a missing one, too", done.returncode == 1 and "/no/such/file" in done.stderr, done.stderr)
done = run(*ask_password)
check("with nobody to ask the error tells the option", done.returncode == 1 and "auth.password" in done.stderr
      and "--password-file" in done.stderr, done.stderr)

subprocess.run([lab, "stop", "s"], check=True)
plan()
