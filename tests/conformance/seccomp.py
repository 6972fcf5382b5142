"""Runs a program under a seccomp profile as container engines read it: seccomp.py PROFILE PROGRAM [ARG...]"""

import ctypes
import json
import os
import re
import struct
import subprocess
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000
# Instructions of the packet filter: load a word of the call, compare, return.
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
OFFSET_OF_NUMBER = 0


def numbers():
    """Names of this machine's system calls, with their numbers."""
    text = subprocess.run(
        ["cc", "-E", "-dM", "-"], input="#include <sys/syscall.h>\n", capture_output=True, text=True, check=True
    ).stdout
    return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", text)}


def program(profile):
    known = numbers()
    allowed = {known[name] for rule in profile["syscalls"] for name in rule["names"] if name in known}
    code = [(LOAD, 0, 0, OFFSET_OF_NUMBER)]
    for number in sorted(allowed):
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, RET_ALLOW)]
    code.append((RETURN, 0, 0, RET_ERRNO | profile["defaultErrnoRet"]))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code), len(code)


def main():
    with open(sys.argv[1]) as file:
        code, count = program(json.load(file))
    held = ctypes.create_string_buffer(code, len(code))
    filter = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", count, ctypes.addressof(held)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filter, 0, 0):
        raise OSError(ctypes.get_errno(), "the filter was not taken")
    os.execvp(sys.argv[2], sys.argv[2:])


main()
