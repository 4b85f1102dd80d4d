"""STM32 microcontrollers, through the USART boot loader in their system memory (ST AN2606, AN3155)."""

from drivers.stm32.driver import STM32, Stm32Driver
from drivers.stm32.session import Stm32Session

__all__ = ["STM32", "Stm32Driver", "Stm32Session"]
