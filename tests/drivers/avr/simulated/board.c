/* A boot loader's own code on a simulated AVR (simavr), with UART0 on a pty: opening the pty resets the chip.
 *
 *     board MCU BOOT_ADDRESS FLASH_FILE [CUT_AT]
 *
 * prints the pty's name. FLASH_FILE holds all of the flash, and does again after SIGTERM. The power is cut for a moment
 * when the flash at CUT_AT changes for the first time. Runs no faster than the chip.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>

enum { MCUSR = 0x54, PORF = 1, EXTRF = 2, CLOCK = 16000000, STEPS = 1000 };

static int master, openings;
static uint8_t inbox[1 << 16];
static uint16_t head, tail;
static int uart_takes;
static volatile sig_atomic_t ended;

static void on_output(struct avr_irq_t *irq, uint32_t value, void *param) {
    uint8_t byte = value;
    if (write(master, &byte, 1) < 0)
        return; /* nobody listens */
}
static void on_xon(struct avr_irq_t *irq, uint32_t value, void *param) { uart_takes = 1; }
static void on_xoff(struct avr_irq_t *irq, uint32_t value, void *param) { uart_takes = 0; }
static void on_signal(int number) { ended = 1; }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void reset(avr_t *avr, uint32_t boot, int reason) {
    avr_reset(avr);
    avr->pc = boot;
    avr->data[MCUSR] = reason;
    head = tail = 0;
}

static avr_irq_t *connect_uart(avr_t *avr) {
    uint32_t flags = 0;
    avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POLL_SLEEP);
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    uint32_t uart = AVR_IOCTL_UART_GETIRQ('0');
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUTPUT), on_output, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUT_XON), on_xon, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, uart, UART_IRQ_OUT_XOFF), on_xoff, NULL);
    return avr_io_getirq(avr, uart, UART_IRQ_INPUT);
}

static int transfer(avr_t *avr, const char *file, const char *mode) {
    FILE *f = fopen(file, mode);
    size_t size = avr->flashend + 1;
    size_t done = !f ? 0 : *mode == 'r' ? fread(avr->flash, 1, size, f) : fwrite(avr->flash, 1, size, f);
    return f && fclose(f) == 0 && done == size;
}

/* Whether the pty was opened just now: the kernel tells, also when it was closed while this process stood still. */
static int look_at_pty(void) {
    char events[4096];
    uint8_t data[256];
    int is_opened = read(openings, events, sizeof events) > 0;
    int count = read(master, data, sizeof data);
    for (int i = 0; i < count && !is_opened; i++) /* what was said before the reset is lost */
        inbox[head++] = data[i];
    return is_opened;
}

int main(int argc, char **argv) {
    avr_t *avr = argc == 4 || argc == 5 ? avr_make_mcu_by_name(argv[1]) : NULL;
    if (!avr)
        return 2;
    avr_init(avr);
    avr->frequency = CLOCK;
    avr->log = LOG_NONE;
    uint32_t boot = strtoul(argv[2], NULL, 0);
    if (!transfer(avr, argv[3], "rb"))
        return 3;
    avr->codeend = avr->flashend;
    avr->reset_pc = boot;
    uint32_t cut_at = argc == 5 ? strtoul(argv[4], NULL, 0) : 0;
    uint8_t before = avr->flash[cut_at];

    int slave;
    char name[100];
    struct termios raw;
    openpty(&master, &slave, name, NULL, NULL);
    tcgetattr(slave, &raw);
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    close(slave);
    fcntl(master, F_SETFL, O_NONBLOCK);
    openings = inotify_init1(IN_NONBLOCK);
    inotify_add_watch(openings, name, IN_OPEN);
    avr_irq_t *input = connect_uart(avr);
    signal(SIGTERM, on_signal);
    printf("%s\n", name);
    fflush(stdout);

    reset(avr, boot, PORF);
    double start = now();
    avr_cycle_count_t first = avr->cycle;
    while (!ended) {
        int is_pressed = look_at_pty(), is_cut = cut_at && avr->flash[cut_at] != before;
        if (is_pressed || is_cut) {
            cut_at = is_cut ? 0 : cut_at;
            reset(avr, boot, is_pressed ? EXTRF : PORF);
            start = now();
            first = avr->cycle;
        }
        for (int i = 0; i < STEPS; i++) {
            if (uart_takes && head != tail)
                avr_raise_irq(input, inbox[tail++]);
            int state = avr_run(avr);
            if (state == cpu_Done || state == cpu_Crashed) {
                reset(avr, boot, PORF);
                break;
            }
        }
        double ahead = (double)(avr->cycle - first) / CLOCK - (now() - start);
        if (ahead > 0.002)
            usleep(1000);
        else if (ahead < -0.5) { /* a busy machine: time is not made up for */
            start = now();
            first = avr->cycle;
        }
    }
    return transfer(avr, argv[3], "wb") ? 0 : 4;
}
