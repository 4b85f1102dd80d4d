"""Virtual boards with an STM32: the boot loader of its system memory, its flash with its protections, an application."""
