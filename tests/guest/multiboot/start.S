/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a multiboot kernel begins: in protected mode, with what loaded it in eax and what it is told at ebx. */
    .set MAGIC, 0x1badb002
    .set FLAGS, HAS_ADDRESSES << 16

    .code32
    .section .header, "ax"
    .balign 4
header:
    .long MAGIC, FLAGS, -(MAGIC + FLAGS)
    .long header, begin, data_end, bss_end, _start

    .text
    .globl _start
_start:
    mov $stack_end, %esp
    push %ebx
    push %eax
    call guest_main
1:  hlt
    jmp 1b

    .bss
    .balign 16
    .skip 4096
stack_end:

    .section .note.GNU-stack, "", @progbits
