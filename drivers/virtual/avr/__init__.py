"""Virtual AVR Arduinos: boot loaders from their sources, the chip's self-programming from its datasheet."""
