/* A sketch that prints its banner, and gives back what it hears. Needs F_CPU; BANNER is its text. */
#include <avr/io.h>
#include <avr/pgmspace.h>

#define MARKER "BENCHAPP:" /* tells the bench's boards, which do not run code, what is printed */
static const char banner[] PROGMEM = MARKER BANNER "\r\n";

static void put(char character) {
    while (!(UCSR0A & _BV(UDRE0)))
        ;
    UDR0 = character;
}

int main(void) {
    UCSR0A = _BV(U2X0);
    UBRR0 = F_CPU / 8 / 115200 - 1;
    UCSR0B = _BV(RXEN0) | _BV(TXEN0);
    for (const char *at = banner + sizeof MARKER - 1; pgm_read_byte(at); at++)
        put(pgm_read_byte(at));
    for (;;) {
        while (!(UCSR0A & _BV(RXC0)))
            ;
        put(UDR0);
    }
}
