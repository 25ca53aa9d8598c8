/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where the small guest begins: in long mode, the first 4 GiB mapped, rbx pointing to PVH's start information. */
    .section .text.start, "ax"
    .globl _start
_start:
    lea stack_end(%rip), %rsp
    mov %rbx, %rdi
    call guest_main
1:  cli
    hlt
    jmp 1b

    .bss
    .balign 16
    .skip 16384
stack_end:

    .section .note.GNU-stack, "", @progbits
