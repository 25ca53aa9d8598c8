/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first byte of a flat binary: in ring 3, rbx pointing to the start information. What it uses up to `end` is 0. */
    .section .start, "ax"
    .globl _start
_start:
    lea stack_end(%rip), %rsp
    mov %rbx, %rdi
    call ring3_main

    .bss
    .balign 16
    .skip 16384
stack_end:

    .section .note.GNU-stack, "", @progbits
