"""Virtual boards with an STM32: its boot loader, its flash with its protections, and an application."""
