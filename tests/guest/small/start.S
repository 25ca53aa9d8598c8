/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the small guest begins: by its PVH note in protected mode, without paging, rbx pointing to the start
 * information; or in long mode with the first 4 GiB mapped.
 */
    .section .note.pvh, "a", @note
    .balign 4
    .long 4, 8, 18              /* "Xen" with its NUL, eight bytes, PHYS32_ENTRY */
    .asciz "Xen"
    .quad pvh_start

    .section .text.start, "ax"
    .code32
    .globl pvh_start
pvh_start:
    lgdt table_pointer
    mov $level4, %eax
    mov %eax, %cr3
    mov $0x620, %eax            /* PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $0xc0000080, %ecx       /* EFER */
    xor %edx, %edx
    mov $0x100, %eax            /* long mode */
    wrmsr
    mov $0x80000011, %eax       /* paging, protection */
    mov %eax, %cr0
    ljmp $0x10, $_start

    .code64
    .globl _start
_start:
    lea stack_end(%rip), %rsp
    mov %ebx, %edi
    call guest_main
1:  cli
    hlt
    jmp 1b

/* Where the other CPUs begin, copied below 1 MiB: from real mode to long mode at once. */
    .code16
    .globl trampoline, trampoline_end
trampoline:
    cli
    mov %cs, %ax
    mov %ax, %ds
    lgdtl other_table - trampoline
    mov $0x620, %eax
    mov %eax, %cr4
    mov $level4, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx
    xor %edx, %edx
    mov $0x100, %eax
    wrmsr
    mov $0x80000011, %eax
    mov %eax, %cr0
    ljmpl $0x10, $other_start
other_table:
    .word table_pointer - table - 1
    .long table
trampoline_end:

    .code64
other_start:
    mov $1, %edi
    lock xadd %edi, other_count
    mov %edi, %eax
    shl $9, %eax                /* a stack of 512 bytes for each */
    lea stack_end(%rax), %rsp
    call other_main

    .data
    .balign 8
other_count:
    .quad 1                     /* the first is none of them */
table:
    .quad 0, 0
    .quad 0x00af9b000000ffff    /* code of 64 bits */
    .quad 0x00cf93000000ffff    /* data */
table_pointer:
    .word . - table - 1
    .long table

    /* The first 4 GiB as they are, in pages of 2 MiB; of the rest of 1 TiB nothing yet. */
    .globl level3
    .balign 4096
level4:
    .quad level3 + 3, level3 + 4096 + 3
    .skip 4080
level3:
    .quad level2 + 0x0003, level2 + 0x1003, level2 + 0x2003, level2 + 0x3003
    .skip 8160
level2:
    .set page, 0
    .rept 2048
    .quad page + 0x83
    .set page, page + 0x200000
    .endr

    .bss
    .balign 16
    .skip 16384
stack_end:
    .skip 64 * 512

    .section .note.GNU-stack, "", @progbits
